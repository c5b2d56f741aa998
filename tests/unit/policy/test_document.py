# SPDX-License-Identifier: Apache-2.0
"""The policy input: canonical, closed, bounded, from registrations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentguard.bounds import POLICY_DOCUMENT_BYTES_MAX
from agentguard.contracts.commands import Attestation, Registration, SideEffect
from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.facts import ExtractedFacts, HistoryFacts, Instructor, Origin
from agentguard.contracts.records import Risk
from agentguard.contracts.strict_json import encode_canonical, parse_strict
from agentguard.policy.document import INTEGER_MAX, read_document
from tests import samples_policy as s


def made(**changes: Any) -> Any:
    return json.loads(s.document(**changes))


def test_document_is_canonical_json() -> None:
    body = s.document(
        agent=s.agent(owner='te"am\n\x01\u00e9\u2028/', roles=("b", "a")),
        extracted=ExtractedFacts(paths=("/a\\b\t",), recipients=("\U0001f600",)),
    )
    assert encode_canonical(parse_strict(body)) == body


def test_identity_comes_from_the_registrations() -> None:
    subject = made(agent=s.agent(attestation=Attestation.VERIFIED))["subject"]
    assert subject["id"] == "agent-7"
    assert subject["properties"]["attestation"] == "verified"


@pytest.mark.parametrize("field", ["tenant", "agent_id", "tool"])
def test_request_about_something_else_than_registered_is_refused(field: str) -> None:
    with pytest.raises(UndecodableError, match="differ"):
        s.document(request=s.request(**{field: "other"}))


def test_time_is_given_as_utc_hour_and_iso_weekday() -> None:
    monday_noon = made(decided_at_ms=1_796_040_000_999)["context"]
    assert (monday_noon["time"], monday_noon["hour"], monday_noon["weekday"]) == (
        1_796_040_000,
        12,
        1,
    )
    epoch = made(decided_at_ms=0)["context"]
    assert (epoch["time"], epoch["hour"], epoch["weekday"]) == (0, 0, 4)


def test_unlabelled_tool_counts_as_write_and_names_no_operation() -> None:
    properties = made(tool=s.tool(side_effect=SideEffect.UNKNOWN, operation=""))["action"][
        "properties"
    ]
    assert (properties["side_effect"], properties["operation"]) == ("write", "write")


def test_unknown_risk_counts_as_critical() -> None:
    seen = made(classification=s.classification(risk=Risk.UNKNOWN))["context"]["classification"]
    assert (seen["risk"], seen["risk_ord"]) == ("critical", 3)


def test_words_have_their_ordinal() -> None:
    context = made(
        classification=s.classification(risk=Risk.HIGH, confidence_ppm=870_050),
        provenance=s.provenance(decisive=Origin.UNTRUSTED, instructed_by=Instructor.NONE),
    )["context"]
    assert context["classification"]["risk_ord"] == 2
    assert context["classification"]["confidence_bp"] == 8_700
    assert context["provenance"]["decisive_ord"] == 2


def test_tool_that_is_not_enabled_is_not_registered() -> None:
    action = made(tool=s.tool(status=Registration.PENDING))["action"]
    assert action["properties"]["registered"] is False


def test_tool_without_tenant_belongs_to_the_agents_own() -> None:
    assert made(tool=s.tool(tenant=""))["resource"]["properties"]["tenant"] == "acme"
    assert made(tool=s.tool(tenant="other"))["resource"]["properties"]["tenant"] == "other"


def test_protected_resource_is_named_and_needs_a_grant() -> None:
    resource = made(tool=s.tool(resource="https://mail.example/api"))["resource"]
    assert resource["id"] == "https://mail.example/api"
    assert resource["properties"]["protected"] is True
    assert made()["resource"]["properties"]["protected"] is False


def test_user_counts_as_delegation() -> None:
    subject = made(request=s.request(on_behalf_of="user-7"))["subject"]["properties"]
    assert subject["on_behalf_of"] == {"type": "user", "id": "user-7"}
    assert subject["delegation_depth"] == 1
    assert made()["subject"]["properties"]["on_behalf_of"] == {"type": "none", "id": ""}


def test_kill_and_destination_are_facts() -> None:
    context = made(killed=True, extracted=ExtractedFacts(hosts=("a.example", "127.0.0.1")))[
        "context"
    ]
    assert context["controls"]["kill_switch"] is True
    assert context["facts"]["destination"] == "loopback"


@pytest.mark.parametrize(
    "changes",
    [
        {"request": s.request(session_id="x" * 201)},
        {"request": s.request(session_id="\ud800")},
        {"request": s.request(environment="x" * 201)},
        {"request": s.request(on_behalf_of="x" * 201)},
        {"agent": s.agent(roles=("r",) * 257)},
        {"tool": s.tool(operation="x" * 201)},
        {"tool": s.tool(categories=("x" * 201,))},
        {"extracted": ExtractedFacts(amount_minor=INTEGER_MAX + 1)},
        {"extracted": ExtractedFacts(amount_minor=-1)},
        {"extracted": ExtractedFacts(amount_minor=2**70)},
        {"extracted": ExtractedFacts(paths=("/" + "x" * 1_024,))},
        {"extracted": ExtractedFacts(hosts=tuple(f"h{i}.example" for i in range(257)))},
        {"extracted": ExtractedFacts(paths=tuple("/" + f"{i:01000}" for i in range(90)))},
        {"history": HistoryFacts(calls_1m=-1)},
        {"history": HistoryFacts(seen=("",) * 257)},
        {"classification": s.classification(confidence_ppm=1_000_100)},
        {"classification": s.classification(confidence_ppm=-1)},
        {"decided_at_ms": -1},
    ],
    ids=lambda c: next(iter(c)),
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UndecodableError):
        s.document(**changes)


def test_name_that_is_empty_or_too_long_is_refused() -> None:
    for name in ("", "t" * 201):
        with pytest.raises(UndecodableError):
            s.document(tool=s.tool(tool=name), request=s.request(tool=name))


def hostile() -> list[bytes]:
    """Returns documents that a careless reader would take: one change each to a valid one."""
    plain = made()
    context, facts = plain["context"], plain["context"]["facts"]
    texts = [
        b"",
        b"null",
        b"[]",
        b"\xff",
        s.document()[:-1],
        s.document() + b"{}",
        b"[" * 100_000,
        b'{"schema":"agentguard.policy.input/1"}',
        s.document().replace(b'"registered":true', b'"registered":1'),
        s.document().replace(b'"registered":true', b'"registered":"true"'),
        s.document().replace(b'"calls_1m":0', b'"calls_1m":0.5'),
        s.document().replace(b'"calls_1m":0', b'"calls_1m":null'),
        s.document().replace(b'"calls_1m":0', b'"calls_1m":false'),
        s.document().replace(b'"calls_1m":0', b'"calls_1m":NaN'),
        s.document().replace(b'"calls_1m":0', b'"calls_1m":1e400'),
        s.document().replace(b'"calls_1m":0', b'"calls_1m":9007199254740992'),
        s.document().replace(b'"risk_ord":1', b'"risk_ord":0'),
        s.document().replace(b'"decisive_ord":0', b'"decisive_ord":3'),
        s.document().replace(b'"side_effect":"send"', b'"side_effect":"READ"'),
        s.document().replace(b'"side_effect":"send"', b'"side_effect":"unknown"'),
        s.document().replace(b"policy.input/1", b"policy.input/2"),
        s.document().replace(b'"type":"agent"', b'"type":"user"'),
        json.dumps(plain | {"extra": 1}).encode(),
        json.dumps(plain | {"context": context | {"approved": True}}).encode(),
        json.dumps(
            plain | {"context": context | {"facts": facts | {"__entity": {"type": "Agent"}}}}
        ).encode(),
        json.dumps({k: v for k, v in plain.items() if k != "subject"}).encode(),
        b" " * POLICY_DOCUMENT_BYTES_MAX + s.document(),
    ]
    assert len(set(texts)) == len(texts), "a change changed nothing"
    return texts


@pytest.mark.parametrize("body", hostile(), ids=lambda b: f"{b[:12]!r}-{len(b)}")
def test_hostile_document_is_refused(body: bytes) -> None:
    with pytest.raises(UndecodableError):
        read_document(body)


def test_refusal_names_the_place_and_never_the_value() -> None:
    with pytest.raises(UndecodableError) as caught:
        s.document(request=s.request(session_id="s3cret-" + "x" * 300))
    assert "session_id" in str(caught.value)
    assert "s3cret" not in str(caught.value)
