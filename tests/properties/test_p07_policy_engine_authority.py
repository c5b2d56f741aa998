# SPDX-License-Identifier: Apache-2.0
"""Feature: ai-agent-security-platform, Property 7: Policy Engine Authority.

Whatever a classifier says, the verdict is the release's: where no rule reads what it recommends,
changing that changes nothing, and where a rule reads it, the rule decides, either way.
"""

from __future__ import annotations

import dataclasses
import itertools
from functools import cache
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentguard.adapters.regorus_engine import RegorusEngine
from agentguard.contracts.commands import SideEffect
from agentguard.contracts.facts import EngineResult, Instructor, Origin, Ruling
from agentguard.contracts.records import Classification, ClassificationSource, Risk, Verdict
from agentguard.policy import combine as combining
from agentguard.policy import document as d
from agentguard.policy.release import Release
from tests import samples_policy as s

_classification, _combine = d._classification, combining.combine


def _believes_the_model(given_: Classification) -> d.ClassificationFacts:
    risk = Risk.LOW if given_.recommended is Verdict.ALLOW else given_.risk
    return _classification(dataclasses.replace(given_, risk=risk))


def _reads_confidence(given_: Classification) -> d.ClassificationFacts:
    risk = Risk.CRITICAL if given_.confidence_ppm < 500_000 else given_.risk
    return _classification(dataclasses.replace(given_, risk=risk))


def _allows_without_permit(result: EngineResult | None) -> Ruling:
    if result is not None and not result.denials:
        return _combine(dataclasses.replace(result, permits=("x", *result.permits)))
    return _combine(result)


def _forgets_denials(result: EngineResult | None) -> Ruling:
    return _combine(result and dataclasses.replace(result, denials=()))


MUTANTS = (
    ("agentguard.policy.document._classification", _believes_the_model),
    ("agentguard.policy.document._classification", _reads_confidence),
    ("agentguard.policy.combine.combine", _allows_without_permit),
    ("agentguard.policy.combine.combine", _forgets_denials),
    ("agentguard.policy.combine._is_remediable", lambda remedy: True),
)

OPINION = st.fixed_dictionaries(
    {
        "recommended": st.sampled_from(Verdict),
        "confidence_ppm": st.sampled_from((0, 499_999, 500_000, 1_000_000)) | st.integers(0, 10**6),
        "intent": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        "model": st.sampled_from(("rules/1", "slm/7", "")),
        "source": st.sampled_from(ClassificationSource),
        "reasons": st.lists(st.sampled_from(("a", "b")), max_size=2).map(tuple),
    }
)
PROVENANCE = st.fixed_dictionaries(
    {
        "asked_by_task": st.booleans(),
        "decisive": st.sampled_from(Origin),
        "decisive_addressed": st.booleans(),
        "instructed_by": st.sampled_from(Instructor),
        "source_named_by_task": st.booleans(),
    }
)
# risks by which the baseline does and does not allow
RISK = st.sampled_from((Risk.LOW, Risk.MEDIUM, Risk.HIGH, Risk.CRITICAL, Risk.UNKNOWN))


def ruling_on(opinion: dict[str, Any], risk: Risk, effect: SideEffect, **provenance: Any) -> Ruling:
    body = s.document(
        tool=s.tool(side_effect=effect),
        provenance=s.provenance(**provenance),
        classification=s.classification(risk=risk, **opinion),
    )
    results = [s.rego().evaluate(body), s.cedar().evaluate(body)]
    assert results[0] == results[1]
    return combining.combine(results[0])


@given(OPINION, OPINION, RISK, st.sampled_from(SideEffect), PROVENANCE)
def test_baseline_does_not_follow_a_recommendation(
    one: dict[str, Any],
    other: dict[str, Any],
    risk: Risk,
    effect: SideEffect,
    provenance: dict[str, Any],
) -> None:
    assert ruling_on(one, risk, effect, **provenance) == ruling_on(
        other, risk, effect, **provenance
    )


ALWAYS, NEVER = "true", "false"
READS = 'input.context.classification.recommended == "{}"'
CONDITIONS = (ALWAYS, NEVER, READS.format("allow"), READS.format("deny"))


def source(permit: str, denial: str, *, escalates: bool) -> str:
    remedy = ', "remedy": {"approval": "someone"}' if escalates else ""
    return f"""package agentguard.baseline
out := {{"allow": allow, "deny": deny, "obligations": set(), "scopes": set()}}
allow contains "t.permit" if {permit}
deny contains {{"id": "t.deny", "code": "policy_denied", "reason": "r", "severity": "low"{remedy}}} if {denial}
"""


@cache
def engine_of(permit: str, denial: str, escalates: bool) -> RegorusEngine:
    return RegorusEngine(release_of(permit, denial, escalates=escalates))


def release_of(permit: str, denial: str, *, escalates: bool) -> Release:
    """Returns a release of two rules; its golden input is one whose verdict is known."""
    verdict = expected(permit, denial, escalates, "allow").value
    golden = s.baseline_files()["golden/read.json"].decode()
    return s.release(
        agentguard__baseline_rego=source(permit, denial, escalates=escalates),
        golden__read_json=golden.replace('"verdict": "allow"', f'"verdict": "{verdict}"'),
        golden__asked_json=None,
        golden__injected_json=None,
        golden__unasked_json=None,
    )


def expected(permit: str, denial: str, escalates: bool, recommended: str) -> Verdict:
    holds = {ALWAYS: True, NEVER: False} | {READS.format(r): r == recommended for r in Verdict}
    if holds[denial]:
        return Verdict.ESCALATE if escalates else Verdict.DENY
    return Verdict.ALLOW if holds[permit] else Verdict.DENY


RELEASES = list(itertools.product(CONDITIONS, CONDITIONS, (False, True)))


@given(st.sampled_from(RELEASES), OPINION)
def test_any_release_decides_and_not_the_recommendation(
    rules: tuple[str, str, bool], opinion: dict[str, Any]
) -> None:
    body = s.document(classification=s.classification(**opinion))
    ruling = combining.combine(engine_of(*rules).evaluate(body))
    assert ruling.verdict is expected(*rules, opinion["recommended"].value)
