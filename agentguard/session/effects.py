# SPDX-License-Identifier: Apache-2.0
"""What each record does to an agent's state. Chains are the fold's; here is what they prove."""

from __future__ import annotations

from typing import Final

from agentguard.bounds import (
    CALLS_REMEMBERED_PER_AGENT_MAX,
    EVIDENCE_PER_SESSION_BYTES_MAX,
    IDEMPOTENCY_MS,
    IDEMPOTENCY_TAGS_PER_AGENT_MAX,
    PRODUCERS_PER_AGENT_MAX,
)
from agentguard.contracts.charges import DENIALS
from agentguard.contracts.errors import VerificationError
from agentguard.contracts.records import (
    AgentRequest,
    DecisionCore,
    Delivery,
    Enforcement,
    EnforcementCode,
    Redeem,
    Section,
    SectionName,
    ToolOutcome,
    Trust,
    Voucher,
)
from agentguard.contracts.sections import find_section, open_section
from agentguard.session.agent import AgentState, Tag
from agentguard.session.calls import (
    ANSWERED,
    DELIVERED,
    DRY_RUN,
    EXECUTABLE,
    REDEEMED,
    RETURNED,
    Call,
    Session,
    amounts_of,
)
from agentguard.session.outputs import Output

VOUCHING: Final = (Voucher.GATEWAY, Voucher.SDK)


def is_duplicate(state: AgentState, record: AgentRequest | Redeem) -> bool:
    """Returns whether its door has already written a record of this number or a later one."""
    last = state.producers.get(record.producer)
    return last is not None and (record.epoch, record.sequence) <= last


def earlier_use(state: AgentState, request: AgentRequest) -> Tag | None:
    """Returns the last use of the request's idempotency key within 24 hours before it."""
    if request.idempotency_tag is None:
        return None
    tag = state.tags.get(request.idempotency_tag)
    if tag is None or request.accepted_at_ms - tag.at_ms > IDEMPOTENCY_MS:
        return None
    return tag


def read_body(state: AgentState, section: Section | None) -> bytes | None:
    """Returns a section's plaintext; None where it is missing, cut, sealed or not what it says."""
    if section is None:
        return None
    body = state.chunks.body(section)
    if body is None:
        return None
    try:
        return open_section(section, body)
    except VerificationError:
        return None


def fold_request(state: AgentState, request: AgentRequest, offset: int) -> None:
    """The request becomes pending, and its session knows the outputs that it refers to."""
    state.ordinal += 1
    _forget_old_calls(state)
    session = state.touch(request.session_id, offset=offset, at_ms=request.accepted_at_ms)
    parameters = read_body(state, find_section(request.sections, SectionName.PARAMETERS))
    for section in request.sections:
        state.chunks.close(section)
    state.calls[offset] = Call(
        request,
        offset=offset,
        ordinal=state.ordinal,
        session=session,
        parameters=parameters or b"",
    )
    if is_duplicate(state, request):
        return
    _note_producer(state, request)
    if request.idempotency_tag is not None and not request.dry_run:
        _note_tag(state, request, request.idempotency_tag, offset)
    for ref in request.outcome_refs:
        _refer(state, session, ref.id, is_lowered=ref.trust is Trust.UNTRUSTED)


def fold_outcome(state: AgentState, outcome: ToolOutcome, offset: int) -> None:
    """The output becomes evidence under the trust that the log can prove."""
    session = state.touch(outcome.session_id, offset=offset, at_ms=outcome.reported_at_ms)
    body = read_body(state, outcome.section)
    state.chunks.close(outcome.section)
    if body is None or len(body) > EVIDENCE_PER_SESSION_BYTES_MAX:
        session.is_cut = True
        body = (body or b"")[:EVIDENCE_PER_SESSION_BYTES_MAX]
    call = _answered_call(state, outcome)
    is_labelled = outcome.registry_label is Trust.TRUSTED
    if outcome.outcome_id in state.outputs:
        _refer(state, session, outcome.outcome_id, is_lowered=not is_labelled)
    else:
        output = Output(outcome, offset=offset, session=session, body=body)
        if is_labelled and outcome.voucher in VOUCHING:
            output.is_trusted = True
        elif is_labelled and call is not None:
            output.is_waiting = call.verdict is None
            output.is_trusted = call.is_executed
            if output.is_waiting:
                call.outputs.append(output)
        session.taint.note(output)
        state.taint.note(output)
        state.keep(output)
    if call is not None:
        _note_call(state, call, ANSWERED)


def fold_enforcement(state: AgentState, enforcement: Enforcement) -> None:
    """An answer that never reached its caller gives back what its call was charged.

    It counts only from the door and epoch that the request came through, and only if no delivery,
    redeem or outcome of that call precedes it.
    """
    if enforcement.code is not EnforcementCode.NOT_DELIVERED:
        return
    call = _named_call(state, enforcement)
    if call is None or call.flags & (DELIVERED | REDEEMED | ANSWERED | RETURNED):
        return
    if (call.producer, call.epoch) != (enforcement.producer, enforcement.epoch):
        return
    if call.is_executed:
        _charge(state, call, -1)
    _note_call(state, call, RETURNED)


def fold_redeem(state: AgentState, redeem: Redeem) -> None:
    """The grant of that request is used."""
    if is_duplicate(state, redeem):
        return
    _note_producer(state, redeem)
    for key, tag in state.tags.items():
        if tag.offset == redeem.request_offset:
            state.tags[key] = tag._replace(is_redeemed=True)
    call = _recent_call(state, redeem.request_offset)
    if call is not None:
        _note_call(state, call, REDEEMED)


def fold_delivery(state: AgentState, delivery: Delivery, producer: str, epoch: int) -> None:
    """The answer reached its caller: from now on it cannot be given back."""
    call = _recent_call(state, delivery.request_offset)
    if call is None or (call.producer, call.epoch) != (producer, epoch):
        return
    if not call.flags & RETURNED:
        _note_call(state, call, DELIVERED)


def fold_decision(state: AgentState, offset: int, core: DecisionCore) -> None:
    """The request at `offset` is decided: charged or given back, and outputs that wait learn it."""
    call = state.calls.get(offset)
    if call is None:
        return
    t_ms = core.observations.decided_at_ms
    for window in (state.minute, state.denials, state.spend, state.repeats):
        window.advance(t_ms)
    is_counted = not call.flags & DRY_RUN
    call.decide(core.verdict, core.charges if is_counted else (), t_ms)
    denials = sum(c.amount for c in call.charges if c.counter == DENIALS)
    if denials:
        state.denials.add(t_ms, denials)
    if core.verdict in EXECUTABLE and is_counted:
        _charge(state, call, 0 if call.flags & RETURNED else 1)
    for output in call.outputs:
        output.settle(is_trusted=call.is_executed)
    call.outputs.clear()
    _conclude(state, call)


def _charge(state: AgentState, call: Call, sign: int) -> None:
    """Charges a call (1), takes it back (-1), or notes that it came to nothing (0)."""
    calls, spend, is_sensitive, is_untrusted = amounts_of(call.charges)
    session = call.session
    if sign:
        state.minute.add(call.t_ms, sign * calls)
        if spend:
            state.spend.add(call.t_ms, sign * spend)
        session.calls += sign * calls
        session.sensitive_calls += sign * is_sensitive
        session.untrusted_calls += sign * is_untrusted
    if call.tag is not None:
        state.repeats.add(call.t_ms, call.tag, sign)


def _note_call(state: AgentState, call: Call, flag: int) -> None:
    call.note(flag)
    _conclude(state, call)


def _conclude(state: AgentState, call: Call) -> None:
    """Draws what follows from a call's new state, and forgets it where nothing more can come."""
    if call.is_executed and call.flags & (DELIVERED | REDEEMED | ANSWERED):
        call.session.saw(call.tool, call.offset)
    if call.is_settled or (call.verdict is not None and _is_old(state, call)):
        state.calls.pop(call.offset, None)


def _is_old(state: AgentState, call: Call) -> bool:
    return state.ordinal - call.ordinal >= CALLS_REMEMBERED_PER_AGENT_MAX


def _forget_old_calls(state: AgentState) -> None:
    for call in list(state.calls.values()):
        if not _is_old(state, call):
            return
        if call.verdict is not None:
            del state.calls[call.offset]


def _recent_call(state: AgentState, offset: int | None) -> Call | None:
    """Returns the call at an offset while doors may still speak of it, decided or not."""
    call = None if offset is None else state.calls.get(offset)
    return None if call is None or _is_old(state, call) else call


def _named_call(state: AgentState, enforcement: Enforcement) -> Call | None:
    if enforcement.request_offset is not None:
        call = _recent_call(state, enforcement.request_offset)
        return call if call and call.request_id == enforcement.request_id else None
    found = (c for c in state.calls.values() if c.request_id == enforcement.request_id)
    call = next(found, None)
    return None if call is None else _recent_call(state, call.offset)


def _answered_call(state: AgentState, outcome: ToolOutcome) -> Call | None:
    call = _recent_call(state, outcome.request_offset)
    if call is None or call.tool != outcome.tool or call.flags & (ANSWERED | RETURNED | DRY_RUN):
        return None
    return call


def _refer(state: AgentState, session: Session, output_id: bytes, *, is_lowered: bool) -> None:
    output = state.outputs.get(output_id)
    if output is None:
        session.is_cut = True
        return
    if output.session is not session and output_id not in session.borrowed:
        session.borrowed[output_id] = output
        session.taint.note(output)
    if is_lowered and output_id not in session.lowered:
        session.lowered.add(output_id)
        session.taint.note_time(output.at_ms)
        state.taint.note_time(output.at_ms)


def _note_producer(state: AgentState, record: AgentRequest | Redeem) -> None:
    state.producers.pop(record.producer, None)
    state.producers[record.producer] = (record.epoch, record.sequence)
    if len(state.producers) > PRODUCERS_PER_AGENT_MAX:
        del state.producers[next(iter(state.producers))]


def _note_tag(state: AgentState, request: AgentRequest, key: bytes, offset: int) -> None:
    earlier = earlier_use(state, request)
    if earlier is not None and earlier.body_tag != request.body_tag:
        return
    state.tags.pop(key, None)
    is_redeemed = earlier is not None and earlier.is_redeemed
    state.tags[key] = Tag(offset, request.body_tag, request.accepted_at_ms, is_redeemed)
    if len(state.tags) > IDEMPOTENCY_TAGS_PER_AGENT_MAX:
        del state.tags[next(iter(state.tags))]
