# SPDX-License-Identifier: Apache-2.0
"""Store: judges decisions against the requests they name, as soon as those have been read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from agentguard.bounds import STORE_PENDING_BYTES_MAX, STORE_PENDING_DECISIONS_MAX
from agentguard.contracts.counting import decision_counts
from agentguard.contracts.ports import Clock, LogIndex, LogRecord, TopicPartition
from agentguard.contracts.records import Decision, DecisionCore
from agentguard.contracts.topics import Topic
from agentguard.store.reading import NO_REQUEST
from agentguard.store.requests import Asked, RequestWindow
from agentguard.store.rows import Row, decision_row

ASK_END_MS = 300
NOWHERE = -1


class _Held(NamedTuple):
    record: LogRecord
    leaf: bytes
    decision: Decision
    core: DecisionCore
    named: int
    """The offset of the request that it names, `NOWHERE` where that cannot be one."""


class _Blocked(NamedTuple):
    """Since when a partition's first decision waits for its request."""

    offset: int
    since_ms: float


class DecisionQueue:
    """Decisions in order, by partition. Bounded: a full queue is not read into.

    A decision waits until its request has been read. One whose request cannot come (the end of the
    requests, asked after the decision was seen, lies at or below it) is stored as a finding.
    """

    def __init__(
        self, window: RequestWindow, index: LogIndex, clock: Clock, *, cluster: str
    ) -> None:
        self._window = window
        self._index = index
        self._clock = clock
        self._cluster = cluster
        self._queues: dict[int, deque[_Held]] = {}
        self._blocked: dict[int, _Blocked] = {}
        self._count = 0
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether no more decisions may be read for now."""
        return self._count >= STORE_PENDING_DECISIONS_MAX or self._bytes >= STORE_PENDING_BYTES_MAX

    def add(self, record: LogRecord, leaf: bytes, decision: Decision, core: DecisionCore) -> None:
        """Takes the next decision of its partition."""
        is_here = core.request_partition == record.partition
        named = max(core.request_offset, NOWHERE) if is_here else NOWHERE
        held = _Held(record, leaf, decision, core, named)
        self._queues.setdefault(record.partition, deque()).append(held)
        self._count += 1
        self._bytes += len(record.value or b"")

    def first_held(self) -> Mapping[int, int]:
        """Returns, for each partition that has any, the first offset that still waits."""
        return {number: queue[0].record.offset for number, queue in self._queues.items() if queue}

    def take(self, read: Mapping[int, int], flush: Callable[[], None]) -> list[Row]:
        """Returns the rows of the decisions whose requests are read.

        `read` is the next offset of each partition of the requests; `flush` is called before
        older requests are read back from their table.
        """
        ready: list[_Held] = []
        for number, queue in self._queues.items():
            ready += self._ready(number, queue, read.get(number, 0))
        older: dict[int, list[int]] = {}
        for held in ready:
            number = held.record.partition
            if NOWHERE < held.named < read.get(number, 0) and not self._window.find(
                number, held.named
            ):
                older.setdefault(number, []).append(held.named)
        if older:
            flush()
        found = {n: self._window.read_back(n, offsets) for n, offsets in older.items()}
        return [self._row(held, found, read) for held in ready]

    def _ready(self, number: int, queue: deque[_Held], read: int) -> list[_Held]:
        ready: list[_Held] = []
        end: int | None = None
        while queue:
            if queue[0].named >= read:
                # what is queued was seen before the end is asked: one answer serves all of it
                end = self._end_of_requests(number, queue[0]) if end is None else end
                if end is None or queue[0].named < end:
                    break
            held = queue.popleft()
            self._count -= 1
            self._bytes -= len(held.record.value or b"")
            ready.append(held)
        return ready

    def _end_of_requests(self, number: int, held: _Held) -> int | None:
        """Returns the end as asked now; None where the decision has not waited long enough."""
        now_ms = self._clock.monotonic_ms()
        blocked = self._blocked.get(number)
        if blocked is None or blocked.offset != held.record.offset:
            self._blocked[number] = _Blocked(held.record.offset, now_ms)
            return None
        if now_ms - blocked.since_ms < ASK_END_MS:
            return None
        self._blocked[number] = _Blocked(held.record.offset, now_ms)
        return self._index.bounds(TopicPartition(Topic.REQUESTS, number))[1]

    def _row(
        self, held: _Held, found: Mapping[int, Mapping[int, Asked]], read: Mapping[int, int]
    ) -> Row:
        record, number = held.record, held.record.partition
        asked = self._window.find(number, held.named) or found.get(number, {}).get(held.named)
        problem = "" if NOWHERE < held.named < read.get(number, 0) else NO_REQUEST
        counts = (
            asked is not None
            and record.offset >= asked.floor
            and decision_counts(
                cluster=self._cluster,
                partition=number,
                decision=held.decision,
                core=held.core,
                request_value=asked.value,
                request=asked.request,
                readable=True,
            )
        )
        source = asked.source if asked is not None and counts else None
        return decision_row(
            record, held.leaf, held.decision, held.core, source=source, problem=problem
        )
