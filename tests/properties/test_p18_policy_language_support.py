# SPDX-License-Identifier: Apache-2.0
"""Feature: ai-agent-security-platform, Property 18: Policy Language Support.

Rego and Cedar give one result on every valid policy input, an allow of either holds what no rule
of the baseline may give up, and no input outside the closed shape reaches an engine.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from agentguard.contracts.errors import EngineError, UndecodableError
from agentguard.contracts.facts import EngineResult
from agentguard.contracts.ports import PolicyEngine
from agentguard.contracts.records import Verdict
from agentguard.policy import cedar_rules, cedar_schema, outcome
from agentguard.policy import document as d
from agentguard.policy.combine import combine
from tests import samples_policy as s
from tests.strategies_policy import documents

_read_document = d.read_document
_project, _read_out, _result_of = cedar_schema.project, outcome.read_out, cedar_rules.result_of


def _only_permits(*args: Any, **kwargs: Any) -> EngineResult:
    return dataclasses.replace(_result_of(*args, **kwargs), denials=())


def _only_denials(text: str) -> EngineResult | None:
    result = _read_out(text)
    return result and dataclasses.replace(result, permits=(), scopes=(), obligations=())


def _without_remedies(text: str) -> EngineResult | None:
    result = _read_out(text)
    return result and dataclasses.replace(
        result, denials=tuple(dataclasses.replace(x, remedy=None) for x in result.denials)
    )


def _every_effect_reads(document: d.Document) -> cedar_schema.Question:
    return _project(document)._replace(effect="read")


def _unreadable_is_harmless(body: bytes) -> d.Document:
    try:
        return _read_document(body)
    except UndecodableError:
        return _read_document(s.table()[0].document)


MUTANTS = (
    ("agentguard.policy.cedar_rules.result_of", _only_permits),
    ("agentguard.policy.outcome.read_out", _only_denials),
    ("agentguard.policy.outcome.read_out", _without_remedies),
    ("agentguard.policy.cedar_schema.project", _every_effect_reads),
    ("agentguard.policy.document.read_document", _unreadable_is_harmless),
)


@given(documents())
def test_two_languages_give_one_result(document: d.Document) -> None:
    body = d.encode_document(document)
    rego, cedar = s.rego().evaluate(body), s.cedar().evaluate(body)
    assert rego == cedar
    if combine(rego).verdict is Verdict.ALLOW:
        assert_allow_gives_nothing_up(document)


def assert_allow_gives_nothing_up(document: d.Document) -> None:
    """What a silent wrong allow would break, said without the rules' own words."""
    context, provenance = document.context, document.context.provenance
    assert not context.controls.kill_switch
    assert context.classification.risk != "critical"
    assert document.action.properties.registered
    assert document.subject.properties.tenant == document.resource.properties.tenant
    if document.action.properties.side_effect == "read":
        return
    assert not provenance.decisive_addressed
    if context.approval.state != "approved":
        assert provenance.asked_by_task
        assert context.classification.risk in ("low", "medium")
    else:
        assert provenance.asked_by_task or provenance.instructed_by.value != "untrusted"


JUNK = st.sampled_from((None, True, -1, 1.5, 10**20, "", "x" * 1_100, [], ["x", 1], {}, {"a": 1}))


@given(documents(), st.data())
def test_input_outside_the_closed_shape_reaches_no_engine(
    document: d.Document, data: st.DataObject
) -> None:
    plain: Any = json.loads(d.encode_document(document))
    node = plain
    while True:
        key = data.draw(st.sampled_from(sorted(node)))
        if not isinstance(node[key], dict) or data.draw(st.booleans()):
            break
        node = node[key]
    match data.draw(st.sampled_from(("drop", "junk", "extra"))):
        case "drop":
            del node[key]
        case "junk":
            node[key] = data.draw(JUNK)
        case _:
            node["__extn"] = {"fn": "ip", "arg": "127.0.0.1"}
    body = json.dumps(plain).encode()
    answers = [answer_of(s.rego(), body), answer_of(s.cedar(), body)]
    if is_valid(plain):
        assert answers[0] == answers[1] != "refused"
    else:
        assert answers == ["refused", "refused"]


def answer_of(engine: PolicyEngine, body: bytes) -> EngineResult | str | None:
    try:
        return engine.evaluate(body)
    except EngineError:
        return "refused"


def is_valid(plain: Any) -> bool:
    """Returns whether the types read it and write the same back: nothing missing, more, coerced."""
    try:
        document = d._DECODER.decode(json.dumps(plain))
    except msgspec.MsgspecError:
        return False
    return json.loads(d._ENCODER.encode(document)) == plain
