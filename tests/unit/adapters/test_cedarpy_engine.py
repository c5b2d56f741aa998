# SPDX-License-Identifier: Apache-2.0
"""Cedar by cedarpy: diagnostics, contradictions, threads, and what does not load."""

from __future__ import annotations

import threading

import cedarpy
import pytest

from agentguard.adapters.cedarpy_engine import CedarpyEngine
from agentguard.contracts.errors import EngineError, ReleaseError
from agentguard.contracts.records import Verdict
from agentguard.policy.combine import combine
from tests import samples_policy as s

CEDAR = s.baseline_files()["cedar/baseline.cedar"].decode()
FORBID = '@id("t.x") @code("policy_denied") @reason("r") @severity("low") forbid (%s) when { %s };'
ANY = "principal, action, resource"


def engine(added: str = "") -> CedarpyEngine:
    return CedarpyEngine(s.release(cedar__baseline_cedar=CEDAR + added))


def test_engine_names_itself_with_its_version() -> None:
    assert s.cedar().identity == "cedarpy/4.12.2"


def test_policy_that_errs_is_an_engine_error_where_cedar_would_skip_it() -> None:
    adds = FORBID % (ANY, "context.history.spend_day_minor * 9007199254740991 > 1")
    overflowing = engine(adds)
    rich = s.document(history=s.history(spend_day_minor=2**53 - 1))
    with pytest.raises(EngineError, match="errs"):
        overflowing.evaluate(rich)
    assert combine(overflowing.evaluate(s.document())).verdict is Verdict.ALLOW


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b"null"])
def test_invalid_input_is_an_engine_error(body: bytes) -> None:
    with pytest.raises(EngineError, match="not valid"):
        s.cedar().evaluate(body)


def test_names_that_look_like_cedar_stay_names() -> None:
    odd = 'x" || true || "__entity\\'
    body = s.document(
        tool=s.tool(tool=odd, operation=odd, server=odd),
        request=s.request(tool=odd, session_id='{"__extn":1}'),
        agent=s.agent(owner=odd, roles=(odd, odd)),
    )
    result = s.cedar().evaluate(body)
    assert result == s.rego().evaluate(body)
    assert result is not None
    assert result.scopes == (f"{odd}:{odd}",)


def test_role_and_category_are_groups_that_a_policy_can_name() -> None:
    by_group = engine(
        FORBID % ('principal in Role::"intern", action, resource in Category::"mail"', "true")
    )
    intern = s.document(agent=s.agent(roles=("intern",)))
    assert combine(by_group.evaluate(intern)).rules == ("t.x",)
    assert combine(by_group.evaluate(s.document())).verdict is Verdict.ALLOW


def test_threads_share_one_engine() -> None:
    shared = engine()
    kinds = [s.document(killed=True), s.document()]
    wanted = [shared.evaluate(body) for body in kinds]
    wrong: list[object] = []

    def work(i: int) -> None:
        wrong.extend(a for a in (shared.evaluate(kinds[i]) for _ in range(50)) if a != wanted[i])

    workers = [threading.Thread(target=work, args=(i % 2,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []
    assert wanted[0] != wanted[1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("permit (", "does not"),
        (CEDAR + FORBID % (ANY, "context.nothing"), "schema"),
        (CEDAR + FORBID % (ANY, "context.hour == true"), "schema"),
        (CEDAR + FORBID % ('principal, action == Action::"fly", resource', "true"), "schema"),
        (CEDAR + CEDAR, "two Cedar policies"),
        (CEDAR + FORBID % (ANY, "true"), "golden"),
        (CEDAR.replace("@id", "@name"), "annotations"),
        ("", "golden"),
    ],
)
def test_release_that_cannot_be_trusted_does_not_load(text: str, why: str) -> None:
    with pytest.raises(ReleaseError, match=why):
        CedarpyEngine(s.release(cedar__baseline_cedar=text))


def test_release_without_cedar_does_not_load() -> None:
    with pytest.raises(ReleaseError, match="no Cedar"):
        CedarpyEngine(s.release(cedar__baseline_cedar=None))


class Ends:
    """Stands where the entities' handle stands and ends as told."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def with_added_json_str(self, text: str) -> cedarpy.Entities:
        raise self.error


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_stop_passes_through(stop: type[BaseException]) -> None:
    shared = engine()
    shared._actions = Ends(stop())
    with pytest.raises(stop):
        shared.evaluate(s.document())


def test_native_failure_is_an_engine_error() -> None:
    shared = engine()
    shared._actions = Ends(BaseException("panic"))
    with pytest.raises(EngineError, match="failed"):
        shared.evaluate(s.document())


def test_rule_that_the_release_does_not_hold_is_an_engine_error() -> None:
    shared = engine()
    shared._policies = cedarpy.PolicySet.from_str("permit (principal, action, resource);")
    with pytest.raises(EngineError, match="does not hold"):
        shared.evaluate(s.document())


def test_allow_that_no_rule_made_is_an_engine_error() -> None:
    shared = engine()
    shared._policies = cedarpy.PolicySet.from_str(
        "permit (principal, action, resource); forbid (principal, action, resource);"
    )
    with pytest.raises(EngineError, match="contradicts"):
        shared.evaluate(s.document())
