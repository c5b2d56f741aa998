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
    SideEffect.EXECUTE: Risk.HIGH,
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
    found = [(_OF_SIDE_EFFECT[tool.side_effect], f"side_effect_{tool.side_effect.value}")]
    handed = provenance.asked_by_task and provenance.source_named_by_task
    if provenance.decisive_addressed and not (tool.side_effect is SideEffect.READ and handed):
        found.append((Risk.HIGH, "value_from_instruction"))
    if (
        provenance.instructed_by is Instructor.UNTRUSTED
        and not provenance.asked_by_task
        and tool.side_effect is not SideEffect.READ
    ):
        found.append((Risk.HIGH, "instructed_by_untrusted"))
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
