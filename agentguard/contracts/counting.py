# SPDX-License-Identifier: Apache-2.0
"""Which decision counts: one answer for gateway, lanes, store, token service and auditors."""

from __future__ import annotations

from agentguard.contracts.hashing import leaf_hash
from agentguard.contracts.ports import AnyRecord
from agentguard.contracts.records import (
    AgentRequest,
    Chunk,
    Decision,
    DecisionCore,
    Deliveries,
    Enforcement,
    EpochStart,
    Mode,
    Redeem,
    ToolOutcome,
)

_NO_REQUEST = (ToolOutcome, Chunk, Enforcement, Deliveries, EpochStart, Redeem)
_CHAINED = (AgentRequest, ToolOutcome, Chunk, Enforcement, Redeem)


def expects_decision(record: AnyRecord | None) -> bool:
    """Returns whether an offset of `ag.requests` gets exactly one effective decision.

    `record` is None where the bytes are undecodable or their schema is not listed (unreadable).
    A request does; so do undecodable bytes and types outside the closed list of door records,
    which are decided as undecodable. The other door records get none.
    """
    return not isinstance(record, _NO_REQUEST)


def chained_agent(record: AnyRecord | None) -> tuple[str, str] | None:
    """Returns (tenant, agent) of the hash chain that a record of `ag.requests` belongs to.

    None for `Deliveries`, `EpochStart`, unreadable records and types outside the closed list: they
    are in no agent's chain. Cluster and mode are not judged here: a record that claims the agent
    is part of what its decider saw.
    """
    if isinstance(record, _CHAINED):
        return record.tenant, record.agent_id
    return None


def decision_counts(
    *,
    cluster: str,
    partition: int,
    decision: Decision | None,
    core: DecisionCore | None,
    request_value: bytes | None,
    request: AnyRecord | None,
    readable: bool,
) -> bool:
    """Returns whether a record of `ag.decisions` counts as a decision of the request it names.

    The caller looks up `ag.requests` at (`partition`, `core.request_offset`) and passes the value
    there (None: a null value) and what it decodes to; where no record lies at that offset the
    caller must not ask: nothing there means not yet, or a finding.

    Args:
        cluster: This cluster's id.
        partition: The partition of `ag.decisions` in which the decision lies.
        decision: The decoded decision; None where it is undecodable.
        core: Its decoded core; None where it is undecodable.
        request_value: The exact bytes at the named offset of the requests partition. A gateway
            passes the bytes that it sent.
        request: The decoded record there; None where it is undecodable or unlisted.
        readable: Whether the schemas of decision and core are listed by Genesis or a `Semantics`
            command at or before the control offset in use.

    It counts only if all of this is true: both parts are readable and decode; both name this
    cluster and mode `live`; the core names this partition number and the leaf hash of the bytes
    at its offset; that record expects a decision; and the core carries the request's tenant,
    agent and request id, or for an undecodable request none of the three. MACs play no part.
    The first counting decision at or after the request's `decisions_floor` is the effective one
    (0 for an undecodable request); that order is the caller's.
    """
    if not readable or decision is None or core is None or not expects_decision(request):
        return False
    if decision.mode is not Mode.LIVE or core.mode is not Mode.LIVE:
        return False
    if decision.cluster != cluster or core.cluster != cluster or not cluster:
        return False
    if core.request_partition != partition or core.request_leaf != leaf_hash(request_value):
        return False
    named = (core.tenant, core.agent_id, core.request_id)
    if isinstance(request, AgentRequest):
        return named == (request.tenant, request.agent_id, request.request_id)
    return named == ("", "", None)
