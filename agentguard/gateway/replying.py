# SPDX-License-Identifier: Apache-2.0
"""Sends one whole answer over ASGI."""

from __future__ import annotations

from typing import Final

from agentguard.contracts.ports import Clock, Entropy
from agentguard.gateway.compose import id_text, new_request_id
from agentguard.gateway.reading import Send
from agentguard.gateway.refusals import RefusedError, error_body, status_of

JSON: Final = b"application/json"


async def send_body(
    send: Send, status: int, body: bytes, *, kind: bytes = JSON, is_closing: bool = False
) -> None:
    """Sends status and body; with `is_closing` the connection ends after it."""
    headers = [
        (b"content-type", kind),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if is_closing:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_refusal(send: Send, refused: RefusedError, clock: Clock, entropy: Entropy) -> None:
    """Sends the error body of a refusal; a call that never became a request gets an id too."""
    now_ms = clock.now_ms()
    request_id = refused.request_id or id_text(new_request_id(now_ms, entropy.token(10)))
    body = error_body(refused.code, refused.arguments, request_id=request_id, now_ms=now_ms)
    await send_body(send, status_of(refused.code), body, is_closing=refused.is_closing)
