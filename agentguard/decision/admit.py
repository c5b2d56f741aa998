# SPDX-License-Identifier: Apache-2.0
"""What is checked before any evidence, model or engine: most denials cost microseconds."""

from __future__ import annotations

from dataclasses import dataclass

from agentguard.contracts.codes import Code
from agentguard.contracts.commands import Attestation, RegisterAgent, RegisterTool, Registration
from agentguard.contracts.errors import UndecodableError, VerificationError
from agentguard.contracts.facts import Call
from agentguard.contracts.records import AgentRequest, Failure, Section, SectionName
from agentguard.contracts.sections import find_section, open_section
from agentguard.contracts.strict_json import parse_strict
from agentguard.decision.finding import Finding, plain, refuse
from agentguard.decision.world import ActivePolicy, Observed, Question, World, is_clock_ahead
from agentguard.policy import parameters
from agentguard.session.agent import AgentState
from agentguard.session.effects import earlier_use, is_duplicate


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A request that may be judged: who asks, with what, under which release."""

    request: AgentRequest
    state: AgentState
    agent: RegisterAgent
    tool: RegisterTool
    policy: ActivePolicy
    call: Call
    parameters: Section
    retry_of: int | None


def admit(question: Question, world: World, seen: Observed) -> Finding | Admitted:
    """Returns what may be judged, or the denial of what may not."""
    request, state = question.request, question.state
    if request is None or state is None:
        return refuse(Code.MALFORMED, question.fault)
    refusal = (
        _record_fault(question, request, world, state)
        or _time_fault(request, seen)
        or _failure(seen)
        or _content_fault(request, state, seen)
    )
    if refusal is not None:
        return refusal
    agent = world.control.agent(request.tenant, request.agent_id)
    if agent is None:
        return refuse(Code.UNKNOWN_AGENT, plain(request.agent_id))
    refusal = _agent_fault(agent, seen.decided_at_ms) or _stop(request, world, seen)
    if refusal is not None:
        return refusal
    return _admit_call(request, state, agent, world, seen)


def _record_fault(
    question: Question, request: AgentRequest, world: World, state: AgentState
) -> Finding | None:
    misplaced = world.partition.misplaced(question.record, request)
    if misplaced:
        return refuse(Code.RECORD_MISMATCH, misplaced)
    if is_duplicate(state, request):
        return refuse(Code.DUPLICATE_RECORD)
    return None


def _time_fault(request: AgentRequest, seen: Observed) -> Finding | None:
    if is_clock_ahead(request, seen.decided_at_ms):
        ahead_ms = request.accepted_at_ms - seen.decided_at_ms
        return refuse(Code.CLOCK_SKEW, str(ahead_ms))
    if seen.decided_at_ms >= request.deadline_ms:
        return refuse(Code.DEADLINE)
    return None


def _failure(seen: Observed) -> Finding | None:
    match seen.failure:
        case Failure.NONE:
            return None
        case Failure.CONTROL:
            return refuse(Code.CONTROL_STALE)
        case Failure.CLASSIFIER:
            return refuse(Code.CLASSIFIER_FAILED)
        case Failure.INTERNAL:
            return refuse(Code.POISON)
        case _:
            return refuse(Code.LANE_FAILURE, seen.failure.value)


def _content_fault(request: AgentRequest, state: AgentState, seen: Observed) -> Finding | None:
    if any(state.chunks.body(s) is None for s in request.sections):
        return refuse(Code.CHUNKS_MISSING)
    if request.control_offset >= seen.measured_control_end:
        return refuse(Code.CONTROL_OFFSET_UNKNOWN)
    return None


def _agent_fault(agent: RegisterAgent, now_ms: int) -> Finding | None:
    name = plain(agent.agent_id)
    if agent.status is not Registration.ENABLED:
        return refuse(Code.AGENT_NOT_ENABLED, name)
    if 0 < agent.expires_at_ms <= now_ms:
        return refuse(Code.AGENT_EXPIRED, name)
    if agent.attestation in (Attestation.FAILED, Attestation.UNKNOWN):
        return refuse(Code.AGENT_UNATTESTED, name)
    return None


def _stop(request: AgentRequest, world: World, seen: Observed) -> Finding | None:
    """Returns the denial where people or an automatic reaction stopped this."""
    policy = world.policy
    kill = world.control.kill(
        tenant=request.tenant,
        agent_id=request.agent_id,
        tool=request.tool,
        session_id=request.session_id,
        user=request.on_behalf_of or "",
        release=0 if policy is None else policy.activation.sequence,
        now_ms=seen.decided_at_ms,
    )
    if kill is not None:
        target = f" {kill.target}" if kill.target else ""
        return refuse(Code.KILLED, plain(f"{kill.kind.value}{target}"))
    signals = world.partition.signals(request.tenant, request.agent_id)
    reason = "" if signals is None else signals.quarantine(request.session_id)
    if reason:
        return refuse(Code.QUARANTINED, plain(request.agent_id), plain(reason))
    return None


def _admit_call(
    request: AgentRequest,
    state: AgentState,
    agent: RegisterAgent,
    world: World,
    seen: Observed,
) -> Finding | Admitted:
    policy = world.policy
    if policy is None:
        return refuse(Code.NO_RELEASE)
    if 0 < policy.activation.expires_at_ms <= seen.decided_at_ms:
        return refuse(Code.RELEASE_EXPIRED, str(policy.activation.sequence))
    tool = world.control.tool(request.tenant, request.tool)
    if tool is None:
        return refuse(Code.UNKNOWN_TOOL, plain(request.tool))
    if tool.status is not Registration.ENABLED:
        return refuse(Code.TOOL_NOT_ENABLED, plain(request.tool), tool=tool)
    earlier = earlier_use(state, request)
    if earlier is not None and earlier.body_tag != request.body_tag:
        return refuse(Code.IDEMPOTENCY_CONFLICT, tool=tool)
    if earlier is not None and earlier.is_redeemed:
        return refuse(Code.ALREADY_USED, tool=tool)
    read = _read_call(request, state, tool)
    if isinstance(read, Finding):
        return read
    call, section = read
    return Admitted(
        request=request,
        state=state,
        agent=agent,
        tool=tool,
        policy=policy,
        call=call,
        parameters=section,
        retry_of=None if earlier is None else earlier.offset,
    )


def _read_call(
    request: AgentRequest, state: AgentState, tool: RegisterTool
) -> Finding | tuple[Call, Section]:
    section = find_section(request.sections, SectionName.PARAMETERS)
    task = find_section(request.sections, SectionName.TASK)
    if section is None:
        return refuse(Code.MALFORMED, "it has no parameters", tool=tool)
    try:
        body = open_section(section, state.chunks.body(section))
        text = b"" if task is None else open_section(task, state.chunks.body(task))
        values = parse_strict(body)
        words = text.decode()
    except VerificationError as error:
        return refuse(Code.MALFORMED, str(error), tool=tool)
    except (UndecodableError, UnicodeDecodeError) as error:
        fault = str(error) if isinstance(error, UndecodableError) else "the task is not UTF-8"
        return refuse(Code.MALFORMED, fault, tool=tool)
    if not isinstance(values, dict):
        return refuse(Code.MALFORMED, "its parameters are no object", tool=tool)
    # no schema on record: the tool counts as one that writes, all of whose arguments are decisive
    misfit = parameters.check(tool.schema_json, values) if tool.schema_json else ""
    if misfit:
        return refuse(Code.INVALID_PARAMETERS, plain(tool.tool), plain(misfit), tool=tool)
    return Call(tool=tool.tool, parameters=values, task=words), section
