# SPDX-License-Identifier: Apache-2.0
"""Store: follows the log and writes every record into its table, once.

Positions are assigned by hand and kept in the store (`progress.py`), so there is no group and no
rebalance: what is in doubt is known at the start (rows past the stored position) and after a
failed insert, and read back then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentguard.bounds import (
    STORE_BATCH_BUSY_MS,
    STORE_BATCH_BYTES_MAX,
    STORE_BATCH_MS,
    STORE_BATCH_ROWS_MAX,
    STORE_BATCH_SMALL_ROWS,
)
from agentguard.contracts.errors import LogError, StoreError
from agentguard.contracts.ports import (
    Clock,
    Codec,
    Log,
    LogIndex,
    LogReader,
    LogRecord,
    TopicPartition,
)
from agentguard.contracts.topics import SEALED_TOPICS, Topic
from agentguard.store.checkpoints import CheckpointThinner
from agentguard.store.decisions import DecisionQueue
from agentguard.store.intake import Intake, IntakeCounts
from agentguard.store.ports import ControlJudge, DeadLetterBox, RowStore
from agentguard.store.progress import Progress
from agentguard.store.reading import FOREIGN_TENANT, UNSTORABLE, RecordReader
from agentguard.store.requests import RequestWindow
from agentguard.store.rows import Row
from agentguard.store.shapes import place_of
from agentguard.store.writing import LOG_TABLES, Batch, RowWriter, Wait

INPUTS = (Topic.REQUESTS, Topic.SIGNALS, Topic.CONTROL, Topic.CHECKPOINTS, Topic.DEAD_LETTERS)
TOPICS = (*INPUTS, Topic.DECISIONS)
CONTROL = TopicPartition(Topic.CONTROL, 0)
READ_RECORDS_MAX = 1_000
READ_WAIT_MS = 1_000
PROGRESS_EVERY_MS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkPorts:
    """What a sink works on. `log` and `index` are the same log."""

    log: Log
    index: LogIndex
    store: RowStore
    codec: Codec
    clock: Clock
    control: ControlJudge
    letters: DeadLetterBox


class Sink:
    """Reads every topic of the store and writes rows. Belongs to one thread.

    With a `tenant` it serves that one only: a record of another is stored as its place and leaf,
    without content, counted, and makes the sink not ready for as long as it runs.
    """

    def __init__(self, ports: SinkPorts, *, cluster: str, tenant: str, wait: Wait) -> None:
        self._ports = ports
        reader = RecordReader(ports.codec, ports.control, self._catch_up_control, tenant=tenant)
        window = RequestWindow(ports.store, reader)
        self._queue = DecisionQueue(window, ports.index, ports.clock, cluster=cluster)
        self._thinner = CheckpointThinner()
        self.counts = IntakeCounts()
        self._intake = Intake(
            codec=ports.codec,
            reader=reader,
            window=window,
            queue=self._queue,
            thinner=self._thinner,
            letters=ports.letters,
            add=self._add,
            counts=self.counts,
        )
        self._progress = Progress(ports.store, ports.index, TOPICS)
        self.writer = RowWriter(ports.store, wait)
        self._batch = Batch()
        self._batch_since_ms = 0.0
        self._progress_at_ms = 0.0
        self._next: dict[TopicPartition, int] = {}
        self._stored_control = 0
        self._has_asked_control = False
        self._targets: dict[TopicPartition, int] = {}
        self._readers: tuple[LogReader, ...] = ()

    def start(self) -> None:
        """Finds its place, folds the control log and opens its readers.

        Raises `StoreError` where the tables belong to another log, `LogError` where the log does
        not answer or was not founded yet.
        """
        stored = self._progress.load()
        ends = self._progress.ends()
        for at in self._progress.partitions:
            first, end = self._ports.index.bounds(at)
            self._next[at] = self._place(at, stored[at], first, end)
            self._targets[at] = end
        self.writer.doubt({at: end for at, end in ends.items() if end >= self._next.get(at, 0)})
        self._stored_control = self._next[CONTROL]
        self._next[CONTROL] = self._ports.control.folded + 1
        self._has_asked_control = False
        self._catch_up_control()
        if self._next[CONTROL] == 0:
            raise LogError("the control log is empty: the platform was not founded yet")
        self._readers = (self._open(INPUTS), self._open((Topic.DECISIONS,)))
        self._progress_at_ms = self._ports.clock.monotonic_ms()

    def step(self, *, timeout_ms: int) -> int:
        """Reads once, settles what can be settled, flushes what is due; returns records read.

        Raises `LogError`, `StoreError`, `OutdatedBuildError`: then only a new start helps.
        """
        if not self._readers:
            raise LogError("the sink was not started")
        inputs, decisions = self._readers
        count = self._take_all(inputs, timeout_ms)
        if not self._queue.is_full:
            count += self._take_all(decisions, 0)
        for row in self._thinner.take(self._ports.clock.now_ms()):
            self._add(row, 0)
        self._settle()
        now_ms = self._ports.clock.monotonic_ms()
        if self._is_due(now_ms):
            self._flush()
        if now_ms - self._progress_at_ms >= PROGRESS_EVERY_MS:
            self._save(now_ms)
        return count

    def stop(self) -> None:
        """Writes everything that was read, and how far that is; closes the readers."""
        if not self._readers:
            return
        for row in self._thinner.take_all():
            self._add(row, 0)
        self._settle()
        self._save(self._ports.clock.monotonic_ms())
        for reader in self._readers:
            reader.close()
        self._readers = ()

    @property
    def positions(self) -> Mapping[TopicPartition, int]:
        """The next offset to be read in each partition."""
        return dict(self._next)

    @property
    def not_ready(self) -> str:
        """Why the store must not be relied on yet; empty where it may."""
        if self.counts.problems.get(FOREIGN_TENANT):
            return "a second tenant's records are on this log: they need a ClickHouse server"
        if not self._readers:
            return "the sink is starting"
        for at, end in list(self._targets.items()):
            if self._next[at] < end:
                return f"catching up with `{at.topic}`"
            del self._targets[at]
        return ""

    # where to begin

    def _place(self, at: TopicPartition, stored: int, first: int, end: int) -> int:
        if stored > end:
            # the log lost its tail: everything is read again, beside what was stored of it
            self.counts.finding("log_shorter_than_store")
            return first
        if stored < first and at.topic in SEALED_TOPICS:
            self.counts.finding("deleted_before_stored")
        return max(stored, first)

    def _open(self, topics: Sequence[str]) -> LogReader:
        return self._ports.log.reader({at: p for at, p in self._next.items() if at.topic in topics})

    # reading

    def _take_all(self, reader: LogReader, timeout_ms: int) -> int:
        records = reader.read(timeout_ms=timeout_ms, records_max=READ_RECORDS_MAX)
        self._has_asked_control = False
        for record in records:
            at = TopicPartition(record.topic, record.partition)
            if at == CONTROL:
                self._take_control(record)
                continue
            if record.offset != self._next[at] and record.topic in SEALED_TOPICS:
                self.counts.finding("hole_in_the_log")
            self._intake.take(record)
            self._next[at] = record.offset + 1
        return len(records)

    def _take_control(self, record: LogRecord) -> None:
        if record.offset < self._next[CONTROL]:
            return  # folded already, when a schema had to be looked for
        self._next[CONTROL] = record.offset + 1
        judgement = self._ports.control.apply(record.offset, record.value)
        if record.offset >= self._stored_control:
            self._intake.take_command(record, judgement)

    def _catch_up_control(self) -> None:
        """Folds what the control log holds beyond what was read; asks once for each read."""
        if self._has_asked_control:
            return
        self._has_asked_control = True
        end = self._ports.index.bounds(CONTROL)[1]
        if self._next[CONTROL] >= end:
            return
        reader = self._ports.log.reader({CONTROL: self._next[CONTROL]})
        try:
            while self._next[CONTROL] < end:
                for record in reader.read(timeout_ms=READ_WAIT_MS, records_max=READ_RECORDS_MAX):
                    self._take_control(record)
        finally:
            reader.close()

    def _settle(self) -> None:
        read = {at.partition: p for at, p in self._next.items() if at.topic == Topic.REQUESTS}
        for row in self._queue.take(read, self._flush):
            self._add(row, len(place_of(row.cells).payload))

    # writing

    def _add(self, row: Row, size: int) -> None:
        if not self._batch.rows:
            self._batch_since_ms = self._ports.clock.monotonic_ms()
        self._batch.add(row, size)

    def _is_due(self, now_ms: float) -> bool:
        batch = self._batch
        if batch.rows >= STORE_BATCH_ROWS_MAX or batch.bytes >= STORE_BATCH_BYTES_MAX:
            return True
        is_small = batch.rows < STORE_BATCH_SMALL_ROWS
        wait_ms = STORE_BATCH_MS if is_small else STORE_BATCH_BUSY_MS
        return batch.rows > 0 and now_ms - self._batch_since_ms >= wait_ms

    def _flush(self) -> None:
        batch, self._batch = self._batch, Batch()
        stubs = Batch()
        for row in self.writer.write(batch):
            self.counts.problem(UNSTORABLE)
            if row.shape.table in LOG_TABLES:
                stubs.add(self._intake.stub(place_of(row.cells).record(), UNSTORABLE), 0)
        if self.writer.write(stubs):
            raise StoreError("the store refuses even the place of a record")

    def _save(self, now_ms: float) -> None:
        """Writes what waits, then how far everything below is in the tables."""
        self._flush()
        positions = dict(self._next)
        for topic, held in (
            (Topic.DECISIONS, self._queue.first_held()),
            (Topic.CHECKPOINTS, self._thinner.first_held()),
        ):
            positions |= {TopicPartition(topic, number): p for number, p in held.items()}
        self._progress.save(positions)
        self._progress_at_ms = now_ms
