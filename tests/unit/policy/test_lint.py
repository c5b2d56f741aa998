# SPDX-License-Identifier: Apache-2.0
"""The gate for Rego: what depends on more than its input does not load."""

from __future__ import annotations

import json

import pytest
import regorus

from agentguard.contracts.errors import ReleaseError
from agentguard.policy.lint import rego_findings
from tests import samples_policy as s

HEAD = "package agentguard.baseline\n"
OUT = 'out := {"allow": allow, "deny": set(), "obligations": set(), "scopes": set()}\n'
LIBRARY = 'package agentguard.lib\ng(x) := x\nwords := {"a"}\nnested.f(x) := x\n'


def findings(*texts: str) -> tuple[str, ...]:
    engine = regorus.Engine()
    for i, text in enumerate(texts):
        engine.add_policy(f"f{i}.rego", text)
    return rego_findings(engine.get_ast_as_json())


def found(body: str, *, imports: str = "") -> tuple[str, ...]:
    return findings(HEAD + imports + OUT + body, LIBRARY)


def test_baseline_passes() -> None:
    assert findings(s.baseline_files()["agentguard/baseline.rego"].decode()) == ()


GOOD = [
    'allow contains "x" if input.a == 1',
    'allow contains "x" if { x := input.a; not startswith(x, "b") }',
    'allow contains "x" if not input.a',
    'allow contains "x" if data.agentguard.lib.g(input.a) == 1',
    'allow contains "x" if "a" in data.agentguard.lib.words',
    'allow contains "x" if data.agentguard["lib"].words["a"]',
    'allow contains "x" if data.agentguard.lib.nested.f(1) == 1',
    'f(x) := y if { y := x + 1 }\nallow contains "x" if f(1) == 2',
    'allow contains "x" if every k in input.list { k > 1 }',
    'allow contains "x" if { x := [1, 2][0]; x == 1 }',
    'default level := 0\nallow contains "x" if level == 0',
    'allow contains "x" if count([y | some y in input.list; y > 1]) > 0',
]


@pytest.mark.parametrize("body", GOOD)
def test_rule_over_its_input_passes(body: str) -> None:
    assert found(body) == ()


def test_library_may_be_imported() -> None:
    for imports in (
        "import data.agentguard.lib.g\n",
        "import rego.v1\nimport data.agentguard.lib.g\n",
    ):
        assert found('allow contains "x" if g(1) == 1', imports=imports) == ()


BAD = [
    ('allow contains "x" if http.send({"url": "u"})', "calls `http.send`"),
    ('allow contains "x" if time.now_ns() > 1', "calls `time.now_ns`"),
    ('allow contains "x" if rand.intn("a", 2) == 1', "calls `rand.intn`"),
    ('allow contains "x" if uuid.rfc4122("a") == "b"', "calls `uuid.rfc4122`"),
    ('allow contains "x" if net.lookup_ip_addr("a")', "calls `net.lookup_ip_addr`"),
    ('allow contains "x" if { x := [opa.runtime()]; x }', "calls `opa.runtime`"),
    ('allow contains "x" if print("x")', "calls `print`"),
    ('allow contains "x" if { some x in [y | y := trace("a")] }', "calls `trace`"),
    ('f(x) := http.send(x)\nallow contains "x" if f(1)', "calls `http.send`"),
    (
        'allow contains "x" if { input.a == 2; strings.count("a", "") == 1 }',
        "calls `strings.count`",
    ),
    ('allow contains "x" if numbers.range(1, 1000000)', "calls `numbers.range`"),
    ('allow contains "x" if { not nowhere(1) }', "calls `nowhere`"),
    ('allow contains "x" if data.agentguard.lib.h(1)', "calls `data.agentguard.lib.h`"),
    ('allow contains "x" if not startswith(input.a, "b")', "negates a function"),
    ('allow contains "x" if { x := input; not startswith(x.a, "b") }', "negates a function"),
    ('allow contains "x" if not f(input)\nf(x) := x', "negates a function"),
    ('allow contains "x" if not count(lower(input["a"])) == 1', "negates a function"),
    ("default allow := true", "gives `allow` a default"),
    ('default out := {"allow": ["x"]}', "gives `out` a default"),
    ('allow contains "x" if { f(1) with input as 1 }\nf(x) := x', "uses `with`"),
    ('allow contains "x" if data.other.y == 1', "reads `data` other than"),
    ('allow contains "x" if data["other"].y == 1', "reads `data` other than"),
    ('allow contains "x" if data[input.z].y == 1', "reads `data` other than"),
    ('allow contains "x" if { x := data; x.other }', "reads `data` other than"),
    ('startswith(a, b) := true\nallow contains "x" if true', "another meaning"),
]


@pytest.mark.parametrize(("body", "why"), BAD)
def test_rule_over_more_than_its_input_is_refused(body: str, why: str) -> None:
    assert any(why in finding for finding in found(body)), found(body)


@pytest.mark.parametrize(
    "imports",
    [
        "import input.context\n",
        "import input.context as c\n",
        "import data.other\n",
        "import data.agentguard.lib.g as h\n",
        "import future.keywords\n",
    ],
)
def test_import_that_hides_what_is_read_is_refused(imports: str) -> None:
    assert any("imports" in f for f in found('allow contains "x" if true', imports=imports))


def test_package_outside_the_root_is_refused() -> None:
    assert "f1.rego: package `other` lies outside `agentguard`" in findings(
        HEAD + OUT, "package other\nout := 1"
    )
    assert any("lies outside" in f for f in findings(HEAD + OUT, "package agentguardian\nout := 1"))


def test_release_without_baseline_or_export_is_refused() -> None:
    assert findings("package agentguard.pack\nx := 1") == (
        "no package is called `agentguard.baseline`",
        "package `agentguard.pack` exports no `out`",
    )


def test_old_rego_is_refused() -> None:
    engine = regorus.Engine()
    engine.set_rego_v0(True)
    engine.add_policy("f.rego", "package agentguard.baseline\nout = 1 { true }")
    assert "f.rego: is not Rego version 1" in rego_findings(engine.get_ast_as_json())


@pytest.mark.parametrize(
    "asts",
    ["", "{", "3", "[3]", "[{}]", '[{"source": 3, "ast": {}}]', "[" * 100_000]
    + [
        json.dumps([{"source": {"file": "f"}, "ast": ast}])
        for ast in (
            {"package": 3, "imports": [], "rules": []},
            {"package": {"refr": {}}, "imports": 3, "rules": []},
            {"package": {"refr": {}}, "imports": [], "rules": [{"Odd": {}}]},
        )
    ],
)
def test_parsed_policy_of_an_unknown_shape_is_refused(asts: str) -> None:
    with pytest.raises(ReleaseError, match="unknown shape"):
        rego_findings(asts)
