# SPDX-License-Identifier: Apache-2.0
"""Who calls: proves a caller by its credential, against the gateway's own fold of the control log.

Kinds of proof other than the per-agent credential come behind the same `prove`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final

from agentguard.bounds import UNPROVED_CALLERS_COUNTED_MAX
from agentguard.contracts.codes import Code
from agentguard.contracts.commands import VOUCHING_CAPABILITY, RegisterAgent
from agentguard.contracts.records import Voucher
from agentguard.contracts.topics import agent_key, partition_of
from agentguard.control.fold import ControlFold
from agentguard.gateway.reading import Headers
from agentguard.gateway.refusals import RefusedError
from agentguard.telemetry import GATEWAY_UNPROVED, Metrics

# agk_<8 id>_<43 base64url>
_BEARER: Final = re.compile(rb"[Bb]earer +(agk_([A-Za-z0-9-]{8})_[A-Za-z0-9_-]{43})")
_OTHERS: Final = "others"
_ABSENT: Final = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A proved caller and where its records go.

    `agent` is the registration as it stood when the caller was proved, enabled or not.
    """

    agent: RegisterAgent
    key: bytes
    partition: int

    @property
    def tenant(self) -> str:
        """The tenant that the credential belongs to."""
        return self.agent.tenant

    @property
    def agent_id(self) -> str:
        """The agent that the credential belongs to."""
        return self.agent.agent_id

    @property
    def voucher(self) -> Voucher:
        """Who states this caller's task and outputs."""
        vouches = VOUCHING_CAPABILITY in self.agent.capabilities
        return Voucher.SDK if vouches else Voucher.NOBODY


def prove(headers: Headers, fold: ControlFold, *, partitions: int, metrics: Metrics) -> Caller:
    """Returns the caller whose credential the headers carry.

    An agent that is frozen, pending or expired is proved too: it gets a record and a decided
    deny. Raises `RefusedError` (unknown_caller): nothing of such a call reaches the log.
    """
    given = [value for name, value in headers if name == b"authorization"]
    match = _BEARER.fullmatch(given[0]) if len(given) == 1 else None
    if match is None:
        raise unknown_caller(metrics, _ABSENT)
    agent = fold.agent_by_credential(sha256(match[1]).digest())
    if agent is None:
        raise unknown_caller(metrics, match[2].decode())
    key, partition = _place(agent.tenant, agent.agent_id, partitions)
    return Caller(agent=agent, key=key, partition=partition)


def check_claims(caller: Caller, *, agent_id: str, tenant: str | None, metrics: Metrics) -> None:
    """Raises `RefusedError` where a body names another agent or tenant than the credential."""
    if agent_id != caller.agent_id:
        raise unknown_caller(metrics, caller.agent.credential_id)
    if tenant is not None and tenant != caller.tenant:
        raise RefusedError(Code.TENANT_MISMATCH)


def unknown_caller(metrics: Metrics, credential: str) -> RefusedError:
    """Counts and returns the refusal of an unproved caller; the count has bounded labels."""
    if (
        not metrics.is_counted(GATEWAY_UNPROVED, credential)
        and metrics.label_sets(GATEWAY_UNPROVED) >= UNPROVED_CALLERS_COUNTED_MAX
    ):
        credential = _OTHERS
    metrics.count(GATEWAY_UNPROVED, credential)
    return RefusedError(Code.UNKNOWN_CALLER)


@lru_cache(maxsize=16_384)
def _place(tenant: str, agent_id: str, partitions: int) -> tuple[bytes, int]:
    key = agent_key(tenant, agent_id)
    return key, partition_of(key, partitions)
