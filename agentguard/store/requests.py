# SPDX-License-Identifier: Apache-2.0
"""Store: the requests that decisions are judged against, the latest in memory, older read back."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from agentguard.bounds import STORE_REQUESTS_KEPT_BYTES_MAX, STORE_REQUESTS_KEPT_MAX
from agentguard.contracts.errors import StoreError
from agentguard.contracts.ports import LogRecord
from agentguard.contracts.records import AgentRequest
from agentguard.contracts.topics import Topic
from agentguard.store.ports import Cell, RowStore, Span
from agentguard.store.reading import FOREIGN_TENANT, NULL_VALUE, RecordReader
from agentguard.store.rows import Source, source_of
from agentguard.store.shapes import REQUESTS

GAP_MAX = 1_000  # offsets further apart are read back by separate queries


class Asked(NamedTuple):
    """A record that gets a decision: its exact bytes and what they are (None: unreadable)."""

    value: bytes | None
    request: AgentRequest | None
    source: Source

    @property
    def floor(self) -> int:
        """The first position in the decisions at which one can be effective."""
        return self.request.decisions_floor if self.request else 0


class RequestWindow:
    """Finds what lies at an offset of `ag.requests`. Bounded in records and bytes.

    INVARIANT: what is not here is read back from the table, so whoever asks for offsets that
    `misses` names has flushed every row read so far.
    """

    def __init__(self, store: RowStore, reader: RecordReader) -> None:
        self._store = store
        self._reader = reader
        self._kept: dict[tuple[int, int], Asked] = {}
        self._order: deque[tuple[int, int]] = deque()
        self._bytes = 0

    def keep(self, record: LogRecord, request: AgentRequest | None) -> None:
        """Remembers a record that gets a decision, and forgets the oldest over the bounds."""
        at = (record.partition, record.offset)
        self._kept[at] = Asked(record.value, request, source_of(record, request))
        self._order.append(at)
        self._bytes += len(record.value or b"")
        while (
            len(self._order) > STORE_REQUESTS_KEPT_MAX
            or self._bytes > STORE_REQUESTS_KEPT_BYTES_MAX
        ):
            gone = self._kept.pop(self._order.popleft(), None)
            self._bytes -= len(gone.value or b"") if gone else 0

    def find(self, partition: int, offset: int) -> Asked | None:
        """Returns what is remembered at an offset; None says only that it is not remembered."""
        return self._kept.get((partition, offset))

    def read_back(self, partition: int, offsets: Sequence[int]) -> dict[int, Asked]:
        """Returns what the table has at these offsets; one that is absent gets no decision.

        Everything below the sink's position in `ag.requests` must be flushed.
        """
        found: dict[int, Asked] = {}
        wanted = ("offset", "payload", "log_time", "problem")
        for first, last in _runs(sorted(set(offsets))):
            span = Span(Topic.REQUESTS, partition, first, last)
            for offset, payload, log_ms, problem in self._store.rows(REQUESTS.table, wanted, span):
                if problem == FOREIGN_TENANT:
                    continue
                record = LogRecord(
                    Topic.REQUESTS,
                    partition,
                    _number(offset),
                    None,
                    None if problem == NULL_VALUE else _bytes(payload),
                    _number(log_ms),
                )
                found[record.offset] = self._asked(record)
        return found

    def _asked(self, record: LogRecord) -> Asked:
        body = self._reader.read(record).body
        request = body if isinstance(body, AgentRequest) else None
        return Asked(record.value, request, source_of(record, request))


def _runs(offsets: Sequence[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for offset in offsets:
        if runs and offset - runs[-1][1] <= GAP_MAX:
            runs[-1] = (runs[-1][0], offset)
        else:
            runs.append((offset, offset))
    return runs


def _bytes(cell: Cell) -> bytes:
    if not isinstance(cell, bytes):
        raise StoreError("the store gave text where bytes were asked for")
    return cell


def _number(cell: Cell) -> int:
    if not isinstance(cell, int):
        raise StoreError("the store gave no number where one was asked for")
    return cell
