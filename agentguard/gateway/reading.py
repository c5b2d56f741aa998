# SPDX-License-Identifier: Apache-2.0
"""Reads a request's body: bounded in size, in time, and over all connections together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, TypeAlias

from agentguard.bounds import BODY_BYTES_READING_MAX, DISCARD_MS_MAX, REQUEST_BYTES_MAX
from agentguard.contracts.codes import Code
from agentguard.gateway.refusals import RefusedError

Message: TypeAlias = MutableMapping[str, Any]  # ASGI's own shape; an edge
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Headers: TypeAlias = Iterable[tuple[bytes, bytes]]

_JSON: Final = b"application/json"
_DIGITS_MAX: Final = 12


class BodyMeter:
    """How many bytes of unfinished bodies this process holds."""

    def __init__(self) -> None:
        self.held_bytes = 0

    def take(self, size: int) -> None:
        """Counts more bytes. Raises `RefusedError` (shed) above the bound of all bodies."""
        if self.held_bytes + size > BODY_BYTES_READING_MAX:
            raise RefusedError(Code.SHED, is_closing=True)
        self.held_bytes += size


def check_headers(headers: Headers) -> None:
    """Raises `RefusedError` for a body that is not JSON or announces too much."""
    content_type = b""
    for name, value in headers:
        if name == b"content-type":
            content_type = value
        elif name == b"content-length" and (
            len(value) > _DIGITS_MAX or not value.isdigit() or int(value) > REQUEST_BYTES_MAX
        ):
            raise too_large()
        elif name == b"content-encoding" and value.strip().lower() != b"identity":
            raise RefusedError(Code.MALFORMED, "the body is encoded", is_closing=True)
    kind, _, parameters = content_type.lower().partition(b";")
    charset = parameters.strip().replace(b'"', b"")
    if kind.strip() != _JSON or charset not in (b"", b"charset=utf-8"):
        raise RefusedError(Code.MALFORMED, "the content type is not application/json")


async def read_body(receive: Receive, meter: BodyMeter, *, wait_ms: int) -> bytes:
    """Returns the whole body. Raises `RefusedError`: too large, too slow, cut off, or shed."""
    held = 0
    try:
        async with asyncio.timeout(wait_ms / 1000):
            message = await receive()
            body: bytes = message.get("body", b"")
            if not message.get("more_body", False) and message["type"] == "http.request":
                return _bounded(body)
            parts: list[bytes] = []
            while message["type"] == "http.request":
                body = message.get("body", b"")
                meter.take(len(body))
                held += len(body)
                if held > REQUEST_BYTES_MAX:
                    raise too_large()
                parts.append(body)
                if not message.get("more_body", False):
                    return b"".join(parts)
                message = await receive()
            raise RefusedError(Code.MALFORMED, "the body was cut off", is_closing=True)
    except TimeoutError as error:
        detail = "the body did not arrive in time"
        raise RefusedError(Code.MALFORMED, detail, is_closing=True) from error
    finally:
        meter.held_bytes -= held


async def discard_rest(receive: Receive) -> None:
    """Reads what a caller still sends, within bounds of bytes and time, and keeps none of it.

    A connection that is closed with bytes unread is reset, and the caller would meet a broken
    pipe instead of the answer that says why.
    """
    left = 2 * REQUEST_BYTES_MAX
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_MS_MAX / 1000):
            while left > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))


def is_gone(receive: Receive) -> bool:
    """Returns whether the caller's connection is closed, without waiting.

    The body must have been read to its end. The probe runs `receive` up to its first wait: a
    server that knows of the disconnect answers before it.
    """
    probe = receive().__await__()
    try:
        next(probe)
    except StopIteration as stop:
        return bool(stop.value["type"] == "http.disconnect")
    finally:
        close = getattr(probe, "close", None)
        if close is not None:
            close()
    return False


def too_large() -> RefusedError:
    """Returns the refusal of a body above the bound."""
    return RefusedError(Code.TOO_LARGE, str(REQUEST_BYTES_MAX), is_closing=True)


def _bounded(body: bytes) -> bytes:
    if len(body) > REQUEST_BYTES_MAX:
        raise too_large()
    return body
