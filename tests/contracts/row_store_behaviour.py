# SPDX-License-Identifier: Apache-2.0
"""What every row store must do alike: one function each, on a store that is already set up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from agentguard.contracts.errors import StoreError
from agentguard.contracts.ports import LogRecord
from agentguard.store.ports import Cells, RowStore, Span
from agentguard.store.reading import UNDECODABLE
from agentguard.store.rows import stub_row
from agentguard.store.shapes import PROGRESS, STUBS

TABLE = "signals"
COLUMNS = STUBS["ag.signals"].columns
LEAF = bytes(range(32))
NOW_MS = 1_790_000_000_123
EXACT = (b"", b"\x00\xff\xfe text \x80", b"plain", bytes(range(256)) * 4)


def cells(topic: str, partition: int, offset: int, payload: bytes = b"x") -> Cells:
    record = LogRecord("ag.signals", partition, offset, None, payload, NOW_MS)
    row = stub_row(record, LEAF, UNDECODABLE)
    return (topic, *row.cells[1:])


def a_row_is_found_by_its_place(store: RowStore) -> None:
    store.insert(TABLE, COLUMNS, [cells("t-place", 3, offset) for offset in (5, 6, 9)])
    found = store.rows(TABLE, ("offset", "leaf_hash"), Span("t-place", 3, 6, 9))
    assert sorted(found) == [(6, LEAF), (9, LEAF)]


def a_row_of_another_partition_or_topic_is_not_found(store: RowStore) -> None:
    store.insert(TABLE, COLUMNS, [cells("t-other", 1, 1)])
    assert list(store.rows(TABLE, ("offset",), Span("t-other", 2, 0, 9))) == []
    assert list(store.rows(TABLE, ("offset",), Span("t-nothing", 1, 0, 9))) == []


def payloads_come_back_byte_for_byte(store: RowStore) -> None:
    rows = [cells("t-bytes", 0, n, payload) for n, payload in enumerate(EXACT)]
    store.insert(TABLE, COLUMNS, rows)
    found = store.rows(TABLE, ("offset", "payload"), Span("t-bytes", 0, 0, 99))
    assert dict(found) == dict(enumerate(EXACT))


def times_and_texts_come_back_as_numbers_and_texts(store: RowStore) -> None:
    store.insert(TABLE, COLUMNS, [cells("t-time", 0, 0)])
    found = store.rows(TABLE, ("log_time", "problem"), Span("t-time", 0, 0, 0))
    assert list(found) == [(NOW_MS, UNDECODABLE)]


def a_row_written_twice_is_still_there(store: RowStore) -> None:
    for _ in range(2):
        store.insert(TABLE, COLUMNS, [cells("t-twice", 0, 7)])
    found = store.rows(TABLE, ("offset",), Span("t-twice", 0, 7, 7))
    assert set(found) == {(7,)}


def the_greatest_value_is_told_for_each_combination(store: RowStore) -> None:
    rows: Sequence[Cells] = [("a", "id", 0, 5), ("a", "id", 1, 9), ("a", "id", 1, 7)]
    store.insert(PROGRESS.table, PROGRESS.columns, [rows[0]])
    for row in rows[1:]:
        store.insert(PROGRESS.table, PROGRESS.columns, [row])
    found = store.greatest(PROGRESS.table, "next_offset", ("topic", "topic_id", "partition"))
    ours = {k: v for k, v in found.items() if k[0] == "a"}
    assert ours == {("a", "id", 0): 5, ("a", "id", 1): 9}


def a_number_beyond_64_bits_is_refused_for_good(store: RowStore) -> None:
    with pytest.raises(StoreError) as refused:
        store.insert(TABLE, COLUMNS, [cells("t-number", 0, 2**70)])
    assert not refused.value.retryable
    assert list(store.rows(TABLE, ("offset",), Span("t-number", 0, 0, 2**62))) == []


def nothing_is_inserted_where_nothing_is_given(store: RowStore) -> None:
    store.insert(TABLE, COLUMNS, [])
    assert list(store.rows(TABLE, ("offset",), Span("t-empty", 0, 0, 9))) == []


BEHAVIOURS: Mapping[str, Callable[[RowStore], None]] = {
    f.__name__: f
    for f in (
        a_row_is_found_by_its_place,
        a_row_of_another_partition_or_topic_is_not_found,
        payloads_come_back_byte_for_byte,
        times_and_texts_come_back_as_numbers_and_texts,
        a_row_written_twice_is_still_there,
        the_greatest_value_is_told_for_each_combination,
        a_number_beyond_64_bits_is_refused_for_good,
        nothing_is_inserted_where_nothing_is_given,
    )
}
