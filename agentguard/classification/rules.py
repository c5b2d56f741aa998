# SPDX-License-Identifier: Apache-2.0
"""The rule classifier: risk as the maximum of monotone rules over what is known about a call."""

from __future__ import annotations

from typing import Final

from agentguard.contracts.commands import RegisterTool, SideEffect
from agentguard.contracts.facts import Call, ExtractedFacts, HistoryFacts, Instructor, Provenance
from agentguard.contracts.records import Classification, ClassificationSource, Risk, Verdict

MODEL: Final = "rules/1"

_ORDER: Final = (Risk.LOW, Risk.MEDIUM, Risk.HIGH, Risk.CRITICAL)
_OF_SIDE_EFFECT: Final = {
    SideEffect.READ: Risk.LOW,
    SideEffect.UNKNOWN: Risk.MEDIUM,
    SideEffect.WRITE: Risk.MEDIUM,
    SideEffect.SEND: Risk.MEDIUM,
    SideEffect.PAY: Risk.MEDIUM,
    SideEffect.DELETE: Risk.MEDIUM,
    SideEffect.EXECUTE: Risk.MEDIUM,
}


def classify(
    call: Call,
    tool: RegisterTool,
    *,
    provenance: Provenance,
    history: HistoryFacts,
    extracted: ExtractedFacts,
) -> Classification:
    """Returns how risky the call looks, with the rules that say so as reason codes."""
    effect = tool.side_effect
    reads = effect is SideEffect.READ
    found = [(_OF_SIDE_EFFECT[effect], f"side_effect_{effect.value}")]
    if provenance.decisive_addressed:
        handed = provenance.asked_by_task and provenance.source_named_by_task
        risk = (Risk.LOW if handed else Risk.MEDIUM) if reads else Risk.HIGH
        found.append((risk, "value_from_instruction"))
    if provenance.instructed_by is Instructor.UNTRUSTED and not provenance.asked_by_task:
        found.append((Risk.LOW if reads else Risk.HIGH, "instructed_by_untrusted"))
    if history.incomplete or provenance.incomplete:
        found.append((Risk.MEDIUM, "history_incomplete"))
    if extracted.has_secret:
        found.append((Risk.HIGH, "secret_in_parameters"))
    risk = max((r for r, _ in found), key=_ORDER.index)
    return Classification(
        risk=risk,
        intent=tool.operation or call.tool,
        recommended=Verdict.ALLOW if risk is Risk.LOW else Verdict.ESCALATE,
        confidence_ppm=1_000_000,
        reasons=tuple(code for _, code in found),
        model=MODEL,
        source=ClassificationSource.RULES,
    )
