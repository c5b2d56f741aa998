# SPDX-License-Identifier: Apache-2.0
"""The decision table through every engine, and that it tests every rule."""

from __future__ import annotations

import json

import cedarpy
import msgspec
import pytest
import regorus

from agentguard.adapters.policy_folder import Case
from agentguard.contracts.ports import PolicyEngine
from agentguard.contracts.records import Verdict
from agentguard.policy.cedar_schema import cedar_schema, project
from agentguard.policy.combine import combine
from agentguard.policy.document import read_document
from tests import samples_policy as s
from tests.policies.make_baseline import made_files

REGO = s.baseline_files()["agentguard/baseline.rego"].decode()
CEDAR = s.baseline_files()["cedar/baseline.cedar"].decode()
ROWS = [pytest.param(case, id=case.description) for case in s.table()]


@pytest.mark.parametrize("engine", [s.rego(), s.cedar()], ids=lambda e: e.identity)
@pytest.mark.parametrize("case", ROWS)
def test_row_is_decided_as_the_table_says(case: Case, engine: PolicyEngine) -> None:
    ruling = combine(engine.evaluate(case.document))
    assert (ruling.verdict, ruling.codes[0]) == (case.verdict, case.code)
    assert sorted(ruling.rules) == sorted(case.rules)
    assert bool(ruling.approval_group) is (case.verdict is Verdict.ESCALATE)
    assert bool(ruling.scopes) <= (case.verdict is not Verdict.DENY)


@pytest.mark.parametrize("case", ROWS)
def test_both_languages_give_one_result(case: Case) -> None:
    assert s.rego().evaluate(case.document) == s.cedar().evaluate(case.document)


@pytest.mark.parametrize("case", ROWS)
def test_stock_cedar_with_its_schema_comes_to_the_same_decision(case: Case) -> None:
    document = read_document(case.document)
    question = project(document)
    answer = cedarpy.is_authorized(
        {
            "principal": {"type": "Agent", "id": question.agent},
            "action": {"type": "Action", "id": question.effect},
            "resource": {"type": "Tool", "id": question.tool},
            "context": json.loads(case.document)["context"],
        },
        CEDAR,
        question.entities,
        cedar_schema(),
    )
    assert not answer.diagnostics.errors
    assert answer.allowed is (case.verdict is Verdict.ALLOW)


def test_table_is_big_enough_and_holds_every_verdict_and_no_row_twice() -> None:
    assert len(s.table()) >= 60
    assert {case.verdict for case in s.table()} == {Verdict.ALLOW, Verdict.DENY, Verdict.ESCALATE}
    assert len({case.description for case in s.table()}) == len(s.table())


def test_every_rule_decides_some_row() -> None:
    decisive = {rule for case in s.table() for rule in case.rules}
    held = json.loads(cedarpy.policies_to_json_str(CEDAR))["staticPolicies"].values()
    assert decisive == {policy["annotations"]["id"] for policy in held}


def test_table_reaches_every_line_of_the_rego() -> None:
    engine = regorus.Engine()
    engine.add_policy("baseline.rego", REGO)
    engine.set_enable_coverage(True)
    for case in s.table():
        engine.set_input_json(case.document.decode())
        engine.eval_rule_as_json("data.agentguard.baseline.out")
    report = json.loads(engine.get_coverage_report_as_json())
    assert [file["not_covered"] for file in report["files"]] == [[]]


def test_made_files_of_the_baseline_are_what_the_script_makes() -> None:
    assert {name: s.baseline_files()[name] for name, _ in made_files()} == dict(made_files())


def test_approval_lifts_exactly_what_a_person_is_asked_about() -> None:
    for case in s.table():
        if case.verdict is Verdict.ESCALATE:
            document = json.loads(case.document)
            document["context"]["approval"] = {"by": "p", "expires": 1, "state": "approved"}
            approved = msgspec.json.encode(document)
            assert combine(s.rego().evaluate(approved)).verdict is Verdict.ALLOW, case.description
