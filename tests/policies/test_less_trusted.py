# SPDX-License-Identifier: Apache-2.0
"""Over every combination of what the baseline reads: believing an output less never allows more."""

from __future__ import annotations

import itertools
import json
from functools import cache
from typing import Any, NamedTuple, get_args

import msgspec

from agentguard.contracts.facts import Instructor, Origin
from agentguard.contracts.records import Verdict
from agentguard.policy.combine import combine
from agentguard.policy.document import ORIGIN_ORDINALS, RISK_ORDINALS, EffectWord, RiskWord
from tests import samples_policy as s

PLAIN = json.loads(s.document())


class Seen(NamedTuple):
    """What the baseline reads of a call, an output's trust included."""

    effect: str
    risk: str
    asked: bool
    decisive: Origin
    addressed: bool
    named: bool
    instructed: Instructor
    tainted: bool


ALL = [
    Seen(*values)
    for values in itertools.product(
        get_args(EffectWord),
        get_args(RiskWord),
        (False, True),
        Origin,
        (False, True),
        (False, True),
        Instructor,
        (False, True),
    )
]


@cache
def verdict_on(seen: Seen) -> Verdict:
    plain: Any = json.loads(json.dumps(PLAIN))
    context = plain["context"]
    plain["action"]["properties"]["side_effect"] = seen.effect
    context["classification"] |= {"risk": seen.risk, "risk_ord": RISK_ORDINALS[seen.risk]}  # type: ignore[index]
    context["history"]["untrusted_read"] = seen.tainted
    context["provenance"] |= {
        "asked_by_task": seen.asked,
        "decisive": seen.decisive.value,
        "decisive_ord": ORIGIN_ORDINALS[seen.decisive],
        "decisive_addressed": seen.addressed,
        "source_named_by_task": seen.named,
        "instructed_by": seen.instructed.value,
    }
    return combine(s.rego().evaluate(msgspec.json.encode(plain))).verdict


def less_trusted(seen: Seen) -> list[Seen]:
    """Returns what the same call can look like once one trusted output counts as untrusted."""
    origins = {seen.decisive} | ({Origin.UNTRUSTED} if seen.decisive is Origin.TRUSTED else set())
    instructors = {seen.instructed}
    if seen.instructed is Instructor.TRUSTED:
        instructors.add(Instructor.UNTRUSTED)
    # a source that the task named before stays named; one that comes in may be named or not
    named = {seen.named} if seen.decisive is Origin.UNTRUSTED else {False, True}
    return [
        seen._replace(decisive=d, addressed=a, named=n, instructed=i, tainted=True)
        for d in origins
        for a in {seen.addressed, True}
        for n in named
        for i in instructors
    ]


def test_believing_an_output_less_never_allows_more() -> None:
    for seen in ALL:
        if verdict_on(seen) is not Verdict.ALLOW:
            for worse in less_trusted(seen):
                assert verdict_on(worse) is not Verdict.ALLOW, (seen, worse)


def test_more_risk_never_allows_more() -> None:
    order = list(RISK_ORDINALS)
    for seen in ALL:
        if verdict_on(seen) is not Verdict.ALLOW:
            for risk in order[order.index(seen.risk) :]:  # type: ignore[arg-type]
                assert verdict_on(seen._replace(risk=risk)) is not Verdict.ALLOW


def test_only_untrusted_sentence_never_moves_anything_but_a_read() -> None:
    for seen in ALL:
        if seen.effect != "read" and seen.instructed is Instructor.UNTRUSTED and not seen.asked:
            assert verdict_on(seen) is Verdict.DENY
