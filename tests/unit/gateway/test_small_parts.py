# SPDX-License-Identifier: Apache-2.0
"""The gateway's small parts, each by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentguard.contracts.codes import Code
from agentguard.contracts.hashing import section_commitment
from agentguard.contracts.records import Section, SectionName, Transform
from agentguard.contracts.sections import make_section
from agentguard.contracts.strict_json import parse_strict
from agentguard.gateway.compose import id_text, keyed_id, new_request_id
from agentguard.gateway.epochs import begin_life, end_life
from agentguard.gateway.known import KnownOutcomes
from agentguard.gateway.reading import BodyMeter, check_headers
from agentguard.gateway.refusals import (
    RETRYABLE,
    STATUS,
    RefusedError,
    error_body,
    iso_time,
    status_of,
)
from agentguard.gateway.transforming import transformed
from agentguard.telemetry import GATEWAY_ANSWERS, GATEWAY_SECONDS, Metrics

# -- ids -----------------------------------------------------------------------------------------


def test_request_ids_are_uuids_of_version_7_in_time_order() -> None:
    first = new_request_id(1_000, b"\xff" * 10)
    second = new_request_id(1_001, b"\x00" * 10)
    assert first < second
    assert id_text(first) == "00000000-03e8-7fff-bfff-ffffffffffff"
    assert id_text(second) == "00000000-03e9-7000-8000-000000000000"


def test_keyed_ids_depend_on_the_key_and_on_where_a_part_ends() -> None:
    assert keyed_id(b"k" * 32, b"l", b"ab", b"c") != keyed_id(b"k" * 32, b"l", b"a", b"bc")
    assert keyed_id(b"k" * 32, b"l", b"a") != keyed_id(b"q" * 32, b"l", b"a")
    assert keyed_id(b"k" * 32, b"l", b"a") != keyed_id(b"k" * 32, b"m", b"a")


# -- known outcomes ------------------------------------------------------------------------------


def test_the_longest_unused_outcome_of_an_agent_is_forgotten_first() -> None:
    known = KnownOutcomes()
    for i in range(256):
        known.add(b"a", i.to_bytes(2, "big"))
    assert known.has(b"a", bytes(2))
    known.add(b"a", b"new")
    assert known.has(b"a", bytes(2))
    assert not known.has(b"a", (1).to_bytes(2, "big"))
    assert len(known) == 256


def test_all_known_outcomes_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentguard.gateway.known.OUTCOMES_KNOWN_MAX", 10)
    known = KnownOutcomes()
    for agent in range(6):
        for i in range(3):
            known.add(bytes([agent]), bytes([i]))
    assert len(known) <= 10
    assert known.has(bytes([5]), bytes([2]))
    assert not known.has(bytes([0]), bytes([0]))


def test_a_dropped_outcome_is_unknown_again() -> None:
    known = KnownOutcomes()
    known.add(b"a", b"x")
    known.drop(b"a", b"x")
    known.drop(b"b", b"x")
    assert not known.has(b"a", b"x")
    assert len(known) == 0


# -- epochs --------------------------------------------------------------------------------------


def test_a_first_life_has_no_previous_one(tmp_path: Path) -> None:
    identity = begin_life(tmp_path / "g" / "door.json", "door", 1_000)
    assert (identity.epoch, identity.previous_epoch) == (1_000, None)


def test_a_clean_end_is_remembered_and_an_unclean_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "door.json"
    first = begin_life(path, "door", 1_000)
    end_life(path, first, 41)
    second = begin_life(path, "door", 2_000)
    third = begin_life(path, "door", 3_000)
    assert (second.previous_epoch, second.previous_last_sequence) == (1_000, 41)
    assert (third.previous_epoch, third.previous_last_sequence) == (2_000, None)


def test_an_epoch_rises_even_where_the_clock_does_not(tmp_path: Path) -> None:
    path = tmp_path / "door.json"
    assert begin_life(path, "door", 5_000).epoch == 5_000
    assert begin_life(path, "door", 10).epoch == 5_001


def test_an_unreadable_note_is_an_unknown_life(tmp_path: Path) -> None:
    path = tmp_path / "door.json"
    path.write_bytes(b"{")
    assert begin_life(path, "door", 7).previous_epoch is None


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code", [*STATUS, "internal", "unknown_path", "unknown_request", "pending"]
)
def test_every_refusal_says_deny_with_code_reason_and_time(code: str) -> None:
    body = parse_strict(error_body(code, ("x",), request_id="r", now_ms=0))
    assert isinstance(body, dict)
    assert (body["action"], body["code"], body["requestId"]) == ("deny", code, "r")
    assert body["reason"]
    assert body["timestamp"] == "1970-01-01T00:00:00.000Z"
    error = body["error"]
    assert isinstance(error, dict)
    assert error["retryable"] is (code in RETRYABLE)
    assert status_of(code) >= 202


def test_a_decided_code_is_status_200() -> None:
    assert {status_of(c) for c in (Code.KILLED, Code.UNKNOWN_TOOL, Code.ALLOWED)} == {200}


def test_times_are_written_in_utc_with_milliseconds() -> None:
    assert iso_time(1_700_000_000_123) == "2023-11-14T22:13:20.123Z"


# -- bodies --------------------------------------------------------------------------------------


def test_unfinished_bodies_are_bounded_in_all() -> None:
    meter = BodyMeter()
    meter.take(67_108_864)
    with pytest.raises(RefusedError) as refused:
        meter.take(1)
    assert refused.value.code == Code.SHED


@pytest.mark.parametrize("length", [b"-1", b"x", b"1048577", b"9" * 30, b""])
def test_a_length_that_is_no_sensible_number_is_refused(length: bytes) -> None:
    with pytest.raises(RefusedError):
        check_headers([(b"content-type", b"application/json"), (b"content-length", length)])


@pytest.mark.parametrize(
    "kind",
    [b"application/json", b"Application/JSON; charset=UTF-8", b'application/json;charset="utf-8"'],
)
def test_json_is_recognised(kind: bytes) -> None:
    check_headers([(b"content-type", kind), (b"content-length", b"1048576")])


# -- transforms ----------------------------------------------------------------------------------

SALT = bytes(range(32))


def a_transform(patch: bytes, result: bytes) -> Transform:
    return Transform(
        patch=make_section(SectionName.TRANSFORM, patch, SALT),
        result_commitment=section_commitment(SALT, result),
    )


def test_a_patch_is_applied_and_must_give_what_was_decided() -> None:
    parameters = parse_strict(b'{"to":["a","b"],"n":1.50,"deep":{"x/y":1}}')
    assert isinstance(parameters, dict)
    result = b'{"deep":{"x/y":2},"n":1.50,"to":["a","c"]}'
    made = transformed(parameters, a_transform(b'{"/to/1":"c","/deep/x~1y":2}', result))
    assert made == result
    assert parameters["to"] == ["a", "b"]


@pytest.mark.parametrize(
    "patch",
    [
        b'{"/to":"c"}',
        b'{"/new":"c"}',
        b'{"/a/0":1}',
        b'{"to":"c"}',
        b'{"/list/2":1}',
        b'{"/list/-1":1}',
        b"[]",
        b"{",
    ],
)
def test_a_patch_that_does_not_fit_or_gives_something_else_is_none(patch: bytes) -> None:
    assert transformed({"to": "a", "list": [1, 2]}, a_transform(patch, b"{}")) is None


def test_a_patch_that_differs_from_its_commitment_is_none() -> None:
    section = make_section(SectionName.TRANSFORM, b"{}", SALT)
    forged = Section(name=section.name, commitment=bytes(32), salt=section.salt, body=section.body)
    made = Transform(patch=forged, result_commitment=section_commitment(SALT, b"{}"))
    assert transformed({}, made) is None


# -- metrics -------------------------------------------------------------------------------------


def test_labels_cannot_forge_a_line() -> None:
    metrics = Metrics()
    metrics.count(GATEWAY_ANSWERS, 'x"\n\\', "code")
    line = 'agentguard_gateway_answers_total{action="x\\"\\n\\\\",code="code"} 1\n'
    assert line in metrics.render()


def test_a_histogram_counts_up_to_its_edges() -> None:
    metrics = Metrics()
    for seconds in (0.001, 0.002, 40.0):
        metrics.observe(GATEWAY_SECONDS, seconds)
    text = metrics.render()
    assert 'decision_seconds_bucket{le="0.001"} 1\n' in text
    assert 'decision_seconds_bucket{le="0.0025"} 2\n' in text
    assert 'decision_seconds_bucket{le="+Inf"} 3\n' in text
    assert "decision_seconds_count 3\n" in text
