# SPDX-License-Identifier: Apache-2.0
"""One partition of a lane: its fold, and the order in which its records reach it.

A request is decided before any later record of its agent is folded, so that the state it is judged
by is exactly state(n, k); what comes behind an undecided request waits. Different agents do not
wait for each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TypeAlias

from agentguard.contracts.counting import chained_agent
from agentguard.contracts.ports import AnyRecord, LogRecord
from agentguard.contracts.records import Decision, DecisionCore, Deliveries
from agentguard.session.fold import Answer, Counted, Open, PartitionFold

Queue: TypeAlias = "deque[Queued | Answer]"
# an undecodable record belongs to no agent: each waits alone, under its offset
QueueName: TypeAlias = tuple[str, str] | int


class Queued:
    """A record that was read and waits to be folded; `waiting` is set where it needs a decision."""

    __slots__ = ("decoded", "fault", "name", "read_ms", "record", "waiting")

    def __init__(
        self,
        record: LogRecord,
        decoded: AnyRecord | None,
        *,
        waiting: Open | None,
        name: QueueName,
        fault: str,
        read_ms: float,
    ) -> None:
        self.record = record
        self.decoded = decoded
        self.waiting = waiting
        self.name = name
        self.fault = fault
        self.read_ms = read_ms


class Held:
    """A decision whose request was not read yet, and everything behind it in its partition."""

    __slots__ = ("core", "decision", "is_own", "readable", "record", "since_ms")

    def __init__(
        self,
        record: LogRecord,
        decision: Decision | None,
        core: DecisionCore | None,
        *,
        readable: bool,
        is_own: bool,
        since_ms: float,
    ) -> None:
        self.record = record
        self.decision = decision
        self.core = core
        self.readable = readable
        self.is_own = is_own
        self.since_ms = since_ms


class Share:
    """A partition number that this lane owns. `ends` are the ends captured when it was gained."""

    def __init__(self, fold: PartitionFold, ends: tuple[int, int, int]) -> None:
        self.fold = fold
        self._ends = ends
        self._queues: dict[QueueName, Queue] = {}
        self._held: deque[Held] = deque()
        self._is_caught_up = False

    @property
    def is_caught_up(self) -> bool:
        """Whether everything that was on the log when the partition was gained has been read."""
        if not self._is_caught_up:
            fold = self.fold
            at = (fold.next_request, fold.next_decision, fold.next_signal)
            self._is_caught_up = all(a >= end for a, end in zip(at, self._ends, strict=True))
        return self._is_caught_up

    def heads(self) -> Iterator[Queued]:
        """Yields the first undecided request of each agent that has one."""
        for queue in list(self._queues.values()):
            head = queue[0]
            if isinstance(head, Queued):
                yield head

    def is_waiting(self) -> bool:
        """Returns whether any request waits for a decision of this lane."""
        return bool(self._queues)

    def read(
        self, record: LogRecord, decoded: AnyRecord | None, *, fault: str, read_ms: float
    ) -> Queued | None:
        """Takes a record of `ag.requests`; returns it where it can be decided at once."""
        fold = self.fold
        waiting = fold.read(record, decoded)
        if isinstance(decoded, Deliveries):
            self._read_deliveries(record, decoded)
            return None
        name = chained_agent(decoded) or record.offset
        queue = self._queues.get(name)
        if queue is None and waiting is None:
            fold.apply_request(record, decoded)
            return None
        item = Queued(record, decoded, waiting=waiting, name=name, fault=fault, read_ms=read_ms)
        if queue is not None:
            queue.append(item)
            return None
        self._queues[name] = deque((item,))
        return item

    def settle(self, head: Queued) -> Queued | None:
        """Folds a request whose decision was made or read; returns what is decidable next."""
        queue = self._queues.get(head.name)
        if queue is None:
            return None
        item: Queued | Answer = queue[0]
        if item is not head:
            return None
        first = True
        while queue:
            item = queue[0]
            if isinstance(item, Answer):
                self.fold.apply_delivery(item)
            else:
                if not first and item.waiting is not None and item.waiting.core is None:
                    return item
                self.fold.apply_request(item.record, item.decoded)
            first = False
            queue.popleft()
        del self._queues[head.name]
        return None

    def apply_decision(self, held: Held) -> None:
        """Takes a record of `ag.decisions`; it waits where its request was not read yet."""
        if self._held or not self._apply(held):
            self._held.append(held)

    def apply_held(self) -> None:
        """Folds decisions whose requests have been read by now."""
        while self._held and self._apply(self._held[0]):
            self._held.popleft()

    def stuck(self, now_ms: float, after_ms: float) -> Held | None:
        """Returns a decision that has waited long for a request."""
        if self._held and now_ms - self._held[0].since_ms >= after_ms:
            return self._held[0]
        return None

    def pass_stuck(self) -> None:
        """Steps over the first held decision: its request is not on the log."""
        self.fold.pass_decision(self._held.popleft().record)
        self.apply_held()

    def _apply(self, held: Held) -> bool:
        counted = self.fold.apply_decision(
            held.record,
            held.decision,
            held.core,
            readable=held.readable,
            is_own=held.is_own,
        )
        if counted is Counted.UNREAD:
            return False
        if counted is Counted.EFFECTIVE and self._queues:
            self._settle_decided()
        return True

    def _settle_decided(self) -> None:
        for head in list(self.heads()):
            if head.waiting is not None and head.waiting.core is not None:
                self.settle(head)

    def _read_deliveries(self, record: LogRecord, deliveries: Deliveries) -> None:
        for answer in self.fold.deliveries(record, deliveries):
            queue = self._queues.get((answer.state.tenant, answer.state.agent_id))
            if queue is None:
                self.fold.apply_delivery(answer)
            else:
                queue.append(answer)
