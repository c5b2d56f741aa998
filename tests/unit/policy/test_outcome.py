# SPDX-License-Identifier: Apache-2.0
"""What a policy may say: the closed vocabulary, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentguard.contracts.errors import EngineError
from agentguard.contracts.facts import Remedy
from agentguard.contracts.records import Fact, Obligation
from agentguard.policy.outcome import OUT_BYTES_MAX, make_result, read_out

DENY = {"id": "t.deny", "code": "policy_denied", "reason": "r", "severity": "low"}


def out(**changes: Any) -> str:
    plain: dict[str, Any] = {"allow": [], "deny": [], "obligations": [], "scopes": []}
    return json.dumps(plain | changes)


def test_undefined_is_none() -> None:
    assert read_out('"<undefined>"') is None


def test_result_is_in_one_order_whatever_the_engines_was() -> None:
    one = read_out(out(allow=["b", "a", "a"], scopes=["y", "x"], deny=[DENY | {"id": "z"}, DENY]))
    other = read_out(out(allow=["a", "b"], scopes=["x", "y"], deny=[DENY, DENY | {"id": "z"}]))
    assert one == other
    assert one is not None
    assert [d.rule for d in one.denials] == ["t.deny", "z"]


def test_remedy_is_an_approval_or_a_transform() -> None:
    result = read_out(
        out(
            deny=[
                DENY | {"id": "a", "remedy": {"approval": "owners"}},
                DENY | {"id": "b", "remedy": {"transform": "row_limit", "args": {"rows": 5}}},
            ]
        )
    )
    assert result is not None
    assert [d.remedy for d in result.denials] == [
        Remedy(approval_group="owners"),
        Remedy(transform="row_limit", arguments={"rows": 5}),
    ]


def test_obligation_has_its_properties_in_order() -> None:
    result = read_out(out(obligations=[{"type": "notify", "properties": {"to": "soc", "by": "x"}}]))
    assert result is not None
    assert result.obligations == (
        Obligation(
            type="notify", properties=(Fact(name="by", value="x"), Fact(name="to", value="soc"))
        ),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '"undefined"',
        out(extra=1),
        out(allow=None),
        out(allow=[1]),
        out(allow=["Not An Id"]),
        out(allow=["a\n"]),
        out(allow=["a" * 101]),
        out(deny=[{}]),
        out(deny=["x"]),
        out(deny=[DENY | {"code": "made_up"}]),
        out(deny=[DENY | {"severity": "huge"}]),
        out(deny=[DENY | {"reason": ""}]),
        out(deny=[DENY | {"reason": "x" * 301}]),
        out(deny=[DENY | {"remedy": {}}]),
        out(deny=[DENY | {"remedy": {"approval": "a", "transform": "b"}}]),
        out(deny=[DENY | {"remedy": {"approval": ""}}]),
        out(deny=[DENY | {"remedy": True}]),
        out(deny=[DENY | {"controls": ["a b"]}]),
        out(scopes=[""]),
        out(scopes=["x" * 501]),
        out(obligations=[{"type": "a", "properties": {"k": 1}}]),
        out(scopes=["x" * 400] * (OUT_BYTES_MAX // 400)),
        "[" * 100_000,
        out(scopes=["\ud800"]).encode().decode("unicode_escape"),
    ],
)
def test_anything_else_is_an_error(text: str) -> None:
    with pytest.raises(EngineError):
        read_out(text)


def test_nothing_said_is_an_empty_result() -> None:
    assert read_out(out()) == make_result(permits=(), denials=(), scopes=(), obligations=())
