# SPDX-License-Identifier: Apache-2.0
"""`agentguard audit query SQL`: one question to the store's read-only door."""

from __future__ import annotations

import base64
import csv
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode, urlsplit

import msgspec
import typer
from rich.console import Console
from rich.table import Column as TableColumn
from rich.table import Table
from rich.text import Text

from agentguard.bounds import QUERY_SECONDS_MAX
from agentguard.cli.locate import DataOption, JsonOption, data_folder
from agentguard.contracts.errors import AgentGuardError
from agentguard.local.platform_files import read_credentials, read_platform

FORMAT = "JSONCompact"
CELL_CHARS_MAX = 400
ANSWER_EXTRA_S = 5  # beyond the engine's own limit

SqlArgument = Annotated[
    str, typer.Argument(help="one statement that reads; `-` reads it from input")
]
CsvOption = Annotated[bool, typer.Option("--csv", help="print comma-separated values")]


class QueryRefusedError(AgentGuardError):
    """The store answered that it does not answer."""

    code = "query_refused"
    next_step = "see the tables: agentguard audit query 'SHOW TABLES'"


class StoreUnreachableError(AgentGuardError):
    """No store answers at the address of this platform."""

    code = "store_unreachable"
    retryable = True
    next_step = "agentguard status; the store is installed and started after the other processes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of an answer."""

    name: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """An answer of the store."""

    meta: tuple[Column, ...]
    data: tuple[tuple[object, ...], ...]
    rows: int


def command(
    sql: SqlArgument,
    data: DataOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Ask the store. Exit 0 with an answer, 2 where the question is refused, 3 without a store."""
    folder = data_folder(data)
    credentials = read_credentials(folder).store
    text = sys.stdin.read() if sql == "-" else sql
    try:
        answer = ask(
            read_platform(folder).store, text, user=credentials.user, password=credentials.password
        )
    except (QueryRefusedError, StoreUnreachableError) as error:
        print(f"{error.code}: {error}\n  next: {error.next_step}", file=sys.stderr)
        raise typer.Exit(3 if error.retryable else 2) from None
    names = [column.name for column in answer.meta]
    if as_json:
        print(json.dumps([dict(zip(names, row, strict=True)) for row in answer.data]))
    elif as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(names)
        writer.writerows([[_plain(cell) for cell in row] for row in answer.data])
    else:
        _show(names, answer.data)


def ask(url: str, sql: str, *, user: str, password: str) -> Rows:
    """Returns the store's answer. Raises `QueryRefusedError`, `StoreUnreachableError`."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise StoreUnreachableError("this platform has no store yet")
    options = urlencode({"default_format": FORMAT, "database": "agentguard"})
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    request = urllib.request.Request(  # noqa: S310 (the scheme was checked)
        f"{url.rstrip('/')}/?{options}",
        data=sql.encode(),
        headers={"Authorization": f"Basic {basic}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=QUERY_SECONDS_MAX + ANSWER_EXTRA_S) as answer:  # noqa: S310
            body: bytes = answer.read()
    except urllib.error.HTTPError as error:
        with error:
            said = " ".join(error.read(4_000).decode(errors="replace").split())
        raise QueryRefusedError(_flat(said) or f"the store answered {error.code}") from None
    except OSError as error:
        raise StoreUnreachableError("the store does not answer") from error
    try:
        return msgspec.convert(msgspec.json.decode(body), Rows)
    except msgspec.MsgspecError:
        raise QueryRefusedError(
            "the answer is not a table", next_step="leave FORMAT out of the statement"
        ) from None


def _show(names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    console = Console()
    # agents wrote these texts: no markup and no control character of theirs is followed
    table = Table(*(TableColumn(Text(_flat(name))) for name in names))
    for row in rows:
        table.add_row(*(Text(_flat(_plain(cell))[:CELL_CHARS_MAX]) for cell in row))
    console.print(table)
    console.print(f"{len(rows)} row{'' if len(rows) == 1 else 's'}", markup=False)


def _plain(cell: object) -> str:
    return cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)


def _flat(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
