# SPDX-License-Identifier: Apache-2.0
"""Golden inputs: canonical, valid, and able to find a sick engine."""

from __future__ import annotations

import pytest

from agentguard.contracts.errors import EngineError, ReleaseError
from agentguard.contracts.facts import EngineResult
from agentguard.contracts.records import Verdict
from agentguard.policy.document import read_document
from agentguard.policy.golden import golden_inputs, is_sound
from tests import samples_policy as s


class Sick:
    """An engine that answers everything alike, or not at all."""

    def __init__(self, answer: EngineResult | EngineError | None) -> None:
        self.answer = answer
        self.identity = "sick/1"

    def evaluate(self, document: bytes) -> EngineResult | None:
        if isinstance(self.answer, EngineError):
            raise self.answer
        return self.answer


YES = EngineResult(permits=("x",), denials=(), scopes=(), obligations=())


def test_golden_inputs_are_valid_and_cover_three_verdicts() -> None:
    inputs = golden_inputs(s.baseline())
    assert {verdict for _, verdict in inputs} == {Verdict.ALLOW, Verdict.DENY, Verdict.ESCALATE}
    for body, _ in inputs:
        read_document(body)


def test_sound_engines_pass() -> None:
    inputs = golden_inputs(s.baseline())
    assert is_sound(s.rego(), inputs)
    assert is_sound(s.cedar(), inputs)


@pytest.mark.parametrize("answer", [None, YES, EngineError("broken")], ids=["none", "yes", "error"])
def test_sick_engine_is_found(answer: EngineResult | EngineError | None) -> None:
    assert not is_sound(Sick(answer), golden_inputs(s.baseline()))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"verdict": "allow"', '"verdict": "perhaps"'),
        ('"risk_ord": 0', '"risk_ord": 2'),
        ('"description"', '"remark"'),
        ('"hour"', '"hours"'),
        ("{", "["),
    ],
)
def test_golden_input_that_does_not_fit_is_refused(old: str, new: str) -> None:
    text = s.baseline_files()["golden/read.json"].decode()
    assert old in text
    with pytest.raises(ReleaseError, match=r"golden/read\.json"):
        golden_inputs(s.release(golden__read_json=text.replace(old, new)))
