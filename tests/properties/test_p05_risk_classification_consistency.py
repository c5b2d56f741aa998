# SPDX-License-Identifier: Apache-2.0
"""Feature: ai-agent-security-platform, Property 5: Risk Classification Consistency.

A classification is complete and within its ranges; its level is the highest that any rule gives;
and whatever is known against a call besides, it never comes out lower for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentguard.classification import rules
from agentguard.contracts.commands import SideEffect
from agentguard.contracts.facts import (
    Call,
    ExtractedFacts,
    HistoryFacts,
    Instructor,
    Origin,
    Provenance,
)
from agentguard.contracts.records import Classification, ClassificationSource, Risk, Verdict
from agentguard.registry.tools import ToolLabels, make_tool

LEVELS = {Risk.LOW: 0, Risk.MEDIUM: 1, Risk.HIGH: 2, Risk.CRITICAL: 3}
_of_provenance, _of_content, _of_history = (
    rules._of_provenance,
    rules._of_content,
    rules._of_history,
)


def _asked_for_calms(tool: Any, provenance: Provenance, extracted: ExtractedFacts) -> Any:
    for risk, reason in _of_content(tool, provenance, extracted):
        yield (Risk.LOW if provenance.decisive is Origin.NOWHERE else risk), reason


def _forgets_who_asked(tool: Any, provenance: Provenance) -> Any:
    return _of_provenance(tool, replace(provenance, instructed_by=Instructor.NONE))


MUTANTS: tuple[tuple[str, Any], ...] = (
    ("agentguard.classification.rules.RISK_ORDER", tuple(reversed(rules.RISK_ORDER))),
    ("agentguard.classification.rules._of_content", _asked_for_calms),
    ("agentguard.classification.rules._of_content", lambda *_: iter(())),
    ("agentguard.classification.rules._of_history", lambda *_: iter(())),
    ("agentguard.classification.rules._of_provenance", _forgets_who_asked),
    ("agentguard.classification.rules.SURE_PPM", 1_000_001),
)

PROVENANCE = st.builds(
    Provenance,
    asked_by_task=st.booleans(),
    decisive=st.sampled_from(Origin),
    decisive_addressed=st.booleans(),
    source_named_by_task=st.booleans(),
    instructed_by=st.sampled_from(Instructor),
    incomplete=st.booleans(),
    arguments=st.just(()),
)
HISTORY = st.builds(
    HistoryFacts,
    denies_1h=st.integers(0, 30),
    repeats_10m=st.integers(0, 10),
    sensitive_read=st.booleans(),
    untrusted_read=st.booleans(),
    incomplete=st.booleans(),
)
EXTRACTED = st.builds(
    ExtractedFacts,
    has_secret=st.booleans(),
    hosts=st.sampled_from(((), ("ex.org",))),
)
WORSE_ORIGIN = {
    Origin.TASK: Origin.TRUSTED,
    Origin.TRUSTED: Origin.UNTRUSTED,
    Origin.UNTRUSTED: Origin.NOWHERE,
    Origin.NOWHERE: Origin.NOWHERE,
}

Known = tuple[SideEffect, Provenance, HistoryFacts, ExtractedFacts]
# every way in which one more thing is known against a call
WORSE: dict[str, Callable[[Known], Known]] = {
    "acts": lambda k: (SideEffect.WRITE if k[0] is SideEffect.READ else k[0], *k[1:]),
    "unasked": lambda k: (k[0], replace(k[1], asked_by_task=False), *k[2:]),
    "origin": lambda k: (k[0], replace(k[1], decisive=WORSE_ORIGIN[k[1].decisive]), *k[2:]),
    "addressed": lambda k: (k[0], replace(k[1], decisive_addressed=True), *k[2:]),
    "unnamed": lambda k: (k[0], replace(k[1], source_named_by_task=False), *k[2:]),
    "told": lambda k: (k[0], replace(k[1], instructed_by=Instructor.UNTRUSTED), *k[2:]),
    "cut": lambda k: (k[0], replace(k[1], incomplete=True), *k[2:]),
    "denied": lambda k: (*k[:2], replace(k[2], denies_1h=k[2].denies_1h + 10), k[3]),
    "repeated": lambda k: (*k[:2], replace(k[2], repeats_10m=k[2].repeats_10m + 5), k[3]),
    "sensitive": lambda k: (*k[:2], replace(k[2], sensitive_read=True), k[3]),
    "missing": lambda k: (*k[:2], replace(k[2], incomplete=True), k[3]),
    "secret": lambda k: (*k[:3], replace(k[3], has_secret=True)),
    "host": lambda k: (*k[:3], replace(k[3], hosts=("ex.org",))),
}


def classified(known: Known) -> Classification:
    effect, provenance, history, extracted = known
    return rules.classify(
        Call(tool="t", parameters={}, task=""),
        make_tool("t", tenant="t", labels=ToolLabels(side_effect=effect)),
        provenance=provenance,
        history=history,
        extracted=extracted,
    )


@given(st.sampled_from(SideEffect), PROVENANCE, HISTORY, EXTRACTED)
def test_a_classification_is_complete_and_within_its_ranges(
    effect: SideEffect, provenance: Provenance, history: HistoryFacts, extracted: ExtractedFacts
) -> None:
    found = classified((effect, provenance, history, extracted))
    assert found.risk in LEVELS
    assert found.reasons
    assert all(found.reasons)
    assert len(set(found.reasons)) == len(found.reasons)
    assert 0 <= found.confidence_ppm <= 1_000_000
    assert found.recommended in (Verdict.ALLOW, Verdict.DENY, Verdict.ESCALATE)
    assert (found.model, found.source) == (rules.MODEL, ClassificationSource.RULES)


@given(
    st.sampled_from(SideEffect), PROVENANCE, HISTORY, EXTRACTED,
    st.lists(st.sampled_from(sorted(WORSE)), min_size=1, max_size=4),
)  # fmt: skip
def test_more_evidence_of_risk_never_lowers_the_level(
    effect: SideEffect,
    provenance: Provenance,
    history: HistoryFacts,
    extracted: ExtractedFacts,
    against: list[str],
) -> None:
    known: Known = (effect, provenance, history, extracted)
    before = classified(known)
    for name in against:
        known = WORSE[name](known)
    assert LEVELS[classified(known).risk] >= LEVELS[before.risk]


@given(st.sampled_from(SideEffect), PROVENANCE, HISTORY, EXTRACTED)
def test_each_kind_of_evidence_reaches_its_level_alone(
    effect: SideEffect, provenance: Provenance, history: HistoryFacts, extracted: ExtractedFacts
) -> None:
    acts = effect is not SideEffect.READ
    foreign = provenance.decisive in (Origin.UNTRUSTED, Origin.NOWHERE)
    leaves = effect in (SideEffect.SEND, SideEffect.PAY, SideEffect.EXECUTE) or extracted.hosts
    told = provenance.instructed_by is Instructor.UNTRUSTED and not provenance.asked_by_task
    floors = (
        (acts, Risk.MEDIUM),
        (acts and told, Risk.HIGH),
        (acts and provenance.decisive_addressed, Risk.HIGH),
        (effect is SideEffect.EXECUTE and foreign, Risk.HIGH),
        (history.incomplete or provenance.incomplete, Risk.MEDIUM),
        (extracted.has_secret, Risk.MEDIUM),
        (extracted.has_secret and bool(leaves), Risk.HIGH),
        (extracted.has_secret and bool(leaves) and foreign, Risk.CRITICAL),
        (history.denies_1h >= rules.DENIALS_MANY, Risk.MEDIUM),
        (effect is SideEffect.SEND and history.sensitive_read and foreign, Risk.HIGH),
    )
    due = max((LEVELS[level] for holds, level in floors if holds), default=0)
    assert LEVELS[classified((effect, provenance, history, extracted)).risk] >= due
