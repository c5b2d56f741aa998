# SPDX-License-Identifier: Apache-2.0
"""Store: batches of rows, and how they get into the tables exactly once.

No deduplication token: on this engine a token can lose rows at a crash and on a plain retry. A
batch whose outcome is in doubt is read back by its offsets, and only what is missing is inserted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from agentguard.bounds import STORE_BATCH_ROWS_MAX, STORE_WRITE_ATTEMPTS_MAX
from agentguard.contracts.errors import StoreError
from agentguard.contracts.ports import TopicPartition
from agentguard.store.ports import RowStore, Span
from agentguard.store.rows import Row
from agentguard.store.shapes import TABLES_OF, Shape, place_of

WAIT_MS = 50
LOG_TABLES = frozenset(table for tables in TABLES_OF.values() for table in tables)

Wait = Callable[[int], None]
Key = tuple[str, int, int, bytes]  # where a record lies, and its leaf hash


class Group(NamedTuple):
    """Rows that one insert may hold: it is atomic only inside one day of one table."""

    shape: Shape
    day: int


class Batch:
    """Rows that wait for their insert, by table and day, in the order they came."""

    def __init__(self) -> None:
        self.groups: dict[Group, list[Row]] = {}
        self.rows = 0
        self.bytes = 0

    def add(self, row: Row, size: int) -> None:
        """Adds a row; `size` is what its record weighs."""
        self.groups.setdefault(Group(row.shape, row.day), []).append(row)
        self.rows += 1
        self.bytes += size


class RowWriter:
    """Writes batches. A row is in its table once `write` has returned, and only once."""

    def __init__(self, store: RowStore, wait: Wait) -> None:
        self._store = store
        self._wait = wait
        self._doubtful: dict[TopicPartition, int] = {}
        self.inserted: dict[str, int] = {}
        self.read_backs = 0
        self.failures = 0
        self.conflicts = 0

    def doubt(self, ends: Mapping[TopicPartition, int]) -> None:
        """Says that rows up to these offsets, included, may be in the tables already."""
        for at, end in ends.items():
            self._doubtful[at] = max(end, self._doubtful.get(at, -1))

    def write(self, batch: Batch) -> Sequence[Row]:
        """Inserts a batch; returns the rows that the store refuses for what they hold.

        Raises `StoreError` where the store does not take it after several attempts, or where what
        was written cannot be found afterwards: then nobody may commit.
        """
        refused: list[Row] = []
        for group, rows in batch.groups.items():
            for start in range(0, len(rows), STORE_BATCH_ROWS_MAX):
                part = rows[start : start + STORE_BATCH_ROWS_MAX]
                refused += self._write(group.shape, part, in_doubt=self._is_doubtful(part))
        self._forget_doubt(batch)
        return refused

    def _write(self, shape: Shape, rows: Sequence[Row], *, in_doubt: bool) -> list[Row]:
        """Inserts rows; in doubt only those that are missing, and looks whether they are there."""
        error: StoreError | None = None
        for attempt in range(STORE_WRITE_ATTEMPTS_MAX):
            try:
                if in_doubt:
                    self._repair(shape, rows)
                else:
                    self._insert(shape, rows)
            except StoreError as found:
                self.failures += 1
                if not found.retryable:
                    return self._isolate(shape, rows)
                error, in_doubt = found, True
                self._wait(WAIT_MS << attempt)
            else:
                return []
        raise error or StoreError(f"`{shape.table}` takes no rows")

    def _isolate(self, shape: Shape, rows: Sequence[Row]) -> list[Row]:
        """Splits rows of which the store will never take one, down to that one."""
        if len(rows) == 1:
            return [rows[0]]
        middle = len(rows) // 2
        return [
            *self._write(shape, rows[:middle], in_doubt=True),
            *self._write(shape, rows[middle:], in_doubt=True),
        ]

    def _repair(self, shape: Shape, rows: Sequence[Row]) -> None:
        if shape.table not in LOG_TABLES:  # one row a key is kept: a second time changes nothing
            self._insert(shape, rows)
            return
        missing = self._missing(shape, rows)
        if missing:
            self._insert(shape, missing)
            if self._missing(shape, missing):
                raise StoreError(f"rows written to `{shape.table}` cannot be found")

    def _missing(self, shape: Shape, rows: Sequence[Row]) -> list[Row]:
        present: set[Key] = set()
        for span in _spans(rows):
            self.read_backs += 1
            present.update(self._present(shape.table, span))
        held = {p[:3] for p in present}
        missing = [r for r in rows if _key(r) not in present]
        # other bytes at a known place: the log lost its tail and grew again, or was replaced
        self.conflicts += sum(1 for r in missing if _key(r)[:3] in held)
        return missing

    def _present(self, table: str, span: Span) -> Iterable[Key]:
        for offset, leaf in self._store.rows(table, ("offset", "leaf_hash"), span):
            if isinstance(offset, int) and isinstance(leaf, bytes):
                yield (span.topic, span.partition, offset, leaf)

    def _insert(self, shape: Shape, rows: Sequence[Row]) -> None:
        self._store.insert(shape.table, shape.columns, [r.cells for r in rows])
        self.inserted[shape.table] = self.inserted.get(shape.table, 0) + len(rows)

    def _is_doubtful(self, rows: Sequence[Row]) -> bool:
        if not self._doubtful or rows[0].shape.table not in LOG_TABLES:
            return False
        return any(span.first <= self._end_of_doubt(span) for span in _spans(rows))

    def _forget_doubt(self, batch: Batch) -> None:
        """Ends the doubt about partitions that the whole batch has left behind."""
        if not self._doubtful:
            return
        logged = [
            r for g, rows in batch.groups.items() if g.shape.table in LOG_TABLES for r in rows
        ]
        for span in _spans(logged):
            if span.first > self._end_of_doubt(span):
                self._doubtful.pop(TopicPartition(span.topic, span.partition), None)

    def _end_of_doubt(self, span: Span) -> int:
        return self._doubtful.get(TopicPartition(span.topic, span.partition), -1)


def _key(row: Row) -> Key:
    place = place_of(row.cells)
    return (place.topic, place.partition, place.offset, place.leaf_hash)


def _spans(rows: Sequence[Row]) -> list[Span]:
    ends: dict[tuple[str, int], tuple[int, int]] = {}
    for row in rows:
        place = place_of(row.cells)
        at = (place.topic, place.partition)
        first, last = ends.get(at, (place.offset, place.offset))
        ends[at] = (min(first, place.offset), max(last, place.offset))
    return [Span(t, p, first, last) for (t, p), (first, last) in ends.items()]
