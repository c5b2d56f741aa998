# SPDX-License-Identifier: Apache-2.0
"""Puts on the log what callers got that no decision says: denials at the gateway, allows withheld.

Equal denials above a rate become one record with a count. While the log is away, what is to be
said waits in a bounded queue; what does not fit is counted as lost.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from agentguard.bounds import (
    ENFORCEMENT_KEYS_MAX,
    ENFORCEMENT_WINDOW_MS,
    ENFORCEMENTS_PER_SECOND_MAX,
    ENFORCEMENTS_WAITING_MAX,
    SEQUENCES_PER_RECORD_MAX,
    SEQUENCES_WAITING_MAX,
)
from agentguard.contracts.ports import Clock
from agentguard.contracts.ports import Delivery as Report
from agentguard.contracts.records import DoorRecord, Enforcement, EnforcementCode
from agentguard.contracts.topics import agent_key
from agentguard.gateway.callers import Caller
from agentguard.gateway.door import APPEND_ERRORS, Door
from agentguard.gateway.waiting import Wait
from agentguard.telemetry import (
    GATEWAY_ENFORCEMENTS_LOST,
    GATEWAY_ENFORCEMENTS_WAITING,
    Metrics,
)

_PAUSE_MS = 1_000.0
_PER_TICK_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """One enforcement, before it has a number."""

    tenant: str
    agent_id: str
    partition: int
    code: EnforcementCode
    reason: str
    at_ms: int
    count: int = 1
    window_ms: int = 0
    sequences: tuple[int, ...] = ()
    request_id: bytes | None = None
    request_offset: int | None = None


@dataclass(slots=True, kw_only=True)
class _Window:
    """Denials of one agent for one reason since the last one that was written by itself."""

    said: _Said
    opened_ms: float
    count: int = 0


class Enforcements:
    """Writes `Enforcement` records. Belongs to the thread of its door."""

    def __init__(self, door: Door, clock: Clock, metrics: Metrics) -> None:
        self._door = door
        self._clock = clock
        self._metrics = metrics
        self._windows: dict[tuple[str, str, str], _Window] = {}
        self._queue: deque[_Said] = deque()
        self._not_written: dict[tuple[int, str, str], list[int]] = {}
        self._last_agent: dict[int, tuple[str, str]] = {}
        self._second = 0.0
        self._written = 0
        self._paused_until_ms = 0.0
        door.on_not_written = self._note_not_written

    def denied(self, caller: Caller, reason: str, request_id: bytes | None = None) -> None:
        """Says that a proved caller was denied here, before any record of the request."""
        self._aggregate(
            _Said(
                tenant=caller.tenant,
                agent_id=caller.agent_id,
                partition=caller.partition,
                code=EnforcementCode.DENIED_AT_GATEWAY,
                reason=reason,
                at_ms=self._clock.now_ms(),
                request_id=request_id,
            )
        )

    def withheld(self, wait: Wait, reason: str) -> None:
        """Says that no byte of an answer to a recorded request but this denial left the gateway.

        Above the rate it is only counted: what the request was charged then stays charged.
        """
        said = _Said(
            tenant=wait.request.tenant,
            agent_id=wait.request.agent_id,
            partition=wait.partition,
            code=EnforcementCode.NOT_DELIVERED,
            reason=reason,
            at_ms=self._clock.now_ms(),
            request_id=wait.request.request_id,
            request_offset=wait.offset if wait.offset >= 0 else None,
        )
        if self._may_write():
            self._write(said)
        else:
            code = EnforcementCode.DENIED_AT_GATEWAY
            self._aggregate(replace(said, code=code, request_id=None, request_offset=None))

    def tick(self, *, is_last: bool = False) -> None:
        """Writes the windows that are over and what waits for the log; at the end, all of it."""
        now = self._clock.monotonic_ms()
        over = [
            key
            for key, window in self._windows.items()
            if is_last or now - window.opened_ms >= ENFORCEMENT_WINDOW_MS
        ]
        for key in over:
            window = self._windows.pop(key)
            if window.count:
                span = int(now - window.opened_ms)
                said = replace(
                    window.said,
                    count=window.count,
                    window_ms=max(span, 1),
                    at_ms=self._clock.now_ms(),
                    request_id=None,
                )
                self._write(said)
        if now >= self._paused_until_ms:
            self._list_not_written()
            for _ in range(min(len(self._queue), _PER_TICK_MAX)):
                self._write(self._queue.popleft())
        self._metrics.set(GATEWAY_ENFORCEMENTS_WAITING, len(self._queue))

    def _aggregate(self, said: _Said) -> None:
        key = (said.tenant, said.agent_id, said.reason)
        window = self._windows.get(key)
        if window is not None:
            window.count += 1
        elif len(self._windows) >= ENFORCEMENT_KEYS_MAX:
            self._metrics.count(GATEWAY_ENFORCEMENTS_LOST)
        else:
            window = _Window(said=said, opened_ms=self._clock.monotonic_ms())
            self._windows[key] = window
            if self._may_write():
                self._write(said)
            else:
                window.count = 1

    def _may_write(self) -> bool:
        """Returns whether one more record may be written by itself in this second."""
        second = self._clock.monotonic_ms() // 1000
        if second != self._second:
            self._second, self._written = second, 0
        self._written += 1
        return self._written <= ENFORCEMENTS_PER_SECOND_MAX

    def _write(self, said: _Said) -> None:
        if self._clock.monotonic_ms() < self._paused_until_ms:
            self._keep(said)
            return
        record = Enforcement(
            **self._door.stamp(),
            tenant=said.tenant,
            agent_id=said.agent_id,
            code=said.code,
            reason=said.reason,
            count=said.count,
            window_ms=said.window_ms,
            reported_at_ms=said.at_ms,
            sequences=said.sequences,
            request_id=said.request_id,
            request_offset=said.request_offset,
        )

        def report(delivery: Report) -> None:
            if delivery.error:
                self._keep(said)

        key = agent_key(said.tenant, said.agent_id)
        try:
            self._door.append(record, key=key, partition=said.partition, on_delivery=report)
        except APPEND_ERRORS:
            self._keep(said)

    def _keep(self, said: _Said) -> None:
        """Lets it wait for the log, which is left in peace for a second."""
        self._paused_until_ms = self._clock.monotonic_ms() + _PAUSE_MS
        if len(self._queue) < ENFORCEMENTS_WAITING_MAX:
            self._queue.append(said)
        else:
            self._metrics.count(GATEWAY_ENFORCEMENTS_LOST, by=said.count)

    def _note_not_written(self, partition: int, record: DoorRecord) -> None:
        """Remembers a number whose append failed, under its agent or the partition's last one."""
        agent_id = getattr(record, "agent_id", "")
        if agent_id:
            self._last_agent[partition] = (record.tenant, agent_id)  # type: ignore[union-attr]
        tenant, agent_id = self._last_agent.get(partition, ("", ""))
        if sum(len(numbers) for numbers in self._not_written.values()) >= SEQUENCES_WAITING_MAX:
            self._metrics.count(GATEWAY_ENFORCEMENTS_LOST)
            return
        listed = self._not_written.setdefault((partition, tenant, agent_id), [])
        listed.append(record.sequence)

    def _list_not_written(self) -> None:
        for place in [p for p in self._not_written if p[2]]:
            partition, tenant, agent_id = place
            sequences = self._not_written.pop(place)
            for start in range(0, len(sequences), SEQUENCES_PER_RECORD_MAX):
                part = tuple(sequences[start : start + SEQUENCES_PER_RECORD_MAX])
                self._write(
                    _Said(
                        tenant=tenant,
                        agent_id=agent_id,
                        partition=partition,
                        code=EnforcementCode.NOT_WRITTEN,
                        reason="not_written",
                        at_ms=self._clock.now_ms(),
                        count=len(part),
                        sequences=part,
                    )
                )
