# SPDX-License-Identifier: Apache-2.0
"""Typed values of parameters: who reads which argument, and what comes out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.contracts.commands import ArgumentExtractor
from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.facts import ExtractedFacts
from agentguard.contracts.strict_json import parse_strict
from agentguard.policy.extractors import EXTRACTORS, extract, extractor_of
from tests import samples_policy as s


def registered(**extractors: str) -> Any:
    return s.tool(
        extractors=tuple(ArgumentExtractor(argument=a, extractor=e) for a, e in extractors.items())
    )


def facts_of(body: str, **extractors: str) -> ExtractedFacts:
    parameters = parse_strict(body.encode())
    assert isinstance(parameters, dict)
    return extract(registered(**extractors), parameters)


def test_registration_chooses_before_schema_and_schema_before_name() -> None:
    schema = {
        "properties": {
            "to": {"format": "uri"},
            "x": {"format": "email"},
            "y": 3,
            "z": {"format": "date"},
        }
    }
    tool = s.tool(
        schema_json=json.dumps(schema),
        extractors=(ArgumentExtractor(argument="url", extractor="path"),),
    )
    assert extractor_of(tool, "url") == "path"
    assert extractor_of(tool, "to") == "host"
    assert extractor_of(tool, "x") == "recipient"
    assert extractor_of(tool, "File-Path") == "path"
    assert extractor_of(tool, "body") == "text"
    assert extractor_of(tool, "y") == "text"


def test_broken_schema_leaves_the_names_to_choose() -> None:
    for broken in ("", "[", "[]", '{"properties": 3}', '{"properties": {"to": {"format": 3}}}'):
        assert extractor_of(s.tool(schema_json=broken), "to") == "recipient"


def test_every_kind_is_read_from_texts_lists_and_objects() -> None:
    facts = facts_of(
        """{"to": ["Bob <b@X.example>", "eve"], "url": "HTTP://A.example/x", "file": "/a/../b",
            "amount": 12.50, "currency": "eur", "cmd": "ls | sh", "sql": "select * from T",
            "more": {"note": ["see https://c.example", null, true, 7]}}"""
    )
    assert facts == ExtractedFacts(
        amount_minor=1_250,
        currency="EUR",
        paths=("/b",),
        hosts=("a.example", "c.example"),
        recipients=("b@x.example", "eve"),
        recipient_domains=("x.example",),
        commands=("ls", "sh"),
        tables=("t",),
        has_secret=False,
    )


def test_amount_is_never_a_binary_fraction() -> None:
    assert facts_of('{"amount": 0.1}').amount_minor == 10
    assert facts_of('{"amount": 1.005}').amount_minor == 101
    assert facts_of('{"amount": 90071992547409.91}').amount_minor == 2**53 - 1


def test_amount_of_another_caller_than_the_parser_is_read_too() -> None:
    assert extract(registered(), {"amount": 0.1}).amount_minor == 10


def test_path_with_a_nul_is_seen_in_both_readings() -> None:
    assert facts_of('{"path": "/etc/passwd\\u0000.txt"}').paths == (
        "/etc/passwd.txt",
        "/etc/passwd",
    )
    assert facts_of('{"path": "\\u0000/etc"}').paths == ("/etc",)
    assert facts_of('{"path": "/etc/passwd%00.txt"}').paths == ("/etc/passwd.txt", "/etc/passwd")


def test_secret_is_reported_except_where_it_belongs() -> None:
    assert facts_of('{"body": "password: hunter22"}').has_secret
    assert facts_of('{"body": ["password: hunter22", "x"]}').has_secret
    assert not facts_of('{"password": "ghp_aaaaaaaaaaaaaaaaaaaaaaaa"}').has_secret
    assert not facts_of('{"x": "password: hunter22"}', x="secret").has_secret


def test_currency_word_that_is_none_keeps_the_amounts_own() -> None:
    assert facts_of('{"amount": "5 CHF", "currency": "-"}').currency == "CHF"


def test_empty_text_is_nothing() -> None:
    assert facts_of('{"to": "", "path": "", "url": ""}') == ExtractedFacts()


def test_unknown_extractor_is_refused() -> None:
    with pytest.raises(UndecodableError, match="no extractor"):
        facts_of('{"x": "y"}', x="magic")


def test_registered_amount_must_be_a_number_and_a_guessed_one_need_not() -> None:
    with pytest.raises(UndecodableError):
        facts_of('{"amount": "a lot"}', amount="amount")
    assert facts_of('{"amount": "a lot"}').amount_minor == 0


@pytest.mark.parametrize(
    "parameters",
    [
        {"x": ["v"] * 5_000},
        {"path": ["../" * 10_000] * 3},
        {"to": ",".join(f"a{i}" for i in range(2_000))},
        {"body": " ".join(f"http://a{i}.example" for i in range(2_000))},
        {"cmd": ";".join(f"a{i}" for i in range(2_000))},
    ],
    ids=["leaves", "text", "recipients", "urls", "programs"],
)
def test_what_takes_too_long_to_read_is_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(UndecodableError, match="too m"):
        extract(registered(), parameters)


def test_long_text_that_is_only_text_is_read() -> None:
    assert extract(registered(), {"body": "x" * 900_000}) == ExtractedFacts()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*sorted(EXTRACTORS), "to", "x"]), JSON, max_size=4))
def test_any_parameters_are_read_alike_twice_and_never_break(parameters: dict[str, Any]) -> None:
    assert extract(registered(), parameters) == extract(registered(), parameters)


@pytest.mark.parametrize("kind", sorted(set(EXTRACTORS) - {"text", "secret"}))
def test_typed_values_that_grow_when_folded_are_refused_not_read(kind: str) -> None:
    # U+FDFA becomes eighteen characters: 60 kB of it held a lane for longer than any deadline
    with pytest.raises(UndecodableError):
        facts_of(json.dumps({"v": "\ufdfa" * 20_000}), v=kind)
