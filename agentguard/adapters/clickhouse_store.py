# SPDX-License-Identifier: Apache-2.0
"""Rows in ClickHouse through clickhouse-connect: the embedded engine or a server, one code.

The embedded engine belongs to one process, which must not fork once it is open. Each thread opens
its own `ClickHouseStore`; the engine lives as long as any of them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.datatypes.registry import get_from_name
from clickhouse_connect.driver.exceptions import ClickHouseError, DataError
from clickhouse_connect.driver.insert import InsertContext

from agentguard.contracts.errors import StoreError

DATABASE = "agentguard"
EMBEDDED = "chdb"
# Defaults differ between versions. No deduplication: a token can lose rows (see store.writing).
_INSERT = {"async_insert": 0, "insert_deduplicate": 0}
_READ_BACK = {"select_sequential_consistency": 1}
_FORMATS = {"payload": "bytes", "leaf_hash": "bytes", "log_time": "int"}
# what the client raises for a value that a column's type cannot hold
_UNFIT = (DataError, struct.error, TypeError, ValueError, AttributeError, OverflowError)


def is_embedded(dsn: str) -> bool:
    """Returns whether a DSN names the embedded engine (`chdb:///path`)."""
    return urlsplit(dsn).scheme == EMBEDDED


def embedded_path(dsn: str) -> str:
    """Returns the engine's folder of an embedded DSN."""
    return urlsplit(dsn).path


class ClickHouseStore:
    """`RowStore` and `Database` of the store. Belongs to one thread."""

    def __init__(self, dsn: str, *, config_file: Path | None = None) -> None:
        """Connects. `config_file` is the embedded engine's; a server has its own.

        Raises `StoreError` where the server does not answer or another process holds the folder.
        """
        options: dict[str, Any] = {}
        if config_file is not None and is_embedded(dsn):
            options["chdb_options"] = {"config-file": str(config_file)}
        try:
            self._client = clickhouse_connect.get_client(dsn=dsn, **options)
        except ClickHouseError as error:
            raise _store_error(error, "opening the store") from error
        self._contexts: dict[tuple[str, tuple[str, ...]], InsertContext] = {}

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Adds rows; see `RowStore.insert`. A value that fits no column is not retryable."""
        if not rows:
            return
        shape = (table, tuple(columns))
        # one context for each shape: each is a cycle that keeps its whole batch alive
        context = self._contexts.pop(shape, None) or self._new_context(table, columns)
        try:
            self._client.insert(data=list(zip(*rows, strict=True)), context=context)
        except _UNFIT as error:
            refused = StoreError(f"a row does not fit table `{table}`")
            refused.retryable = False
            raise refused from error
        except ClickHouseError as error:
            raise _store_error(error, f"writing to `{table}`") from error
        self._contexts[shape] = context

    def rows(
        self, table: str, columns: Sequence[str], span: tuple[str, int, int, int]
    ) -> Sequence[tuple[Any, ...]]:
        """Returns rows by place; see `RowStore.rows`."""
        topic, partition, first, last = span
        return self._select(
            f"SELECT {', '.join(columns)} FROM {DATABASE}.{table} "  # noqa: S608 (names of ours)
            "WHERE topic = {topic:String} AND partition = {partition:Int32} "
            "AND offset BETWEEN {first:Int64} AND {last:Int64}",
            {"topic": topic, "partition": partition, "first": first, "last": last},
            {c: _FORMATS[c] for c in columns if c in _FORMATS},
        )

    def greatest(self, table: str, column: str, by: Sequence[str]) -> Mapping[tuple[Any, ...], int]:
        """Returns the greatest value for each combination; see `RowStore.greatest`."""
        keys = ", ".join(by)
        found = self._select(
            f"SELECT {keys}, max({column}) FROM {DATABASE}.{table} GROUP BY {keys}",  # noqa: S608
            {},
            {},
        )
        return {tuple(row[:-1]): int(row[-1]) for row in found}

    def execute(self, statement: str) -> None:
        """Runs one statement that returns nothing."""
        try:
            self._client.command(statement)
        except ClickHouseError as error:
            raise _store_error(error, "running a statement") from error

    def query(self, statement: str, parameters: Mapping[str, str]) -> Sequence[tuple[Any, ...]]:
        """Returns the rows of one SELECT."""
        return self._select(statement, parameters, {})

    def close(self) -> None:
        """Closes this connection."""
        self._client.close()

    def _select(
        self, statement: str, parameters: Mapping[str, object], formats: Mapping[str, str]
    ) -> Sequence[tuple[Any, ...]]:
        try:
            found = self._client.query(
                statement,
                parameters=dict(parameters),
                column_formats=dict(formats),
                settings=_READ_BACK,
            )
        except ClickHouseError as error:
            raise _store_error(error, "asking the store") from error
        return [tuple(row) for row in found.result_rows]

    def _new_context(self, table: str, columns: Sequence[str]) -> InsertContext:
        described = self._select(f"DESCRIBE TABLE {DATABASE}.{table}", {}, {})
        types = {row[0]: get_from_name(row[1]) for row in described}
        return self._client.create_insert_context(
            table,
            column_names=list(columns),
            database=DATABASE,
            column_types=[types[name] for name in columns],
            column_oriented=True,
            settings=_INSERT,
        )


def _store_error(error: ClickHouseError, doing: str) -> StoreError:
    """Returns our error; the engine's text is cut, because it may quote a statement."""
    text = " ".join(str(error).split())[:300]
    return StoreError(f"{doing} failed: {text}")
