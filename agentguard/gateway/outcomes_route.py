# SPDX-License-Identifier: Apache-2.0
"""`POST /v1/outcomes`: what came of an allowed call, put on the log before it is acknowledged."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from agentguard.bounds import BODY_BYTES_ON_LOOP_MAX
from agentguard.contracts.codes import Code
from agentguard.contracts.ports import Delivery
from agentguard.contracts.records import OutcomeStatus, SectionName
from agentguard.gateway.callers import Caller, prove
from agentguard.gateway.compose import ID_BYTES, OutcomeFacts, keyed_id
from agentguard.gateway.door import APPEND_ERRORS
from agentguard.gateway.opening import Opened
from agentguard.gateway.reading import Receive, Scope, Send, check_headers, read_body
from agentguard.gateway.refusals import RefusedError
from agentguard.gateway.replying import send_body
from agentguard.gateway.running import Gateway
from agentguard.gateway.shapes import AskedOutcome, output_text, read_outcome

ACCEPTED: Final = 202
_encode = msgspec.json.Encoder().encode


async def report_outcome(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """Records an outcome and answers with its id once the log has it. Raises `RefusedError`.

    The id may stand for the output in a later `context.history`.
    """
    opened = gateway.opened
    caller = prove(
        scope["headers"], gateway.fold, partitions=opened.partitions, metrics=gateway.metrics
    )
    try:
        outcome = await _read(gateway, scope, receive)
        facts = _facts(gateway, opened, caller, outcome)
        await _append(gateway, opened, caller, facts)
    except RefusedError as refused:
        opened.enforcements.denied(caller, refused.code)
        raise
    body = {
        "requestId": outcome.request_id,
        "outcomeId": facts.outcome_id.hex(),
        "trust": facts.label.value,
    }
    await send_body(send, ACCEPTED, _encode(body))


async def _read(gateway: Gateway, scope: Scope, receive: Receive) -> AskedOutcome:
    gateway.check_open()
    check_headers(scope["headers"])
    body = await read_body(receive, gateway.meter, wait_ms=gateway.parts.settings.slow_client_ms)
    gateway.check_open()
    if len(body) > BODY_BYTES_ON_LOOP_MAX:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(gateway.threads, read_outcome, body)
    return read_outcome(body)


def _facts(gateway: Gateway, opened: Opened, caller: Caller, outcome: AskedOutcome) -> OutcomeFacts:
    """Returns what to record. Raises `RefusedError` where the call it answers is not known.

    Where this gateway made the request, tool, session and offset are its own knowledge; else
    they are as the caller says, and the fold checks them against the log.
    """
    request_id = bytes.fromhex(outcome.request_id.replace("-", ""))
    wait = gateway.repeats.find(caller, request_id)
    if wait is not None:
        tool, session = wait.request.tool, wait.request.session_id
        offset = wait.offset if wait.offset >= 0 else None
        if outcome.tool_name not in (None, tool) or outcome.session_id not in (None, session):
            raise RefusedError(Code.MALFORMED, "tool or session differ from the request's")
    elif outcome.tool_name is None or outcome.session_id is None:
        raise RefusedError(
            Code.MALFORMED, "this gateway does not know the request: give tool and session"
        )
    else:
        tool, session = outcome.tool_name, outcome.session_id
        offset = outcome.request_offset
    name, text = _content(outcome)
    return OutcomeFacts(
        outcome_id=keyed_id(
            gateway.parts.cluster_key,
            b"reported",
            caller.key,
            request_id,
            outcome.status.encode(),
            name.value.encode(),
            text,
        )[:ID_BYTES],
        tool=tool,
        session_id=session,
        status=OutcomeStatus(outcome.status),
        label=opened.composer.label(caller, tool, outcome.trust),
        voucher=caller.voucher,
        name=name,
        text=text,
        reported_at_ms=gateway.clock.now_ms(),
        request_offset=offset,
    )


def _content(outcome: AskedOutcome) -> tuple[SectionName, bytes]:
    """Returns the output, or in its place what names it where the caller keeps it.

    A digest of content lies on the log only inside a section, like the content itself.
    """
    if outcome.digest is not None:
        return SectionName.PAYLOAD, _encode({"sha256": outcome.digest})
    return SectionName.OUTPUT, output_text(outcome.output)


async def _append(gateway: Gateway, opened: Opened, caller: Caller, facts: OutcomeFacts) -> None:
    """Appends the outcome and waits until the log has it. Raises `RefusedError` (unreachable).

    A repeat joins the first while that one is on its way.
    """
    future = gateway.reporting.get(facts.outcome_id)
    try:
        if future is None:
            future = _begin(gateway, opened, caller, facts)
        gateway.others_waiting += 1
        try:
            async with asyncio.timeout(gateway.parts.settings.request_timeout_ms / 1000):
                error = await asyncio.shield(future)
        finally:
            gateway.others_waiting -= 1
    except (*APPEND_ERRORS, TimeoutError) as failed:
        raise RefusedError(Code.UNREACHABLE) from failed
    if error:
        raise RefusedError(Code.UNREACHABLE)


def _begin(
    gateway: Gateway, opened: Opened, caller: Caller, facts: OutcomeFacts
) -> asyncio.Future[str]:
    """Appends the outcome; the future holds its error, empty once the log has it."""
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def report(delivery: Delivery) -> None:
        gateway.reporting.pop(facts.outcome_id, None)
        if not future.done():
            future.set_result(delivery.error)

    opened.composer.record_outcome(caller, facts, report)
    gateway.reporting[facts.outcome_id] = future
    return future
