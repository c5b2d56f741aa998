# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest

from agentguard.classification.rules import MODEL, classify
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
from tests.unit.classification.builders import tool

CALM = Provenance(
    asked_by_task=True,
    decisive=Origin.TASK,
    decisive_addressed=False,
    source_named_by_task=False,
    instructed_by=Instructor.TASK,
    incomplete=False,
    arguments=(),
)
TOLD = replace(CALM, asked_by_task=False, instructed_by=Instructor.UNTRUSTED)


def classified(
    effect: str = "write",
    provenance: Provenance = CALM,
    history: HistoryFacts | None = None,
    extracted: ExtractedFacts | None = None,
) -> Classification:
    return classify(
        Call(tool="do_it", parameters={}, task=""),
        tool("do_it", effect),
        provenance=provenance,
        history=history or HistoryFacts(),
        extracted=extracted or ExtractedFacts(),
    )


def test_a_plain_read_is_low_and_everything_else_at_least_medium() -> None:
    assert classified("read").risk is Risk.LOW
    others = [e.value for e in SideEffect if e is not SideEffect.READ]
    assert {classified(effect).risk for effect in others} == {Risk.MEDIUM}


@pytest.mark.parametrize("effect", ["write", "send", "pay", "delete", "execute", "unknown"])
def test_what_only_an_untrusted_output_asks_for_is_high(effect: str) -> None:
    found = classified(effect, TOLD)
    assert found.risk is Risk.HIGH
    assert "instructed_by_untrusted" in found.reasons


def test_a_read_of_what_an_instruction_names_is_medium_unless_the_task_wants_it() -> None:
    addressed = replace(CALM, decisive=Origin.UNTRUSTED, decisive_addressed=True)
    assert classified("read", addressed).risk is Risk.MEDIUM
    assert classified("read", replace(addressed, source_named_by_task=True)).risk is Risk.LOW
    assert classified("send", replace(addressed, source_named_by_task=True)).risk is Risk.HIGH


def test_missing_history_raises_a_read_to_medium() -> None:
    assert classified("read", history=HistoryFacts(incomplete=True)).risk is Risk.MEDIUM
    assert classified("read", replace(CALM, incomplete=True)).risk is Risk.MEDIUM


def test_a_secret_that_leaves_is_high_and_with_an_untrusted_target_critical() -> None:
    secret = ExtractedFacts(has_secret=True)
    assert classified("send", extracted=secret).risk is Risk.HIGH
    assert classified("write", extracted=secret).risk is Risk.MEDIUM
    foreign = replace(CALM, decisive=Origin.UNTRUSTED)
    assert classified("send", foreign, extracted=secret).risk is Risk.CRITICAL


def test_commands_from_untrusted_text_are_high() -> None:
    foreign = replace(CALM, decisive=Origin.UNTRUSTED)
    assert classified("execute", foreign).risk is Risk.HIGH
    assert classified("execute").risk is Risk.MEDIUM


def test_a_burst_of_denials_and_sensitive_reading_before_sending_are_reasons() -> None:
    busy = HistoryFacts(denies_1h=20, sensitive_read=True, untrusted_read=True)
    found = classified("send", replace(CALM, decisive=Origin.UNTRUSTED), history=busy)
    assert {"many_denials", "sensitive_then_untrusted_target"} <= set(found.reasons)
    assert found.risk is Risk.HIGH


def test_a_classification_is_complete() -> None:
    found = classified("pay", TOLD)
    assert found.model == MODEL
    assert found.source is ClassificationSource.RULES
    assert found.reasons
    assert found.intent == "pay"
    assert 0 <= found.confidence_ppm <= 1_000_000
    assert found.recommended in (Verdict.ALLOW, Verdict.DENY, Verdict.ESCALATE)


@pytest.mark.parametrize(
    ("provenance", "recommended"),
    [
        (CALM, Verdict.ALLOW),
        (TOLD, Verdict.DENY),
        (replace(CALM, asked_by_task=False, instructed_by=Instructor.NONE), Verdict.ESCALATE),
        (replace(CALM, decisive=Origin.NOWHERE), Verdict.ESCALATE),
    ],
)
def test_what_is_recommended_follows_from_provenance(
    provenance: Provenance, recommended: Verdict
) -> None:
    assert classified("send", provenance).recommended is recommended
