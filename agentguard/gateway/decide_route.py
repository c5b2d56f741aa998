# SPDX-License-Identifier: Apache-2.0
"""`POST /v1/decisions`: the hot route. Proves, reads, appends, waits, looks once more, answers."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from agentguard.bounds import BODY_BYTES_ON_LOOP_MAX
from agentguard.contracts.codes import Code
from agentguard.contracts.ports import Delivery
from agentguard.contracts.records import Verdict
from agentguard.gateway.callers import Caller, check_claims, prove
from agentguard.gateway.compose import Composed, Tags, Timing, id_text
from agentguard.gateway.door import APPEND_ERRORS
from agentguard.gateway.enforce import takeback
from agentguard.gateway.opening import Opened
from agentguard.gateway.reading import Receive, Scope, Send, check_headers, is_gone, read_body
from agentguard.gateway.refusals import RefusedError
from agentguard.gateway.reply import PERMITTING, Answer
from agentguard.gateway.replying import send_body
from agentguard.gateway.running import Gateway
from agentguard.gateway.shapes import Asked, read_asked
from agentguard.gateway.waiting import Wait
from agentguard.telemetry import GATEWAY_ANSWERS, GATEWAY_SECONDS

DENY: Final = Verdict.DENY.value
_log = structlog.get_logger("gateway")


async def decide(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers one call. Raises `RefusedError`; the app sends its body, which says deny."""
    opened = gateway.opened
    caller = prove(
        scope["headers"], gateway.fold, partitions=opened.partitions, metrics=gateway.metrics
    )
    try:
        wait = await _accept(gateway, opened, caller, scope, receive)
    except RefusedError as refused:
        if refused.code != Code.UNKNOWN_CALLER:
            opened.enforcements.denied(caller, refused.code)
        count(gateway, DENY, refused.code)
        raise
    if wait.caller is caller:
        await wait.future
    else:
        await join(gateway, wait)
    await answer(gateway, wait, receive, send)


async def join(gateway: Gateway, wait: Wait) -> None:
    """Waits for a request that another call made; as bounded as requests themselves."""
    gateway.others_waiting += 1
    try:
        await asyncio.shield(wait.future)
    finally:
        gateway.others_waiting -= 1


async def answer(gateway: Gateway, wait: Wait, receive: Receive, send: Send) -> None:
    """Sends the answer to a settled request, unless its caller is gone. Raises `RefusedError`."""
    made = conclude(gateway, wait)
    if is_gone(receive):
        return
    is_first = wait.told is None
    wait.told = wait.told or made.action
    await send_body(send, made.status, made.body)
    if is_first:
        gateway.opened.deliveries.add(wait, made.action)
        seconds = (gateway.clock.monotonic_ms() - wait.started_ms) / 1000
        gateway.metrics.observe(GATEWAY_SECONDS, seconds)
    count(gateway, made.action.value, made.code)
    _tell(gateway, wait, made)


def conclude(gateway: Gateway, wait: Wait) -> Answer:
    """Returns what the caller of a settled request gets now.

    An allow is looked at once more: own fold, fresh control, own monotonic clock. What the log
    allowed and the gateway takes back is noted as not delivered. Raises `RefusedError`.
    """
    now = gateway.clock.monotonic_ms()
    seen = wait.effective
    code = wait.withheld or (wait.refused if seen is None else "") or ""
    if not code and now >= wait.deadline_ms:
        code = Code.DEADLINE
    if seen is None or code:
        gateway.withhold(wait, code or Code.DEADLINE)
        count(gateway, DENY, code or Code.DEADLINE)
        raise RefusedError(code or Code.DEADLINE, request_id=id_text(wait.request.request_id))
    taken = None
    if seen.core.verdict in PERMITTING:
        gateway.follow_control()
        taken = takeback(
            wait,
            seen.core,
            gateway.fold,
            now_ms=gateway.clock.now_ms(),
            is_fresh=gateway.opened.control.is_fresh(),
        )
    made = gateway.opened.replies.decided(
        wait, seen, takeback=taken, total_ms=now - wait.started_ms
    )
    if seen.core.verdict in PERMITTING and made.action not in PERMITTING:
        gateway.withhold(wait, made.code)
    return made


def count(gateway: Gateway, action: str, code: str) -> None:
    """Counts one answer; codes and actions are closed lists."""
    gateway.metrics.count(GATEWAY_ANSWERS, action, code)


async def _accept(
    gateway: Gateway, opened: Opened, caller: Caller, scope: Scope, receive: Receive
) -> Wait:
    """Returns the wait of a request that is on its way to the log. Raises `RefusedError`."""
    gateway.check_open()
    check_headers(scope["headers"])
    body = await read_body(receive, gateway.meter, wait_ms=gateway.parts.settings.slow_client_ms)
    if len(body) > BODY_BYTES_ON_LOOP_MAX:
        loop = asyncio.get_running_loop()
        asked = await loop.run_in_executor(gateway.threads, read_asked, body)
    else:
        asked = read_asked(body)
    check_claims(
        caller, agent_id=asked.agent_id, tenant=asked.context.tenant, metrics=gateway.metrics
    )
    tags = opened.composer.tags(caller, asked)
    first = gateway.repeats.first(tags)
    gateway.check_open()
    if first is not None:
        return first
    gateway.check_share(caller)
    try:
        return _submit(gateway, opened, caller, asked, tags)
    except APPEND_ERRORS as error:
        raise RefusedError(Code.UNREACHABLE) from error


def _submit(
    gateway: Gateway, opened: Opened, caller: Caller, asked: Asked, tags: Tags | None
) -> Wait:
    """Appends the records of one call without a wait between them. Raises `APPEND_ERRORS`."""
    most = gateway.parts.settings.request_timeout_ms
    timing = Timing(
        accepted_at_ms=gateway.clock.now_ms(),
        budget_ms=min(asked.deadline_ms or most, most),
        floor=gateway.floor(caller.partition),
    )
    refs = opened.composer.record_history(caller, asked, timing.accepted_at_ms)
    composed = opened.composer.compose(caller, asked, refs, timing, tags=tags)
    wait = _wait_for(gateway, caller, asked, composed)
    request_id = composed.request.request_id

    def report(delivery: Delivery) -> None:
        gateway.place(request_id, delivery)

    gateway.waiting.add(wait)
    try:
        opened.door.append(
            composed.request,
            key=caller.key,
            partition=caller.partition,
            on_delivery=report,
            value=composed.value,
        )
    except APPEND_ERRORS:
        gateway.waiting.refuse(request_id, Code.UNREACHABLE)
        raise
    gateway.repeats.add(wait)
    loop = asyncio.get_running_loop()
    loop.call_later(composed.request.budget_ms / 1000, gateway.expire, wait)
    return wait


def _wait_for(gateway: Gateway, caller: Caller, asked: Asked, composed: Composed) -> Wait:
    started_ms = gateway.clock.monotonic_ms()
    return Wait(
        caller=caller,
        request=composed.request,
        value=composed.value,
        partition=caller.partition,
        started_ms=started_ms,
        deadline_ms=started_ms + composed.request.budget_ms,
        secret=composed.secret,
        parameters=asked.parameters,
        future=asyncio.get_running_loop().create_future(),
    )


def _tell(gateway: Gateway, wait: Wait, made: Answer) -> None:
    """Writes the one info line of a decision: never parameters, never a token."""
    seen = wait.effective
    _log.info(
        "decided",
        request_id=id_text(wait.request.request_id),
        action=made.action.value,
        code=made.code,
        release=seen.core.versions.release if seen is not None else 0,
        ms=round(gateway.clock.monotonic_ms() - wait.started_ms, 1),
    )
