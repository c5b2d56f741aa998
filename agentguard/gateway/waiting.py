# SPDX-License-Identifier: Apache-2.0
"""The pending map: which request waits for which decision, and which decision is its effective one.

No I/O and no clock: records and delivery reports come in, waits that are settled come out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from agentguard.bounds import DECISIONS_HELD_PER_REQUEST_MAX
from agentguard.contracts.codes import Code
from agentguard.contracts.counting import decision_counts
from agentguard.contracts.facts import Json
from agentguard.contracts.records import AgentRequest, Decision, DecisionCore, Verdict
from agentguard.gateway.callers import Caller


class SeenDecision(NamedTuple):
    """A record of the decisions topic that decodes, and where it lies."""

    partition: int
    offset: int
    decision: Decision
    core: DecisionCore
    fingerprints: tuple[bytes, bytes]


@dataclass(slots=True, kw_only=True, eq=False)
class Wait:
    """One request between its append and its answer, and for a while after it.

    `value` are the bytes as they were sent: decisions are judged by them. `deadline_ms` and
    `started_ms` are monotonic. Settled means `effective` or `refused` is set, once. `told` is what
    the caller got, None while nothing was sent; `withheld` the code by which an allow was taken
    back, and from then on no path answers allow.
    """

    caller: Caller
    request: AgentRequest
    value: bytes
    partition: int
    started_ms: float
    deadline_ms: float
    secret: bytes = field(repr=False)
    parameters: Mapping[str, Json] = field(repr=False)
    future: asyncio.Future[None] = field(repr=False)
    offset: int = -1
    held: list[SeenDecision] = field(default_factory=list)
    effective: SeenDecision | None = None
    refused: Code | None = None
    told: Verdict | None = None
    withheld: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether this wait is over."""
        return self.effective is not None or self.refused is not None

    def wake(self) -> None:
        """Lets everybody go on who awaits this request's future."""
        if not self.future.done():
            self.future.set_result(None)

    def forget(self) -> None:
        """Drops the secret and the content; what was decided stays for the long poll."""
        self.secret = b""
        self.value = b""
        self.parameters = {}
        self.held = []


class Waiting:
    """All requests of this gateway that wait for a decision, by request id."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._waits: dict[bytes, Wait] = {}
        # how many wait for each record key: one agent must not fill the gateway, nor its lane
        self._by_key: dict[bytes, int] = {}

    def of_caller(self, caller: Caller) -> int:
        """Returns how many requests of this caller's agent wait."""
        return self._by_key.get(caller.key, 0)

    def __len__(self) -> int:
        return len(self._waits)

    def __contains__(self, request_id: bytes | None) -> bool:
        """Returns whether this request waits. May be asked from another thread: a hint."""
        return request_id in self._waits

    def add(self, wait: Wait) -> None:
        """Begins a wait; call it before the request's record is appended."""
        self._waits[wait.request.request_id] = wait
        self._by_key[wait.caller.key] = self._by_key.get(wait.caller.key, 0) + 1

    def place(self, request_id: bytes, offset: int) -> Wait | None:
        """Notes where a request lies; returns its wait where a held decision settles it."""
        wait = self._waits.get(request_id)
        if wait is None:
            return None
        wait.offset = offset
        for seen in wait.held:
            if seen.core.request_offset == offset:
                return self._settle(wait, seen)
        wait.held.clear()
        return None

    def offer(self, seen: SeenDecision, *, is_readable: bool) -> tuple[Wait | None, bool]:
        """Takes the next decision of its partition, in offset order.

        Returns the wait that it settles, and whether it was refused: it names a waiting request
        and does not count. The first counting decision at or after the request's
        `decisions_floor` is effective. A decision that comes before the request's own delivery
        report is held until the offset is known, so that a copy of the record at another offset
        cannot answer.
        """
        request_id = seen.core.request_id
        wait = None if request_id is None else self._waits.get(request_id)
        if wait is None:
            return None, False
        counts = seen.offset >= wait.request.decisions_floor and decision_counts(
            cluster=self._cluster,
            partition=seen.partition,
            decision=seen.decision,
            core=seen.core,
            request_value=wait.value,
            request=wait.request,
            readable=is_readable,
        )
        if not counts or seen.partition != wait.partition:
            return None, True
        if wait.offset >= 0:
            if seen.core.request_offset != wait.offset:
                return None, True
            return self._settle(wait, seen), False
        if len(wait.held) < DECISIONS_HELD_PER_REQUEST_MAX:
            wait.held.append(seen)
        return None, False

    def refuse(self, request_id: bytes, code: Code) -> Wait | None:
        """Ends a wait without a decision; returns it, or None where it was over already."""
        wait = self._waits.pop(request_id, None)
        if wait is not None:
            self._leave(wait)
            wait.refused = code
        return wait

    def refuse_all(self, code: Code) -> tuple[Wait, ...]:
        """Ends every wait without a decision."""
        waits = tuple(self._waits.values())
        self._waits.clear()
        self._by_key.clear()
        for wait in waits:
            wait.refused = code
        return waits

    def _leave(self, wait: Wait) -> None:
        left = self._by_key[wait.caller.key] - 1
        if left:
            self._by_key[wait.caller.key] = left
        else:
            del self._by_key[wait.caller.key]

    def _settle(self, wait: Wait, seen: SeenDecision) -> Wait:
        del self._waits[wait.request.request_id]
        self._leave(wait)
        wait.effective = seen
        wait.value = b""
        wait.held.clear()
        if seen.core.verdict is not Verdict.TRANSFORM:
            wait.parameters = {}
        return wait
