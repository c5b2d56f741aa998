# SPDX-License-Identifier: Apache-2.0
"""What a newcomer is shown first must be what the documents promise."""

from __future__ import annotations

from agentguard.contracts.records import Verdict
from agentguard.local.detection import TENANT, Judge
from agentguard.local.sample_traffic import load, show

SAMPLES = load(TENANT)
TOOLS = {tool.tool: tool for tool in SAMPLES.tools}


def test_newcomer_is_shown_an_injected_call_denied_and_its_twin_allowed() -> None:
    injected, twin = show(SAMPLES)
    judge = Judge(vouched=False, release=None)
    stopped = judge.run(injected, TOOLS).calls[-1]
    assert stopped.verdict is Verdict.DENY
    assert stopped.code == "injected_instruction"
    assert judge.run(twin, TOOLS).calls[-1].verdict is Verdict.ALLOW


def test_newcomer_is_shown_the_same_call_twice() -> None:
    injected, twin = show(SAMPLES)
    assert injected.calls[injected.judged[-1]].tool == twin.calls[twin.judged[-1]].tool
    assert injected.goal == twin.task
    assert injected.task != twin.task
