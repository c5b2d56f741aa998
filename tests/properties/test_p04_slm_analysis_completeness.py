"""Feature: ai-agent-security-platform, Property 4: SLM Analysis Completeness.

Every offset that expects a decision, junk included, gets a core whose classification conforms to
the schema; where the policy was asked, it is one that the classifier really made.
"""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agentguard.classification.rules import MODEL
from agentguard.contracts.codes import Code
from agentguard.contracts.records import (
    Classification,
    ClassificationSource,
    DecisionCore,
    Failure,
    Mode,
    Risk,
    SectionName,
    Verdict,
)
from agentguard.decision import finding
from tests import worlds as w

TOOLS = ("notes.read", "web.read", "mail.send", "bank.pay", "nothing.known", "")
VALUES = st.one_of(
    st.text(max_size=30), st.integers(-(10**12), 10**12), st.booleans(), st.none(),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
)  # fmt: skip
NAMES = st.sampled_from(("name", "url", "to", "body", "payee", "amount", "currency", "x"))
PARAMETERS = st.one_of(
    st.dictionaries(NAMES, VALUES, max_size=4).map(lambda p: json.dumps(p).encode()),
    st.fixed_dictionaries({"name": st.text(max_size=20)}).map(lambda p: json.dumps(p).encode()),
    st.fixed_dictionaries({"to": st.text(max_size=20), "body": st.text(max_size=40)}).map(
        lambda p: json.dumps(p).encode()
    ),
    st.binary(max_size=20),
)
CALLS = st.one_of(
    st.tuples(st.just("notes.read"), st.just(b'{"name":"plan"}')),
    st.tuples(st.just("mail.send"), st.just(b'{"to":"bob@x.com","body":"hi"}')),
    st.tuples(st.sampled_from(TOOLS), PARAMETERS),
)
# decided before the classifier's turn
UNCLASSIFIED = {
    Code.MALFORMED, Code.RECORD_MISMATCH, Code.DUPLICATE_RECORD, Code.CLOCK_SKEW, Code.DEADLINE,
    Code.CONTROL_STALE, Code.CLASSIFIER_FAILED, Code.LANE_FAILURE, Code.CHUNKS_MISSING,
    Code.CONTROL_OFFSET_UNKNOWN, Code.UNKNOWN_TOOL, Code.INVALID_PARAMETERS,
}  # fmt: skip


def conforms(made: Classification) -> bool:
    return (
        made.risk in (Risk.LOW, Risk.MEDIUM, Risk.HIGH, Risk.CRITICAL)
        and made.recommended in (Verdict.ALLOW, Verdict.DENY, Verdict.ESCALATE, Verdict.TRANSFORM)
        and made.source in (ClassificationSource.NONE, ClassificationSource.RULES)
        and 0 <= made.confidence_ppm <= 1_000_000
        and bool(made.intent and made.model and made.reasons)
        and all(made.reasons)
    )


@given(
    call=CALLS,
    task=st.text(max_size=60),
    output=st.text(max_size=120),
    mode=st.sampled_from((Mode.LIVE, Mode.LIVE, Mode.LIVE, Mode.SHADOW)),
    late=st.booleans(),
    failure=st.sampled_from((Failure.NONE, Failure.NONE, Failure.NONE, Failure.ENGINE)),
    junk=st.binary(max_size=12),
)
def test_every_core_carries_a_classification_that_conforms(
    call: tuple[str, bytes],
    task: str,
    output: str,
    mode: Mode,
    late: bool,
    failure: Failure,
    junk: bytes,
) -> None:
    tool, parameters = call
    bench = w.Bench(control=w.shared_control())
    bench.put(w.outcome(1, output))
    sections = (
        w.section(SectionName.TASK, task.encode("utf-8", "replace")),
        w.section(SectionName.PARAMETERS, parameters),
    )
    made = w.request(2, tool=tool, sections=sections, mode=mode, deadline_ms=w.NOW + 1 - late)
    cores: list[DecisionCore] = [bench.decide(made, failure=failure), bench.decide(junk)]
    for core in cores:
        again = w.CODEC.decode(w.CODEC.encode(core))
        assert isinstance(again, DecisionCore)
        classification = again.observations.classification
        assert conforms(classification), classification
        assert classification == core.observations.classification
        asked = core.codes[0] not in UNCLASSIFIED
        assert asked == (classification.source is ClassificationSource.RULES)
        assert not asked or classification.model == MODEL


UNKNOWN = Classification(
    risk=Risk.UNKNOWN,
    intent="",
    recommended=Verdict.UNKNOWN,
    confidence_ppm=0,
    reasons=(),
    model="",
    source=ClassificationSource.NONE,
)
refuse = finding.refuse

MUTANTS = (
    (
        "agentguard.decision.finding.refuse",
        lambda *a, **k: replace(refuse(*a, **k), classification=UNKNOWN),
    ),
    ("agentguard.classification.rules.classify", lambda *_, **__: finding.NOT_CLASSIFIED),
)
