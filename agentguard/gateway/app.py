# SPDX-License-Identifier: Apache-2.0
"""The gateway as an ASGI application: paths to routes, every failure to an answer that says deny."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import msgspec
import structlog

from agentguard.contracts.codes import Code
from agentguard.gateway.decide_route import DENY, count, decide
from agentguard.gateway.lookup_route import PREFIX, look_up
from agentguard.gateway.openapi import openapi_document
from agentguard.gateway.outcomes_route import report_outcome
from agentguard.gateway.parts import Parts
from agentguard.gateway.reading import Receive, Scope, Send, discard_rest
from agentguard.gateway.refusals import INTERNAL, UNKNOWN_PATH, RefusedError
from agentguard.gateway.replying import send_body, send_refusal
from agentguard.gateway.running import Gateway
from agentguard.telemetry import GATEWAY_FAULTS

Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_TEXT: Final = b"text/plain; version=0.0.4; charset=utf-8"
_encode = msgspec.json.Encoder().encode
_log = structlog.get_logger("gateway")


def create_app(parts: Parts) -> Application:
    """Returns the gateway over these parts. It starts and stops with the ASGI lifespan."""
    gateway = Gateway(parts)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(gateway, receive, send)
        elif scope["type"] == "http":
            await _serve(gateway, scope, receive, send)

    return app


async def _live(gateway: Gateway, receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await gateway.start()
            await send({"type": "lifespan.startup.complete"})
        else:
            await gateway.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _serve(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers one HTTP request; nothing is raised to the server, so that every caller is told."""
    is_answered = False

    async def note(message: dict[str, object]) -> None:
        nonlocal is_answered
        is_answered = True
        await send(message)

    parts = gateway.parts
    try:
        await _route(gateway, scope, receive, note)  # type: ignore[arg-type]
    except RefusedError as refused:
        if refused.code is Code.TOO_LARGE:
            await discard_rest(receive)
        await send_refusal(send, refused, parts.clock, parts.entropy)
    except Exception as error:  # noqa: BLE001  the outermost handler: a bug is a deny too
        name = type(error).__name__
        gateway.metrics.count(GATEWAY_FAULTS, name)
        _log.exception("gateway_fault", error=name)
        if not is_answered:
            count(gateway, DENY, INTERNAL)
            unexpected = RefusedError(INTERNAL, is_closing=True)
            await send_refusal(send, unexpected, parts.clock, parts.entropy)


async def _route(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    path, method = scope["path"], scope["method"]
    if method == "POST" and path == "/v1/decisions":
        await decide(gateway, scope, receive, send)
    elif method == "POST" and path == "/v1/outcomes":
        await report_outcome(gateway, scope, receive, send)
    elif method == "GET" and path.startswith(PREFIX):
        await look_up(gateway, scope, receive, send)
    elif method == "GET" and path == "/healthz":
        await send_body(send, 200, b'{"alive":true}')
    elif method == "GET" and path == "/readyz":
        reason = gateway.why_not_ready()
        body = _encode({"ready": not reason, "reason": reason})
        await send_body(send, 503 if reason else 200, body)
    elif method == "GET" and path == "/metrics":
        await send_body(send, 200, gateway.metrics.render().encode(), kind=_TEXT)
    elif method == "GET" and path == "/openapi.json":
        await send_body(send, 200, openapi_document())
    else:
        raise RefusedError(UNKNOWN_PATH, is_closing=True)
