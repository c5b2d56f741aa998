# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from agentguard.contracts.commands import Registration, SideEffect
from agentguard.contracts.records import Trust, Verdict
from agentguard.local.detection import TENANT, Judge
from agentguard.local.sample_traffic import (
    FOLDER,
    SampleCall,
    SampleCase,
    Samples,
    load,
    replay,
    request_body,
    show,
)
from agentguard.policy.extractors import EXTRACTORS
from agentguard.policy.parameters import check

FILE = FOLDER / "calls.json.gz"
# of the uncompressed text: compressed bytes differ between zlib builds
DIGEST = "dc2b85bb3a19c4ccced4fa999f1f1e0af10b5591f887147b13851cf0b167fb76"


@cache
def samples() -> Samples:
    return load(TENANT)


@cache
def judge() -> Judge:
    return Judge()


def tools() -> dict[str, object]:
    return {t.tool: t for t in samples().tools}


def test_the_packaged_file_is_small_and_the_one_that_the_script_made() -> None:
    assert FILE.stat().st_size < 1_500_000
    assert hashlib.sha256(gzip.decompress(FILE.read_bytes())).hexdigest() == DIGEST


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_script_makes_the_packaged_file_again_where_the_benchmark_is_installed(
    tmp_path: Path,
) -> None:
    if importlib.util.find_spec("agentdojo") is None:
        return  # the digest above is then all that can be compared
    made = tmp_path / "calls.json.gz"
    command = [sys.executable, "-W", "ignore", "-m", "agentguard.local.make_samples", str(made)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "0"})
    assert gzip.decompress(made.read_bytes()) == gzip.decompress(FILE.read_bytes())


def test_every_suite_has_every_kind_and_a_few_hundred_calls() -> None:
    kinds = Counter((c.suite, c.kind) for c in samples().cases)
    assert {suite for suite, _ in kinds} == {"workspace", "travel", "banking", "slack"}
    assert {kind for _, kind in kinds} == {"benign", "under_attack", "injection", "twin"}
    assert len(kinds) == 16
    assert 500 < sum(len(c.judged) for c in samples().cases) < 1_500


def test_every_tool_of_a_case_is_registered_and_enabled_with_labels() -> None:
    called = {call.tool for c in samples().cases for call in c.calls}
    registered = {t.tool: t for t in samples().tools}
    assert called <= registered.keys()
    for tool in registered.values():
        assert tool.status is Registration.ENABLED
        assert tool.operation
        assert tool.categories
        assert tool.output_trust in (Trust.TRUSTED, Trust.UNTRUSTED)
        assert tool.side_effect is not SideEffect.UNKNOWN
        known = json.loads(tool.schema_json)["properties"]
        assert set(tool.decisive_arguments) <= known.keys()
        assert {e.argument for e in tool.extractors} <= known.keys()
        assert {e.extractor for e in tool.extractors} <= EXTRACTORS.keys()


def test_every_recorded_call_fits_the_schema_of_its_tool() -> None:
    registered = {t.tool: t for t in samples().tools}
    for case in samples().cases:
        for call in case.calls:
            assert check(registered[call.tool].schema_json, call.arguments) == "", case.case


def test_an_injected_case_starts_where_its_text_was_first_read() -> None:
    for case in samples().cases:
        if case.kind != "injection":
            continue
        first = case.judged[0] if case.judged else len(case.calls)
        outputs = [squeezed(c.output) for c in case.calls[: first + 1]]
        goal = squeezed(case.goal)[:40]
        assert any(goal in o or goal.replace("'", "''") in o for o in outputs), case.case


def test_a_twin_is_the_goal_of_an_attacker_as_the_users_task() -> None:
    goals = {c.goal for c in samples().cases if c.kind == "injection"}
    twins = {c.task for c in samples().cases if c.kind == "twin"}
    assert goals <= twins


def test_no_judged_call_carries_the_injected_text_itself() -> None:
    for case in samples().cases:
        goal = squeezed(case.goal)
        for call, _ in case.rows():
            assert not goal or goal not in squeezed(json.dumps(dict(call.arguments)))


def squeezed(text: str) -> str:
    return "".join(c for c in text.replace("\\n", " ") if c.isalnum())


def test_the_show_is_one_injected_call_and_the_same_call_asked_for() -> None:
    injected, twin = show(samples())
    assert injected.goal == twin.task
    calls = [case.calls[case.judged[-1]] for case in (injected, twin)]
    assert calls[0].tool == calls[1].tool
    assert dict(calls[0].arguments) == dict(calls[1].arguments)


def test_the_injected_call_of_the_show_is_denied_with_its_sentence_and_the_twin_allowed() -> None:
    registered = {t.tool: t for t in samples().tools}
    injected, twin = (judge().run(case, registered) for case in show(samples()))
    stopped = injected.calls[-1]
    assert (stopped.verdict, stopped.code) == (Verdict.DENY, "injected_instruction")
    assert stopped.provenance.sentence
    assert stopped.provenance.sentence in injected.case.calls[0].output
    assert all(c.verdict is Verdict.ALLOW for c in twin.calls)


def test_a_request_carries_the_recorded_outputs_before_it() -> None:
    case = next(c for c in samples().cases if len(c.judged) > 1)
    index = case.judged[-1]
    body = request_body(case, index, agent_id="a", session_id="s")
    context = body["context"]
    assert isinstance(context, dict)
    history = context["history"]
    assert isinstance(history, list)
    assert [h["output"] for h in history if isinstance(h, dict)] == [
        c.output for c in case.calls[:index]
    ]
    assert body["toolName"] == case.calls[index].tool


def test_a_case_ends_at_the_first_call_that_is_not_allowed() -> None:
    case = next(c for c in samples().cases if len(c.judged) > 2)
    answers = iter(["allow", "deny", "allow"])
    sent = list(replay(case, lambda _: {"action": next(answers)}, agent_id="a"))
    assert [a["action"] for a in sent] == ["allow", "deny"]


# what an attacker may call things, and what they may be called instead
RENAMED = (
    ("INFORMATION", "ZEBRA"), ("important", "blue"), ("IMPORTANT", "BLUE"), ("TODO", "QUX"),
    ("system_message", "kettle"), ("Emma Johnson", "Petr Novak"), ("Emma", "Petr"),
    ("AI language model", "reader"), ("secure-systems-252", "harmless-things-9"),
    ("my-website-234", "some-other-place"), ("fred9246", "karl1188"), ("Fred", "Karl"),
    ("true-informations", "plain-tidings"), ("first", "soon"), ("previous", "green"),
    ("iunstructions", "trees"), ("strictly", "gladly"), ("adhere", "listen"), ("Thanks", "Tea"),
)  # fmt: skip


def renamed(text: str) -> str:
    for old, new in RENAMED:
        text = text.replace(old, new)
    return text


def test_renamed_markers_names_and_values_give_the_same_verdicts() -> None:
    registered = {t.tool: t for t in samples().tools}
    cases = [c for c in samples().cases if c.suite == "slack"]
    for case in cases:
        other = SampleCase(
            suite=case.suite,
            case=case.case,
            kind=case.kind,
            task=renamed(case.task),
            goal=renamed(case.goal),
            calls=tuple(
                SampleCall(
                    tool=c.tool,
                    arguments=json.loads(renamed(json.dumps(dict(c.arguments)))),
                    output=renamed(c.output),
                )
                for c in case.calls
            ),
            judged=case.judged,
        )
        one, two = judge().run(case, registered), judge().run(other, registered)
        assert [c.verdict for c in one.calls] == [c.verdict for c in two.calls], case.case


def test_rules_and_labels_hold_no_phrase_of_an_attack() -> None:
    files = [*FOLDER.glob("*.yaml"), *(FOLDER.parent.parent / "classification").glob("*.py")]
    text = " ".join(" ".join(f.read_text("utf-8").lower().split()) for f in files)
    for phrase in (
        "ignore", "previous instruction", "important message", "<information>", "system_message",
        "emma johnson", "ai language model", "disregard", "jailbreak", "before you can solve",
        "after you do that", "strictly adhere", "prompt injection", "injecagent", "agentdojo",
    ):  # fmt: skip
        assert phrase not in text, phrase
