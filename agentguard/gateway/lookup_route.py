# SPDX-License-Identifier: Apache-2.0
"""`GET /v1/decisions/{requestId}`: what was decided, and the first delivery of it if none was."""

from __future__ import annotations

import asyncio
import re
from typing import Final
from urllib.parse import parse_qs

from agentguard.bounds import POLL_WAIT_MS_MAX
from agentguard.contracts.codes import Code
from agentguard.gateway.callers import prove
from agentguard.gateway.decide_route import answer, join
from agentguard.gateway.reading import Receive, Scope, Send
from agentguard.gateway.refusals import PENDING, UNKNOWN_REQUEST, RefusedError
from agentguard.gateway.reply import PERMITTING, Takeback
from agentguard.gateway.replying import send_body
from agentguard.gateway.running import Gateway
from agentguard.gateway.waiting import Wait

PREFIX: Final = "/v1/decisions/"
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def look_up(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers what became of a request of this caller. Raises `RefusedError`.

    An allow is handed out only as the first delivery, on the gateway that holds its secret,
    before its deadline. After that the answer is a deny that says what was decided.
    """
    caller = prove(
        scope["headers"],
        gateway.fold,
        partitions=gateway.opened.partitions,
        metrics=gateway.metrics,
    )
    text = scope["path"].removeprefix(PREFIX)
    if not _ID.fullmatch(text):
        raise RefusedError(Code.MALFORMED, "the request id is not one of this platform")
    wait = gateway.repeats.find(caller, bytes.fromhex(text.replace("-", "")))
    if wait is None:
        raise RefusedError(UNKNOWN_REQUEST, request_id=text)
    if not wait.is_settled:
        await _wait(gateway, wait, _wait_ms(scope["query_string"]))
    if not wait.is_settled:
        raise RefusedError(PENDING, request_id=text)
    await receive()  # a GET has an empty body; the probe for a closed connection comes after it
    if _is_over(gateway, wait):
        await _tell_what_was_decided(gateway, wait, send)
    else:
        await answer(gateway, wait, receive, send)


def _is_over(gateway: Gateway, wait: Wait) -> bool:
    """Returns whether no allow of this request may be handed out any more."""
    seen = wait.effective
    if seen is None or seen.core.verdict not in PERMITTING:
        return False
    is_late = gateway.clock.monotonic_ms() >= wait.deadline_ms
    return is_late or wait.told is not None or bool(wait.withheld)


async def _tell_what_was_decided(gateway: Gateway, wait: Wait, send: Send) -> None:
    if wait.effective is None:
        raise RefusedError(Code.DEADLINE)
    gateway.withhold(wait, Code.DEADLINE)
    made = gateway.opened.replies.decided(
        wait,
        wait.effective,
        takeback=Takeback(code=wait.withheld or Code.DEADLINE),
        total_ms=gateway.clock.monotonic_ms() - wait.started_ms,
    )
    await send_body(send, 200, made.body)


async def _wait(gateway: Gateway, wait: Wait, wait_ms: int) -> None:
    """Waits for the decision; the request's own deadline ends it too."""
    if not wait_ms:
        return
    gateway.check_open()
    try:
        async with asyncio.timeout(wait_ms / 1000):
            await join(gateway, wait)
    except TimeoutError:
        return


def _wait_ms(query: bytes) -> int:
    """Returns `waitMs`, cut at the bound. Raises `RefusedError` where it is no whole number."""
    given = parse_qs(query.decode("ascii", "replace")).get("waitMs", ["0"])[-1]
    if not given.isascii() or not given.isdigit() or len(given) > 9:
        raise RefusedError(Code.MALFORMED, "`waitMs` is not a whole number")
    return min(int(given), POLL_WAIT_MS_MAX)
