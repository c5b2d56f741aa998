# SPDX-License-Identifier: Apache-2.0
"""The decision: a pure function of a request, the folds and what was observed."""

from __future__ import annotations

from typing import Final

from agentguard.contracts.codes import Code
from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.hashing import DIGEST_BYTES
from agentguard.contracts.records import (
    ClassificationSource,
    DecisionCore,
    Mode,
    Observations,
    Reason,
    Versions,
)
from agentguard.decision.admit import admit
from agentguard.decision.authorize import authorize_call
from agentguard.decision.classify import classify_call
from agentguard.decision.evaluate import evaluate_call
from agentguard.decision.finding import Finding, plain, refuse
from agentguard.decision.world import SCHEMAS, Observed, Question, World
from agentguard.session.agent import AgentState
from agentguard.session.signals import NO_SIGNALS

_NO_DIGEST: Final = bytes(DIGEST_BYTES)


def decide(question: Question, world: World, seen: Observed) -> DecisionCore:
    """Returns the decision core. Denies every doubt; raises nothing for what a request can hold.

    The same question, folds and observations give the same core again, byte for byte. A code
    `engine_error` says that the engine failed: the caller finds out whose fault it was.
    """
    return write_core(question, world, seen, judge(question, world, seen))


def judge(question: Question, world: World, seen: Observed) -> Finding:
    """Returns the verdict with its grounds: admit, classify, evaluate, authorize."""
    admitted = admit(question, world, seen)
    if isinstance(admitted, Finding):
        return admitted
    try:
        classified = classify_call(admitted, world.control, seen)
        ruling = evaluate_call(classified, seen)
    except UndecodableError as error:
        tool = admitted.tool
        return refuse(Code.INVALID_PARAMETERS, plain(tool.tool), plain(str(error)), tool=tool)
    return authorize_call(question, classified, ruling)


def write_core(question: Question, world: World, seen: Observed, finding: Finding) -> DecisionCore:
    """Returns the core of a finding: with the positions and versions that it depends on."""
    record, request, state = question.record, question.request, question.state
    return DecisionCore(
        cluster=world.cluster,
        mode=Mode.LIVE,
        tenant="" if request is None else request.tenant,
        agent_id="" if request is None else request.agent_id,
        request_id=None if request is None else request.request_id,
        request_partition=record.partition,
        request_offset=record.offset,
        request_leaf=question.leaf,
        verdict=finding.verdict,
        codes=finding.codes,
        reason=Reason(template=finding.codes[0], arguments=finding.arguments),
        rules=finding.rules,
        remedy=finding.remedy,
        scopes=finding.scopes,
        obligations=finding.obligations,
        charges=finding.charges,
        grant=finding.grant,
        retry_of=finding.retry_of,
        observations=Observations(
            decided_at_ms=seen.decided_at_ms,
            classification=finding.classification,
            failure=seen.failure,
            measured_control_end=seen.measured_control_end,
        ),
        facts=finding.facts,
        evidence=finding.evidence,
        versions=_versions(world, finding, state),
        requests_chain=_NO_DIGEST if state is None else state.requests_chain,
        decisions_chain=_NO_DIGEST if state is None else state.decisions_chain,
        state_digest=_NO_DIGEST if state is None else state.digest(),
    )


def _versions(world: World, finding: Finding, state: AgentState | None) -> Versions:
    control, partition, policy = world.control, world.partition, world.policy
    classified = finding.classification.source is not ClassificationSource.NONE
    signals = None if state is None else partition.signals(state.tenant, state.agent_id)
    return Versions(
        decisions_offset=partition.next_decision,
        signal_offset=partition.next_signal - 1,
        signal_digest=NO_SIGNALS if signals is None else signals.digest,
        control_offset=control.folded,
        control_chain=control.chain,
        release=0 if policy is None else policy.activation.sequence,
        bundle_digest=_NO_DIGEST if policy is None else policy.activation.bundle_digest,
        tool_pin=_NO_DIGEST if finding.tool is None else finding.tool.pin,
        model=finding.classification.model if classified else "",
        engines="" if policy is None else policy.engine.identity,
        schemas=SCHEMAS,
        semantics=control.semantics,
    )
