# SPDX-License-Identifier: Apache-2.0
"""What the store's sink and schema ask of a ClickHouse, three methods or fewer each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias
from uuid import UUID

from agentguard.contracts.ports import LogRecord

Cell: TypeAlias = (
    "str | bytes | int | bool | UUID | Sequence[str] | Sequence[int] | Mapping[str, str] "
    "| Mapping[str, int]"
)
Cells: TypeAlias = tuple[Cell, ...]


class Span(NamedTuple):
    """Offsets `first` to `last` of one partition, both included."""

    topic: str
    partition: int
    first: int
    last: int


class RowStore(Protocol):
    """Keeps rows and gives them back. An instance belongs to one thread.

    Every method raises `StoreError`. After a failed `insert` nobody knows which of its rows are
    there: some, all or none. A returned `insert` is durable.
    """

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Cells]) -> None:
        """Adds rows, given as tuples in the order of `columns`; other columns get defaults."""

    def rows(self, table: str, columns: Sequence[str], span: Span) -> Sequence[Cells]:
        """Returns these columns of every row of a log table whose place lies in the span.

        Duplicates that no merge has removed yet come as they are. Text is `str`, except
        `payload` and `leaf_hash`, which are bytes; times are milliseconds.
        """

    def greatest(self, table: str, column: str, by: Sequence[str]) -> Mapping[Cells, int]:
        """Returns the greatest value of a number column for each combination of `by`."""


class Database(Protocol):
    """Takes statements. An instance belongs to one thread. Raises `StoreError`."""

    def execute(self, statement: str) -> None:
        """Runs one statement that returns nothing."""

    def query(self, statement: str, parameters: Mapping[str, str]) -> Sequence[Cells]:
        """Returns the rows of one SELECT; `{name:Type}` placeholders are filled by the server."""


class OpenStore(RowStore, Database, Protocol):
    """A connection to the store, as `adapters.clickhouse_store` opens it."""


class Judgement(Protocol):
    """What the fold says of one control command (`control.fold.Judgement`)."""

    @property
    def accepted(self) -> bool:
        """Whether the command has any effect."""

    @property
    def code(self) -> str:
        """Why it was rejected; empty where it was accepted."""


class ControlJudge(Protocol):
    """The part of `control.fold.ControlFold` that the store needs."""

    folded: int

    def apply(self, offset: int, value: bytes | None) -> Judgement:
        """Folds the next control record and says what it did."""

    def is_readable(self, fingerprint: bytes) -> bool:
        """Returns whether Genesis or a `Semantics` command lists this schema so far."""


class DeadLetterBox(Protocol):
    """Where a record that cannot be read is reported; never raises for a full queue."""

    def note(self, record: LogRecord, *, error: str, fingerprint: bytes) -> None:
        """Reports a record."""
