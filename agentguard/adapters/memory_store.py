# SPDX-License-Identifier: Apache-2.0
"""Rows in memory: what the sink sees of a ClickHouse, for tests; no SQL. One suite holds for both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import TypeAlias

from agentguard.contracts.errors import StoreError

INT64_MAX = 2**63 - 1


class InsertFault(StrEnum):
    """What `MemoryStore.inject` may do to an insert."""

    NONE = "none"
    NOTHING_WRITTEN = "nothing_written"
    HALF_WRITTEN = "half_written"
    ALL_WRITTEN = "all_written"
    LOST_IN_SILENCE = "lost_in_silence"


FaultOf: TypeAlias = Callable[[str, Sequence[Sequence[object]]], InsertFault]


class MemoryStore:
    """`RowStore` over lists. Keeps duplicates, as a ClickHouse table does before it merges."""

    def __init__(self) -> None:
        self.tables: dict[str, list[dict[str, object]]] = {}
        self._fault: FaultOf | None = None

    def inject(self, fault: FaultOf | None) -> None:
        """Asks `fault` about every later insert what shall become of it; None ends that."""
        self._fault = fault

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Adds rows; refuses, for good, a number over 64 bits, as a column would."""
        if any(isinstance(c, int) and abs(c) > INT64_MAX for row in rows for c in row):
            refused = StoreError(f"a row does not fit table `{table}`")
            refused.retryable = False
            raise refused
        fault = self._fault(table, rows) if self._fault else InsertFault.NONE
        kept = {
            InsertFault.NOTHING_WRITTEN: 0,
            InsertFault.LOST_IN_SILENCE: 0,
            InsertFault.HALF_WRITTEN: len(rows) // 2,
        }.get(fault, len(rows))
        into = self.tables.setdefault(table, [])
        into.extend(dict(zip(columns, row, strict=True)) for row in rows[:kept])
        if fault not in (InsertFault.NONE, InsertFault.LOST_IN_SILENCE):
            raise StoreError(f"writing to `{table}` failed: injected")

    def rows(
        self, table: str, columns: Sequence[str], span: tuple[str, int, int, int]
    ) -> Sequence[tuple[object, ...]]:
        """Returns rows by place, absent columns as the default of a text."""
        topic, partition, first, last = span
        return [
            tuple(row.get(name, "") for name in columns)
            for row in self.tables.get(table, ())
            if (row["topic"], row["partition"]) == (topic, partition)
            and first <= _number(row["offset"]) <= last
        ]

    def greatest(
        self, table: str, column: str, by: Sequence[str]
    ) -> Mapping[tuple[object, ...], int]:
        """Returns the greatest value for each combination."""
        found: dict[tuple[object, ...], int] = {}
        for row in self.tables.get(table, ()):
            key = tuple(row[name] for name in by)
            found[key] = max(_number(row[column]), found.get(key, -INT64_MAX))
        return found


def _number(cell: object) -> int:
    if not isinstance(cell, int):
        raise StoreError("no number where one was asked for")
    return cell
