# SPDX-License-Identifier: Apache-2.0
"""The HTTP server around the gateway: uvicorn on uvloop, with bounds that uvicorn does not have.

Connections, header bytes and the time a request takes to arrive are bounded here; bodies are
bounded in `reading`.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from agentguard.bounds import CONNECTIONS_MAX, HEADER_BYTES_MAX, SLOW_CLIENT_MS_MAX
from agentguard.contracts.codes import Code
from agentguard.gateway.app import Application
from agentguard.gateway.refusals import error_body

KEEP_ALIVE_S: Final = 75
BACKLOG: Final = 2_048
STOP_WAIT_S: Final = 5


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's own protocol, which closes what is too slow, too long or too many.

    The clock of a request's head starts with the connection, and again with the first byte after
    an answer; an idle connection between two requests is uvicorn's keep-alive.
    """

    slow_client_ms = SLOW_CLIENT_MS_MAX
    connections_max = CONNECTIONS_MAX

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Takes a connection, or closes it where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.connections_max:
            transport.abort()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        self._head_done()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes bytes; a head that is not complete after too many of them is refused."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_timer is not None and self._head_bytes > HEADER_BYTES_MAX:
            self.send_400_response("the request's head is too long")

    def on_message_begin(self) -> None:
        """Starts the clock of the next request's head."""
        super().on_message_begin()
        if self._head_timer is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """Stops the clock of the head and goes on."""
        self._head_done()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP: with a body that says deny, then closes."""
        body = error_body(Code.MALFORMED, (msg,), request_id="", now_ms=0)
        head = (
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n"
        )
        self.transport.write(head % len(body) + body)
        self.transport.close()

    def _await_head(self) -> None:
        self._head_bytes = 0
        delay_s = self.slow_client_ms / 1000
        self._head_timer = self.loop.call_later(delay_s, self._head_too_slow)

    def _head_done(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.abort()


def server_of(app: Application, *, host: str, port: int) -> uvicorn.Server:
    """Returns the server, ready to run. Peers' addresses are the sockets' own: no proxy headers."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        interface="asgi3",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        access_log=False,
        log_config=None,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_WAIT_S,
    )
    return uvicorn.Server(config)
