# SPDX-License-Identifier: Apache-2.0
"""Read-only questions to the embedded engine, each on a handle of its own.

Three gates, all needed. The engine's own classification of the text refuses OUTFILE, SYSTEM, KILL,
SET and several statements, which the others let pass. The names in the text, as the engine itself
writes it out again, must not be those of functions that reach beyond the tables: embedded, the
*function* `file('/path')` reads any file of this process, keys included, under every grant and
`readonly`. `SET readonly = 1` refuses the *table functions* `file()`, `url()`, `Python()` and
SETTINGS, which the first two let pass.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import chdb

from agentguard.contracts.errors import StoreError

_CODE = re.compile(r"Code: (\d+)\. DB::")
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_NAMES_FORMAT = re.compile(r"\bFORMAT\b", re.IGNORECASE)
_SELECTS = re.compile(r"\s*\(?\s*(SELECT|WITH)\b", re.IGNORECASE)  # SHOW and the like cannot stream
# each block of these is complete in itself, so that blocks can be sent as they come
_STREAMED = frozenset({"Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_IDENTIFIERS = re.compile(r"\{\s*(\w+)\s*:\s*Identifier\s*\}", re.IGNORECASE)
# the package's own: they make objects of this process, not bytes
_PYTHON_FORMATS = frozenset({"arrowtable", "dataframe", "datastore", "debug", "pandas"})
MESSAGE_CHARS_MAX = 2_000
READONLY = "Code: 164. DB::Exception: only one statement that reads is accepted here. (READONLY)"
# Functions that read files, ask services, print to the log, show the process or only take time.
# Reviewed against every function of the pinned engine; a test lists those that nobody has seen.
REFUSED_NAMES = frozenset(
    name.lower()
    for name in (
        "file", "catboostEvaluate", "naiveBayesClassifier", "naiveBayesClassifierWithAllProbs",
        "naiveBayesClassifierWithProb", "aiClassify", "aiEmbed", "aiExtract", "aiFilter",
        "aiGenerate", "aiRedact", "aiSimilarity", "aiTranslate", "addressToLine",
        "addressToLineWithInlines", "addressToSymbol", "demangle", "logTrace", "sleep",
        "sleepEachRow", "showCertificate", "getClientHTTPHeader", "evalMLMethod",
        # table functions that run a text or a program, and the table that stops every thread
        "eval", "executable", "stack_trace",
    )
)  # fmt: skip
# the engine's own form of a statement: text in single quotes, names bare or in backticks
_TOKENS = re.compile(r"'(?:[^'\\]|\\.)*'|`((?:[^`\\]|\\.)*)`|([A-Za-z_][A-Za-z0-9_]*)", re.DOTALL)
_REFUSALS = (chdb.ChdbError, RuntimeError, ValueError)  # what the engine's failures come as


class QueryError(StoreError):
    """The engine refused a question. `engine_code` is ClickHouse's number, 0 where it has none."""

    code = "query"
    retryable = False
    next_step = "read the message; the tables and views are in docs/analyst/views.md"

    def __init__(self, message: str) -> None:
        super().__init__(message[:MESSAGE_CHARS_MAX])
        found = _CODE.search(message)
        self.engine_code = int(found.group(1)) if found else 0


class Answer(NamedTuple):
    """What came of a question: blocks of bytes, what they are, and what it cost where known."""

    blocks: Iterator[bytes]
    format: str
    rows_read: int
    bytes_read: int


class Question(NamedTuple):
    """One statement with what came beside it. `settings` are names and texts."""

    sql: str
    database: str
    format: str
    parameters: Mapping[str, str]
    settings: Mapping[str, str]


class ChdbQueries:
    """Asks the engine of one folder. May be used from several threads at once."""

    def __init__(self, path: Path, *, config_file: Path) -> None:
        options = urlencode({"config-file": str(config_file)})
        self._connection = f"{path.resolve()}?{options}"
        self._gate = chdb.connect(self._connection)
        self._gate.query("SET log_queries = 0")
        self._lock = threading.Lock()

    def refusal(self, question: Question) -> str:
        """Returns why a question is not asked, in ClickHouse's form; empty where it may be."""
        sql = question.sql
        with self._lock:
            found = self._gate._conn.classify_query(sql, question.database)  # noqa: SLF001 (no public name)
            if found["query_class"].name != "READ_ONLY" or found["statement_count"] != 1:
                return READONLY
            try:
                write_out = f"SELECT formatQuerySingleLine({_quoted(sql)})"
                written = self._gate.query(write_out, "RawBLOB").bytes()
            except _REFUSALS as error:
                return str(error)[:MESSAGE_CHARS_MAX]
        text = (written or b"").decode()
        names = names_of(text)
        # a name that comes in as a parameter is put in place after the statement is read
        for parameter in _IDENTIFIERS.findall(text):
            value = question.parameters.get(parameter, "")
            if not _DOTTED.fullmatch(value):
                return f"Code: 457. DB::Exception: `{parameter}` is no plain name. (BAD_ARGUMENTS)"
            names |= set(value.lower().split("."))
        refused = REFUSED_NAMES & names
        if refused:
            return f"Code: 497. DB::Exception: `{min(refused)}` is not available. (ACCESS_DENIED)"
        return ""

    def ask(self, question: Question) -> Answer:
        """Returns the answer. Raises `QueryError`, here or while blocks are taken.

        The handle is closed when the blocks are exhausted or given up.
        """
        named = _FORMAT.search(question.sql)
        answer_format = named.group(1) if named else question.format
        is_streamed = (
            answer_format in _STREAMED
            and _SELECTS.match(question.sql) is not None
            and (named is not None or not _NAMES_FORMAT.search(question.sql))
        )
        handle = chdb.connect(self._connection)
        try:
            _prepare(handle, question)
            if is_streamed:
                return Answer(_Stream(handle, question), answer_format, 0, 0)
            result = handle.query(question.sql, question.format, params=dict(question.parameters))
            read = (int(result.rows_read()), int(result.bytes_read()))
            body = bytes(result.bytes() or b"")
        except _REFUSALS as error:
            handle.close()
            raise QueryError(str(error)) from None
        handle.close()
        return Answer(iter((body,)), answer_format, *read)

    def close(self) -> None:
        """Closes the gate's handle."""
        self._gate.close()


def names_of(written: str) -> frozenset[str]:
    """Returns the names in a statement that the engine has written out, in small letters."""
    return frozenset(
        (match.group(1) or match.group(2)).lower()
        for match in _TOKENS.finditer(written)
        if match.group(1) or match.group(2)
    )


def _prepare(handle: Any, question: Question) -> None:
    if not _NAME.fullmatch(question.format) or question.format.lower() in _PYTHON_FORMATS:
        raise ValueError("Code: 73. DB::Exception: no such format. (UNKNOWN_FORMAT)")
    if not _NAME.fullmatch(question.database):
        raise ValueError("Code: 81. DB::Exception: a database's name is letters and digits")
    handle.query(f"USE {question.database}")
    pairs = [f"{k} = {_quoted(v)}" for k, v in question.settings.items() if _NAME.fullmatch(k)]
    if pairs:
        handle.query(f"SET {', '.join(pairs)}")
    # one way: nothing after this changes a setting, writes, or reaches a file or an address
    handle.query("SET readonly = 1")


class _Stream:
    """Blocks of a running question; the first is taken at once.

    A refusal is so raised before an answer begins. The handle ends when the blocks are exhausted,
    fail or are closed.
    """

    def __init__(self, handle: Any, question: Question) -> None:
        self._handle = handle
        self._stream: Any = None
        try:
            self._stream = handle.send_query(
                question.sql, question.format, dict(question.parameters)
            )
            self._first: bytes | None = self._pull()
        except _REFUSALS as error:
            self.close()
            raise QueryError(str(error)) from None

    def __iter__(self) -> _Stream:
        return self

    def __next__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        try:
            block = self._pull()
        except _REFUSALS as error:
            self.close()
            raise QueryError(str(error)) from None
        if block is None:
            self.close()
            raise StopIteration
        return block

    def close(self) -> None:
        """Gives the question up; the engine stops working on it."""
        stream, self._stream = self._stream, None
        handle, self._handle = self._handle, None
        if stream is not None:
            stream.close()
        if handle is not None:
            handle.close()

    def _pull(self) -> bytes | None:
        if self._stream is None:
            return None
        block = self._stream.fetch()
        return None if block is None else bytes(block.bytes() or b"")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
