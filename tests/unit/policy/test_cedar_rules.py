# SPDX-License-Identifier: Apache-2.0
"""Cedar policies as rules: the annotations' vocabulary, and the set that runs."""

from __future__ import annotations

import json

import cedarpy
import pytest

from agentguard.contracts.errors import ReleaseError
from agentguard.contracts.facts import Remedy
from agentguard.policy.cedar_rules import CedarRules, read_rules, result_of

PERMIT = '@id("t.permit") @scope("{tool}:{operation}") permit (principal, action, resource) when { true };'
FORBID = (
    '@id("t.forbid") @code("policy_denied") @reason("r") @severity("low") %s '
    "forbid (principal, action, resource);"
)


def rules(*texts: str) -> CedarRules:
    return read_rules(cedarpy.policies_to_json_str("\n".join(texts)))


def test_every_effect_becomes_a_permit_under_its_own_id() -> None:
    read = rules(PERMIT, FORBID % "")
    policies = json.loads(read.evaluated)["staticPolicies"]
    assert {name: policy["effect"] for name, policy in policies.items()} == {
        "t.permit": "permit",
        "t.forbid": "permit",
    }
    assert set(read.permits) == {"t.permit"}
    assert set(read.denials) == {"t.forbid"}
    assert len(cedarpy.PolicySet.from_json_str(read.evaluated)) == 2


def test_annotations_say_what_rego_says_in_its_object() -> None:
    denial = rules(FORBID % '@control("ASI02 ASI01") @approval("owners")').denials["t.forbid"]
    assert denial.controls == ("ASI01", "ASI02")
    assert denial.remedy == Remedy(approval_group="owners")
    mended = FORBID % '@transform("row_limit") @transform_args(\'{"rows": 5}\')'.replace("'", '"')
    mended = mended.replace('"{"rows": 5}"', r'"{\"rows\": 5}"')
    remedy = rules(mended).denials["t.forbid"].remedy
    assert remedy == Remedy(transform="row_limit", arguments={"rows": 5})


def test_matching_rules_make_the_result() -> None:
    read = rules(PERMIT.replace("permit (", '@obligation("log.full alert") permit ('), FORBID % "")
    result = result_of(read, ["t.permit", "t.forbid"], tool="mail.send", operation="send")
    assert result.permits == ("t.permit",)
    assert [d.rule for d in result.denials] == ["t.forbid"]
    assert result.scopes == ("mail.send:send",)
    assert [o.type for o in result.obligations] == ["alert", "log.full"]
    assert result_of(read, [], tool="t", operation="o").scopes == ()


def test_name_of_a_tool_brings_no_placeholder_of_its_own() -> None:
    read = rules(PERMIT.replace("{tool}:{operation}", "x:{tool}/{operation}:fixed"))
    result = result_of(read, ["t.permit"], tool="{operation} {tool}", operation="{tool}")
    assert result.scopes == ("x:{operation} {tool}/{tool}:fixed",)


def test_unknown_rule_is_an_error() -> None:
    with pytest.raises(KeyError):
        result_of(rules(PERMIT), ["other"], tool="t", operation="o")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (PERMIT + PERMIT, "two Cedar policies"),
        (PERMIT + FORBID.replace("t.forbid", "t.permit") % "", "two Cedar policies"),
        (PERMIT.replace('@id("t.permit")', ""), "policy `\\?`"),
        (PERMIT.replace("t.permit", "T permit"), "annotations"),
        (PERMIT.replace('@scope("{tool}:{operation}")', ""), "scope"),
        (PERMIT.replace("@scope", '@approval("x") @scope'), "approval"),
        (PERMIT.replace("@scope", '@obligation("a/b") @scope'), "annotations"),
        (PERMIT.replace("when { true }", ""), "permits everything"),
        (FORBID % '@magic("x")', "magic"),
        (FORBID % '@scope("x")', "scope"),
        (FORBID % '@control("!")', "annotations"),
        (FORBID % '@approval("x") @transform("y")', "either"),
        (FORBID % '@transform("y") @transform_args("[")', "annotations"),
        (FORBID.replace("policy_denied", "made_up") % "", "made_up"),
        (FORBID.replace('"low"', '"huge"') % "", "huge"),
        (FORBID.replace('@reason("r")', "") % "", "reason"),
        (FORBID.replace('@reason("r")', "@reason") % "", "annotations"),
        ('@id("t") permit (principal == ?principal, action, resource);', "templates"),
    ],
)
def test_policy_outside_the_vocabulary_is_refused(text: str, why: str) -> None:
    with pytest.raises(ReleaseError, match=why):
        rules(text)


def test_permit_with_a_narrow_scope_needs_no_condition() -> None:
    narrow = PERMIT.replace("action, resource", 'action == Action::"read", resource')
    assert set(rules(narrow.replace("when { true }", "")).permits) == {"t.permit"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"staticPolicies": {"p": {}}}', "[" * 100_000])
def test_policy_set_of_an_unknown_shape_is_refused(text: str) -> None:
    with pytest.raises(ReleaseError, match="unknown shape"):
        read_rules(text)
