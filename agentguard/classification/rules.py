# SPDX-License-Identifier: Apache-2.0
"""The rule classifier: risk as the maximum of monotone rules over what is known about a call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agentguard.classification.operations import operation_of
from agentguard.contracts.commands import RegisterTool, SideEffect
from agentguard.contracts.facts import (
    Call,
    ExtractedFacts,
    HistoryFacts,
    Instructor,
    Origin,
    Provenance,
)
from agentguard.contracts.records import Classification, ClassificationSource, Risk, Verdict

MODEL: Final = "rules/1"
DENIALS_MANY: Final = 10
REPEATS_MANY: Final = 5
SURE_PPM: Final = 900_000
UNSURE_PPM: Final = 600_000

RISK_ORDER: Final = (Risk.LOW, Risk.MEDIUM, Risk.HIGH, Risk.CRITICAL)
_FOREIGN: Final = (Origin.UNTRUSTED, Origin.NOWHERE)
_OUTBOUND: Final = (SideEffect.SEND, SideEffect.PAY, SideEffect.EXECUTE)

Rule = tuple[Risk, str]


def classify(
    call: Call,
    tool: RegisterTool,
    *,
    provenance: Provenance,
    history: HistoryFacts,
    extracted: ExtractedFacts,
) -> Classification:
    """Returns how risky the call looks, with the rules that say so as reason codes.

    More evidence of risk never lowers it: each rule only adds, and the highest counts. The
    confidence says how much the rules had to go by; it is no probability.
    """
    del call
    found = [
        *_of_effect(tool, provenance),
        *_of_provenance(tool, provenance),
        *_of_content(tool, provenance, extracted),
        *_of_history(tool, provenance, history),
    ]
    risk = max((rule[0] for rule in found), key=RISK_ORDER.index)
    unsure = history.incomplete or provenance.incomplete or tool.side_effect is SideEffect.UNKNOWN
    return Classification(
        risk=risk,
        intent=operation_of(tool).groups[0],
        recommended=_recommended(tool, provenance, risk),
        confidence_ppm=UNSURE_PPM if unsure else SURE_PPM,
        reasons=tuple(dict.fromkeys(reason for _, reason in found)),
        model=MODEL,
        source=ClassificationSource.RULES,
    )


def _of_effect(tool: RegisterTool, provenance: Provenance) -> Iterator[Rule]:
    effect = tool.side_effect
    reads = effect is SideEffect.READ
    yield (Risk.LOW if reads else Risk.MEDIUM, f"side_effect_{effect.value}")
    if effect is SideEffect.EXECUTE and provenance.decisive in _FOREIGN:
        yield Risk.HIGH, "command_from_untrusted_text"


def _of_provenance(tool: RegisterTool, provenance: Provenance) -> Iterator[Rule]:
    reads = tool.side_effect is SideEffect.READ
    if provenance.decisive_addressed:
        # a read of what a message points to is common where the task asks for just that
        wanted = provenance.asked_by_task and provenance.source_named_by_task
        usual = Risk.LOW if wanted else Risk.MEDIUM
        yield (usual if reads else Risk.HIGH), "value_from_instruction"
    if provenance.instructed_by is Instructor.UNTRUSTED and not provenance.asked_by_task:
        yield (Risk.LOW if reads else Risk.HIGH), "instructed_by_untrusted"
    elif not provenance.asked_by_task:
        yield (Risk.LOW if reads else Risk.MEDIUM), "not_asked"
    if provenance.decisive in _FOREIGN:
        yield (Risk.LOW if reads else Risk.MEDIUM), f"value_{provenance.decisive.value}"


def _of_content(
    tool: RegisterTool, provenance: Provenance, extracted: ExtractedFacts
) -> Iterator[Rule]:
    if not extracted.has_secret:
        return
    leaves = tool.side_effect in _OUTBOUND or bool(extracted.hosts)
    if leaves and provenance.decisive in _FOREIGN:
        yield Risk.CRITICAL, "secret_to_untrusted_target"
    elif leaves:
        yield Risk.HIGH, "secret_leaves"
    else:
        yield Risk.MEDIUM, "secret_in_parameters"


def _of_history(
    tool: RegisterTool, provenance: Provenance, history: HistoryFacts
) -> Iterator[Rule]:
    if history.incomplete or provenance.incomplete:
        yield Risk.MEDIUM, "history_incomplete"
    if history.denies_1h >= DENIALS_MANY:
        yield Risk.MEDIUM, "many_denials"
    if history.repeats_10m >= REPEATS_MANY:
        yield Risk.MEDIUM, "repeated_call"
    sends = tool.side_effect is SideEffect.SEND
    if sends and history.sensitive_read and provenance.decisive in _FOREIGN:
        yield Risk.HIGH, "sensitive_then_untrusted_target"


def _recommended(tool: RegisterTool, provenance: Provenance, risk: Risk) -> Verdict:
    """Returns what the rules would do; policy decides."""
    if risk is Risk.CRITICAL:
        return Verdict.DENY
    if tool.side_effect is SideEffect.READ:
        return Verdict.ALLOW if risk is Risk.LOW else Verdict.ESCALATE
    told = provenance.instructed_by is Instructor.UNTRUSTED and not provenance.asked_by_task
    if told or provenance.decisive_addressed:
        return Verdict.DENY
    named = provenance.source_named_by_task and provenance.decisive is Origin.UNTRUSTED
    accounted = provenance.decisive in (Origin.TASK, Origin.TRUSTED) or named
    calm = risk in (Risk.LOW, Risk.MEDIUM)
    return Verdict.ALLOW if provenance.asked_by_task and accounted and calm else Verdict.ESCALATE
