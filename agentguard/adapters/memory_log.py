# SPDX-License-Identifier: Apache-2.0
"""The log in memory: one process, deterministic, the same behaviour as Kafka's adapter."""

from __future__ import annotations

import base64
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from agentguard.contracts.errors import FatalLogError, LogError, QueueFullError
from agentguard.contracts.ports import (
    Clock,
    Delivery,
    Entropy,
    LogRecord,
    OnDelivery,
    StartPositions,
    TopicPartition,
)


class AppendFault(StrEnum):
    """What `MemoryLog.inject` may do to an append; the names Kafka's client reports them by."""

    NONE = ""
    NOT_WRITTEN = "_MSG_TIMED_OUT"
    WRITTEN_BUT_REPORTED_FAILED = "REQUEST_TIMED_OUT"
    QUEUE_FULL = "_QUEUE_FULL"
    WRITER_DIES = "_FATAL"


FaultOf: TypeAlias = Callable[[TopicPartition, bytes | None], AppendFault]


@dataclass(slots=True)
class _Partition:
    first: int = 0
    records: list[LogRecord] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.first + len(self.records)


@dataclass(slots=True)
class _Group:
    committed: dict[TopicPartition, int] = field(default_factory=dict)
    members: dict[str, MemoryMember] = field(default_factory=dict)


class MemoryLog:
    """`Log` and `LogIndex` over lists. Safe to share between threads (one lock).

    Without `waits`, a read never waits, so that nothing here depends on real time; with it, a read
    sleeps until a record comes, for tests that run the doors on threads.
    """

    def __init__(
        self,
        topics: Mapping[str, int],
        *,
        clock: Clock,
        entropy: Entropy,
        waits: bool = False,
    ) -> None:
        self._clock = clock
        self._entropy = entropy
        self._waits = waits
        self._changed = threading.Condition(threading.RLock())
        self._topics = dict(topics)
        self._partitions = {
            TopicPartition(topic, number): _Partition()
            for topic, count in topics.items()
            for number in range(count)
        }
        self._ids = {topic: _uuid(entropy.token(16)) for topic in topics}
        self._groups: dict[str, _Group] = {}
        self._fault: FaultOf | None = None

    def writer(self, name: str) -> MemoryWriter:
        """Returns a new writer."""
        return MemoryWriter(self, name)

    def reader(self, positions: Mapping[TopicPartition, int]) -> MemoryReader:
        """Returns a reader of exactly these partitions. Raises `LogError` for an unknown one."""
        for at in positions:
            self._partition(at)
        return MemoryReader(self, positions)

    def member(
        self, *, group: str, instance: str, topics: Sequence[str], start: StartPositions
    ) -> MemoryMember:
        """Returns a static member; one that held the same instance before is fenced."""
        for topic in topics:
            self.partitions(topic)
        with self._changed:
            members = self._groups.setdefault(group, _Group()).members
            older = members.get(instance)
            joined = MemoryMember(self, group, topics, start)
            members[instance] = joined
            if older is not None:
                older.is_fenced = True
            if older is not None and older.topics == joined.topics:
                joined.due = older.share if older.due is None else older.due
            else:
                self._rebalance(group)
            return joined

    def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """Returns the first offset and the end. Raises `LogError` for an unknown partition."""
        with self._changed:
            found = self._partition(partition)
            return found.first, found.end

    def topic_id(self, topic: str) -> str:
        """Returns the topic's id, drawn from the injected randomness."""
        self.partitions(topic)
        return self._ids[topic]

    def partitions(self, topic: str) -> int:
        """Returns how many partitions a topic has. Raises `LogError` for an unknown topic."""
        count = self._topics.get(topic)
        if count is None:
            raise LogError(f"unknown topic `{topic}`")
        return count

    def committed(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Returns the group's stored next offsets; a partition without one is left out."""
        with self._changed:
            stored = self._groups.get(group, _Group()).committed
            return {at: stored[at] for at in partitions if at in stored}

    def close(self) -> None:
        """Does nothing: there is no client to close."""

    # what a broker's administrator, an accident or a test may do to a log

    def inject(self, fault: FaultOf | None) -> None:
        """Asks `fault` about every later append what shall become of it; None ends that."""
        self._fault = fault

    def delete_records(self, partition: TopicPartition, before: int) -> None:
        """Deletes what lies below an offset; the numbering of the rest stays."""
        with self._changed:
            found = self._partition(partition)
            kept = min(max(before, found.first), found.end)
            del found.records[: kept - found.first]
            found.first = kept

    def recreate(self, topic: str) -> None:
        """Deletes a topic and makes it anew: offsets start at 0 under another topic id."""
        with self._changed:
            for number in range(self.partitions(topic)):
                self._partitions[TopicPartition(topic, number)] = _Partition()
            self._ids[topic] = _uuid(self._entropy.token(16))

    def expire(self, group: str, instance: str) -> None:
        """Lets a member's session run out: its partitions go to the others of its group."""
        with self._changed:
            gone = self._groups[group].members.pop(instance)
            gone.is_fenced = True
            self._rebalance(group)

    # for the writers and readers of this module

    def _partition(self, at: TopicPartition) -> _Partition:
        found = self._partitions.get(at)
        if found is None:
            raise LogError(f"unknown partition `{at.topic}/{at.partition}`")
        return found

    def _fault_of(self, at: TopicPartition, value: bytes | None) -> AppendFault:
        return AppendFault.NONE if self._fault is None else self._fault(at, value)

    def _write(self, at: TopicPartition, key: bytes | None, value: bytes | None) -> Delivery:
        with self._changed:
            found = self._partitions.get(at)
            if found is None:
                known = at.topic in self._topics
                error = "_UNKNOWN_PARTITION" if known else "_UNKNOWN_TOPIC"
                return Delivery(at.partition, -1, error)
            offset = found.end
            found.records.append(
                LogRecord(at.topic, at.partition, offset, key, value, self._clock.now_ms())
            )
            self._changed.notify_all()
            return Delivery(at.partition, offset, "")

    def _rebalance(self, group: str) -> None:
        """Shares every topic by ranges over the members in the order of their instance ids."""
        members = self._groups[group].members
        shares: dict[str, list[TopicPartition]] = {instance: [] for instance in members}
        for topic in sorted({t for member in members.values() for t in member.topics}):
            owners = sorted(i for i, member in members.items() if topic in member.topics)
            each, more = divmod(self._topics[topic], len(owners))
            numbers = iter(range(self._topics[topic]))
            for place, owner in enumerate(owners):
                for _ in range(each + (place < more)):
                    shares[owner].append(TopicPartition(topic, next(numbers)))
        for instance, member in members.items():
            member.due = tuple(shares[instance])
        self._changed.notify_all()


class MemoryWriter:
    """`LogWriter` of a `MemoryLog`. A record lies on the log at once; reports wait for a poll."""

    def __init__(self, log: MemoryLog, name: str) -> None:
        self.name = name
        self._log = log
        self._due: deque[tuple[OnDelivery, Delivery]] = deque()
        self._is_dead = False

    def append(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None,
        partition: int,
        on_delivery: OnDelivery | None = None,
    ) -> None:
        """Appends a record; see `LogWriter.append`. A null value is what a hostile writer sends."""
        if self._is_dead:
            raise FatalLogError("the writer died")
        at = TopicPartition(topic, partition)
        fault = self._log._fault_of(at, value)  # noqa: SLF001 (the log's own writer)
        if fault is AppendFault.QUEUE_FULL:
            raise QueueFullError("the writer's queue is full")
        if fault is AppendFault.WRITER_DIES:
            self._is_dead = True
            raise FatalLogError("the writer died")
        if fault is AppendFault.NOT_WRITTEN:
            delivery = Delivery(partition, -1, fault)
        else:
            delivery = self._log._write(at, key, value)  # noqa: SLF001
            if fault is AppendFault.WRITTEN_BUT_REPORTED_FAILED:
                delivery = Delivery(partition, -1, fault)
        if on_delivery is not None:
            self._due.append((on_delivery, delivery))

    def poll(self) -> None:
        """Calls the delivery callbacks that are due. Raises `FatalLogError` once dead."""
        while self._due:
            on_delivery, delivery = self._due.popleft()
            on_delivery(delivery)
        if self._is_dead:
            raise FatalLogError("the writer died")

    def flush(self, timeout_ms: int) -> int:
        """Calls what is due; returns 0, because nothing is ever left."""
        del timeout_ms
        self.poll()
        return 0


class MemoryReader:
    """`LogReader` of fixed partitions of a `MemoryLog`."""

    def __init__(self, log: MemoryLog, positions: Mapping[TopicPartition, int]) -> None:
        self._log = log
        self._next = dict(positions)
        self._is_closed = False

    def read(self, *, timeout_ms: int, records_max: int) -> Sequence[LogRecord]:
        """Returns what is there. Raises `LogError` where a position is gone."""
        log = self._log
        with log._changed:  # noqa: SLF001 (the log's own reader)
            found = self._take(records_max)
            if not found and timeout_ms > 0 and log._waits:  # noqa: SLF001
                log._changed.wait(timeout_ms / 1000)  # noqa: SLF001
                found = self._take(records_max)
            return found

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Does nothing: this reader has no group."""

    def close(self) -> None:
        """Ends this reader."""
        self._is_closed = True

    def _take(self, records_max: int) -> list[LogRecord]:
        if self._is_closed:
            raise LogError("the reader is closed")
        taken: list[LogRecord] = []
        for at, position in self._next.items():
            partition = self._log._partitions[at]  # noqa: SLF001
            if not partition.first <= position <= partition.end:
                if taken:
                    break
                raise LogError(
                    f"offset `{position}` of `{at.topic}/{at.partition}` is gone: the log holds "
                    f"`{partition.first}` to `{partition.end}`"
                )
            begin = position - partition.first
            part = partition.records[begin : begin + records_max - len(taken)]
            if part:
                taken += part
                self._next[at] = position + len(part)
                if len(taken) == records_max:
                    break
        if taken:
            # the partition read last goes to the back, so that none starves
            at = TopicPartition(taken[-1].topic, taken[-1].partition)
            self._next[at] = self._next.pop(at)
        return taken


class MemoryMember(MemoryReader):
    """`LogReader` of a static group member: joins and loses partitions at its reads."""

    def __init__(
        self, log: MemoryLog, group: str, topics: Sequence[str], start: StartPositions
    ) -> None:
        super().__init__(log, {})
        self.topics = tuple(topics)
        self.share: tuple[TopicPartition, ...] = ()
        self.due: tuple[TopicPartition, ...] | None = None
        self.is_fenced = False
        self._group = group
        self._start = start

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Stores next offsets for the group. Raises `FatalLogError` once fenced."""
        self._check()
        with self._log._changed:  # noqa: SLF001 (the log's own reader)
            self._log._groups[self._group].committed.update(positions)  # noqa: SLF001

    def close(self) -> None:
        """Ends this reader; its partitions stay with its instance until the session runs out."""
        if self.share and not self._is_closed and not self.is_fenced:
            self._start(())
        super().close()

    def _take(self, records_max: int) -> list[LogRecord]:
        self._check()
        while self.due is not None:
            self._move(self.due)
        return super()._take(records_max)

    def _check(self) -> None:
        if self.is_fenced:
            raise FatalLogError("another member took this instance's place")

    def _move(self, gained: tuple[TopicPartition, ...]) -> None:
        self.due = None
        if self.share:
            self._start(())
        self._next = {}
        self.share = gained
        if not gained:
            return
        positions = self._start(gained)
        missing = [at for at in gained if at not in positions]
        if missing:
            raise LogError(f"no start position for `{missing[0].topic}/{missing[0].partition}`")
        self._next = {at: positions[at] for at in gained}


def _uuid(token: bytes) -> str:
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode()
