# SPDX-License-Identifier: Apache-2.0
"""Store: the read-only door. Speaks ClickHouse's HTTP protocol, so that its clients work unchanged.

Every question passes three gates (`adapters.chdb_queries`), under limits, on a handle of its own.
If the gates do not hold at the start, the door answers nothing at all.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from hashlib import sha256
from typing import Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from agentguard.adapters.chdb_queries import Answer, QueryError, Question
from agentguard.bounds import (
    QUERY_BYTES_MAX,
    QUERY_MEMORY_BYTES_MAX,
    QUERY_RESULT_BYTES_MAX,
    QUERY_SECONDS_MAX,
    QUERY_SLOTS_MAX,
    QUERY_WAITING_MAX,
)
from agentguard.store.openapi import OPENAPI

DATABASE = "agentguard"
LIMITS: Mapping[str, str] = {
    "max_execution_time": str(QUERY_SECONDS_MAX),
    "max_memory_usage": str(QUERY_MEMORY_BYTES_MAX),
    "max_result_bytes": str(QUERY_RESULT_BYTES_MAX),
    "max_threads": "2",
    "max_query_size": str(QUERY_BYTES_MAX),
    "max_subquery_depth": "50",
}
# settings that only change how an answer looks; every other one is ignored
SETTINGS_ALLOWED = re.compile(
    r"date_time_(in|out)put_format|session_timezone|final|max_block_size"
    # `output_format_schema` is a path that the engine writes to
    r"|output_format_(json|pretty|csv|tsv|native|decimal|write_statistics|parquet|arrow)\w*"
    r"|max_result_rows|result_overflow_mode|join_use_nulls|extremes"
)
AUTHENTICATION = "Code: 516. DB::Exception: Authentication failed. (AUTHENTICATION_FAILED)"
TOO_MANY = "Code: 202. DB::Exception: too many questions at once. (TOO_MANY_SIMULTANEOUS_QUERIES)"
TOO_LARGE = "Code: 62. DB::Exception: the question is too large. (SYNTAX_ERROR)"
CLOSED = "Code: 279. DB::Exception: the door's gates do not hold; nothing is answered."
STATUS_OF = {47: 404, 60: 404, 81: 404, 62: 400, 164: 403, 497: 403, 516: 403, 202: 503}

# what the gates must refuse, and what they must let pass; asked at every start
REFUSED_BY_TEXT = (
    "INSERT INTO agentguard.requests (topic) VALUES ('x')",
    "DROP TABLE agentguard.requests",
    "SELECT 1 INTO OUTFILE '/dev/null'",
    "SYSTEM STOP MERGES",
    "KILL QUERY WHERE 1",
    "SET readonly = 0",
    "SELECT 1; SELECT 2",
    "CREATE TABLE agentguard.x (a UInt8) ENGINE = Memory",
    "SELECT file('/etc/hostname')",
    "SELECT `\\x66ile`('/etc/hostname')",
    "SELECT arrayMap(x -> file(x), ['/etc/hostname'])",
    "SELECT * APPLY file FROM (SELECT '/etc/hostname')",
    "SELECT * FROM values('a String', file('/etc/hostname'))",
    "EXPLAIN SELECT file('/etc/hostname')",
    "SELECT arrayMap({f:Identifier}, ['/etc/hostname'])",
    "SELECT arrayMap(file, ['/etc/hostname'])",
    "file('/etc/hostname')",
)
REFUSED_BY_ENGINE = (
    "SELECT * FROM file('/etc/hostname', 'LineAsString')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString', 'x String')",
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT * FROM Python(OPENAPI)",
)


class Queries(Protocol):
    """What the door asks: `adapters.chdb_queries.ChdbQueries`. Blocks; called on threads."""

    def refusal(self, question: Question) -> str:
        """Returns why a question is not asked, in ClickHouse's form; empty where it may be."""

    def ask(self, question: Question) -> Answer:
        """Returns the answer. Raises `QueryError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorUser:
    """Who may ask. Only the password's digest is kept."""

    name: str
    password_sha256: bytes

    @classmethod
    def of(cls, name: str, password: str) -> DoorUser:
        """Returns the user with this password."""
        return cls(name=name, password_sha256=sha256(password.encode()).digest())


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorStatus:
    """What the door says of its process: why it is not ready (empty: ready), and its metrics."""

    not_ready: Callable[[], str]
    metrics: Callable[[], str]


class _RefusedError(Exception):
    """A question that is answered with an error of ClickHouse's form."""


class Door:
    """The ASGI application. Bounded: questions at once, questions waiting, their size and cost."""

    def __init__(self, queries: Queries, user: DoorUser, status: DoorStatus) -> None:
        self._queries = queries
        self._user = user
        self._slots = asyncio.Semaphore(QUERY_SLOTS_MAX)
        self._waiting = 0
        self.asked = 0
        self.refused = 0
        self.fault = self_test(queries)
        shut = DoorStatus(
            not_ready=lambda: self.fault or status.not_ready(), metrics=status.metrics
        )
        self.app = Starlette(
            routes=[
                Route("/", self._handle, methods=["GET", "POST"]),
                Route("/replicas_status", _ok),
                Route("/openapi.json", _openapi),
                *_health_routes(shut),
            ]
        )

    async def _handle(self, request: Request) -> Response:
        if self.fault:
            return _error(CLOSED, status=503)
        user = self._caller(request)
        if user is None:
            self.refused += 1
            return _error(AUTHENTICATION)
        try:
            question = await _question(request, user)
        except _RefusedError as refused:
            return _error(str(refused))
        if question is None:
            return PlainTextResponse("Ok.\n")
        if self._waiting >= QUERY_WAITING_MAX:
            self.refused += 1
            return _error(TOO_MANY)
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        return await self._answer(question)

    async def _answer(self, question: Question) -> Response:
        self.asked += 1
        try:
            answer = await run_in_threadpool(ask, self._queries, question)
        except QueryError as error:
            self._slots.release()
            self.refused += 1
            return _error(str(error))
        except BaseException:
            self._slots.release()
            raise
        summary = {"read_rows": str(answer.rows_read), "read_bytes": str(answer.bytes_read)}
        headers = {
            "X-ClickHouse-Format": answer.format,
            "X-ClickHouse-Timezone": "UTC",
            "X-ClickHouse-Server-Display-Name": "agentguard",
            "X-ClickHouse-Summary": json.dumps(summary),
        }
        return _Blocks(answer.blocks, headers, self._slots)

    def _caller(self, request: Request) -> str | None:
        name = request.headers.get("x-clickhouse-user", "")
        password = request.headers.get("x-clickhouse-key", "")
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
            except (binascii.Error, ValueError):
                return None
        digest = sha256(password.encode()).digest()
        is_known = hmac.compare_digest(name.encode(), self._user.name.encode())
        is_right = hmac.compare_digest(digest, self._user.password_sha256)
        return name if is_known and is_right else None


def health_app(status: DoorStatus) -> Starlette:
    """Returns what a store process answers that has no door, because its server has one."""
    return Starlette(routes=_health_routes(status))


def _health_routes(status: DoorStatus) -> list[Route]:
    async def ready(request: Request) -> Response:
        del request
        reason = status.not_ready()
        body = {"ready": not reason, "reason": reason}
        return JSONResponse(body, status_code=503 if reason else 200)

    async def metrics(request: Request) -> Response:
        del request
        return PlainTextResponse(status.metrics(), media_type="text/plain; version=0.0.4")

    return [
        Route("/ping", _ok),
        Route("/healthz", _ok),
        Route("/readyz", ready),
        Route("/metrics", metrics),
    ]


class _Blocks(StreamingResponse):
    """Sends blocks as they come; a failure after the first one breaks the connection.

    The slot is free again however the sending ends, also where it never began.
    """

    def __init__(
        self, blocks: Iterator[bytes], headers: Mapping[str, str], slots: asyncio.Semaphore
    ) -> None:
        filled = (block for block in blocks if block)
        super().__init__(filled, headers=headers, media_type="application/octet-stream")
        self._blocks = blocks
        self._slots = slots

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._slots.release()
            close = getattr(self._blocks, "close", None)
            if close is not None:
                await run_in_threadpool(close)


def ask(queries: Queries, question: Question) -> Answer:
    """Returns the answer to a question that passed both gates. Raises `QueryError`."""
    refusal = queries.refusal(question)
    if refusal:
        raise QueryError(refusal)
    return queries.ask(question)


def self_test(queries: Queries) -> str:
    """Returns why the gates cannot be relied on; empty where they hold."""
    try:
        for sql in REFUSED_BY_TEXT:
            if not queries.refusal(_plain(sql)):
                return f"the gates before the engine let pass: {sql}"
        if queries.refusal(_plain("SELECT 1")):
            return "the gates before the engine refuse a question"
        for sql in REFUSED_BY_ENGINE:
            if _is_answered(queries, sql):
                return f"the engine lets pass: {sql}"
        if not _is_answered(queries, "SELECT 1"):
            return "the engine refuses a question"
    except Exception as error:  # noqa: BLE001 (whatever fails here, the door stays shut)
        return f"the gates cannot be tried: {type(error).__name__}"
    return ""


def _plain(sql: str) -> Question:
    return Question(sql, DATABASE, "TabSeparated", {"f": "file"}, LIMITS)


def _is_answered(queries: Queries, sql: str) -> bool:
    try:
        answer = queries.ask(_plain(sql))
        return bool(b"".join(answer.blocks))
    except QueryError:
        return False


async def _question(request: Request, user: str) -> Question | None:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > QUERY_BYTES_MAX:
            raise _RefusedError(TOO_LARGE)
    given = dict(request.query_params)
    parameters = {k[6:]: v for k, v in given.items() if k.startswith("param_")}
    kind = request.headers.get("content-type", "")
    try:
        text = body.decode()
        if kind.startswith("multipart/form-data"):
            fields = _multipart(kind, bytes(body))
            text = fields.pop("query", "")
            parameters |= {k[6:]: v for k, v in fields.items() if k.startswith("param_")}
    except (UnicodeDecodeError, LookupError):
        raise _RefusedError(TOO_LARGE.replace("too large", "not UTF-8")) from None
    sql = "\n".join(part for part in (given.get("query", ""), text) if part.strip())
    if not sql:
        return None
    wanted = {k: v for k, v in given.items() if SETTINGS_ALLOWED.fullmatch(k)}
    return Question(
        sql=sql,
        database=given.get("database") or request.headers.get("x-clickhouse-database") or DATABASE,
        format=given.get("default_format")
        or request.headers.get("x-clickhouse-format")
        or "TabSeparated",
        parameters=parameters,
        settings={**wanted, **LIMITS, "log_comment": user},
    )


def _multipart(kind: str, body: bytes) -> dict[str, str]:
    """Returns the text fields of a form. Bounded: the body is."""
    message = message_from_bytes(b"Content-Type: " + kind.encode("latin-1") + b"\r\n\r\n" + body)
    fields: dict[str, str] = {}
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            fields[name] = payload.decode()
    return fields


def _error(message: str, *, status: int = 0) -> Response:
    found = re.search(r"Code: (\d+)\. DB::", message)
    code = int(found.group(1)) if found else 0
    headers = {"X-ClickHouse-Exception-Code": str(code)}
    return PlainTextResponse(
        message.strip() + "\n", status_code=status or STATUS_OF.get(code, 500), headers=headers
    )


async def _ok(request: Request) -> Response:
    del request
    return PlainTextResponse("Ok.\n")


async def _openapi(request: Request) -> Response:
    del request
    return JSONResponse(OPENAPI)
