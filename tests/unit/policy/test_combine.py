# SPDX-License-Identifier: Apache-2.0
"""The lattice of verdicts: error > deny > escalate > transform > allow."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from agentguard.contracts.facts import Denial, EngineResult, Remedy
from agentguard.contracts.records import Obligation, Verdict
from agentguard.policy.combine import combine

REMEDIES = st.sampled_from(
    (
        None,
        Remedy(),
        Remedy(approval_group="owners"),
        Remedy(transform="read_only"),
        Remedy(approval_group="owners", transform="read_only"),
    )
)
DENIALS = st.builds(
    Denial,
    rule=st.sampled_from(("a.one", "a.two", "b.one")),
    code=st.sampled_from(("killed", "not_asked", "policy_denied")),
    reason=st.just("r"),
    severity=st.sampled_from(("low", "medium", "high", "critical", "odd")),
    remedy=REMEDIES,
)
RESULTS = st.builds(
    EngineResult,
    permits=st.lists(st.sampled_from(("p.one", "p.two")), max_size=2).map(tuple),
    denials=st.lists(DENIALS, max_size=4).map(tuple),
    scopes=st.just(("tool:op",)),
    obligations=st.just((Obligation(type="log.full", properties=()),)),
)
STRICTNESS = (Verdict.ALLOW, Verdict.TRANSFORM, Verdict.ESCALATE, Verdict.DENY)


def result(*denials: Denial, permits: tuple[str, ...] = ("p",)) -> EngineResult:
    return EngineResult(permits=permits, denials=denials, scopes=("t:o",), obligations=())


def denial(rule: str, severity: str = "low", remedy: Remedy | None = None) -> Denial:
    return Denial(rule=rule, code=f"code_{rule}", reason="r", severity=severity, remedy=remedy)


def test_undefined_is_denied() -> None:
    ruling = combine(None)
    assert (ruling.verdict, ruling.codes) == (Verdict.DENY, ("policy_undefined",))


def test_nothing_permitted_is_denied() -> None:
    ruling = combine(result(permits=()))
    assert (ruling.verdict, ruling.codes) == (Verdict.DENY, ("no_rule_permits",))
    assert ruling.scopes == ()


def test_permit_without_denial_is_allowed_with_its_scopes() -> None:
    ruling = combine(result())
    assert (ruling.verdict, ruling.rules, ruling.scopes) == (Verdict.ALLOW, ("p",), ("t:o",))


def test_most_severe_denial_comes_first() -> None:
    ruling = combine(result(denial("a", "low"), denial("b", "critical"), denial("c", "high")))
    assert ruling.rules == ("b", "c", "a")
    assert ruling.codes[0] == "code_b"


def test_denial_without_remedy_hides_what_an_approval_could_mend() -> None:
    ruling = combine(result(denial("a"), denial("b", "critical", Remedy(approval_group="owners"))))
    assert (ruling.verdict, ruling.rules, ruling.approval_group) == (Verdict.DENY, ("a",), "")


def test_approval_is_asked_of_the_most_severe_denials_group() -> None:
    ruling = combine(
        result(
            denial("a", "low", Remedy(approval_group="owners")),
            denial("b", "high", Remedy(approval_group="security")),
            denial("c", "critical", Remedy(transform="read_only")),
        )
    )
    assert (ruling.verdict, ruling.approval_group) == (Verdict.ESCALATE, "security")
    assert ruling.rules == ("b", "a")


def test_transform_needs_a_permit() -> None:
    mended = denial("a", remedy=Remedy(transform="read_only"))
    assert combine(result(mended)).verdict is Verdict.TRANSFORM
    assert combine(result(mended)).transforms == (Remedy(transform="read_only"),)
    assert combine(result(mended, permits=())).verdict is Verdict.DENY


@given(RESULTS)
def test_allow_needs_a_permit_and_no_denial(given_: EngineResult) -> None:
    is_allowed = combine(given_).verdict is Verdict.ALLOW
    assert is_allowed == (bool(given_.permits) and not given_.denials)


@given(RESULTS, DENIALS)
def test_one_more_denial_never_makes_it_looser(given_: EngineResult, more: Denial) -> None:
    stricter = dataclasses.replace(given_, denials=(*given_.denials, more))
    before, after = combine(given_).verdict, combine(stricter).verdict
    if given_.permits:
        assert STRICTNESS.index(after) >= STRICTNESS.index(before)
    else:
        assert after is not Verdict.ALLOW


@given(RESULTS)
def test_one_permit_less_never_makes_it_looser(given_: EngineResult) -> None:
    fewer = dataclasses.replace(given_, permits=())
    assert STRICTNESS.index(combine(fewer).verdict) >= STRICTNESS.index(combine(given_).verdict)


@given(RESULTS)
def test_order_of_the_engines_answer_does_not_matter(given_: EngineResult) -> None:
    turned = dataclasses.replace(given_, denials=tuple(reversed(given_.denials)))
    one, other = combine(given_), combine(turned)
    assert (one.verdict, one.codes, one.rules) == (other.verdict, other.codes, other.rules)


@given(RESULTS)
def test_deny_grants_nothing_and_only_escalate_asks_a_person(given_: EngineResult) -> None:
    ruling = combine(given_)
    assert not (ruling.verdict is Verdict.DENY and (ruling.scopes or ruling.obligations))
    assert bool(ruling.approval_group) is (ruling.verdict is Verdict.ESCALATE)
    assert bool(ruling.transforms) is (ruling.verdict is Verdict.TRANSFORM)
    assert ruling.codes
