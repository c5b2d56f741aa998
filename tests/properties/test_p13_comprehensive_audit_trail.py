# SPDX-License-Identifier: Apache-2.0
"""Feature: ai-agent-security-platform, Property 13: Comprehensive Audit Trail

Every request offset maps to exactly one effective decision or is reported; changing any bit of any
field of any sealed record, or dropping, adding, swapping, replaying one, fails verification.
The attacker here writes every file of the export, the list of leaf hashes and the manifest
included, and holds every key but the sealing key.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterator
from enum import Enum
from functools import cache
from hashlib import sha256
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.mldsa_signer import MlDsaSigner
from agentguard.adapters.trails import MemoryTrail
from agentguard.audit.export import (
    CHECKPOINTS,
    MANIFEST,
    encode_manifest,
    frame_value,
    hashes_name,
    leaves_name,
    parse_manifest,
    read_values,
)
from agentguard.audit.findings import Report
from agentguard.audit.merkle import Frontier
from agentguard.audit.note import Head, sign_head
from agentguard.audit.trust import parse_policy
from agentguard.cli.verify import Outside, verify_folder
from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.hashing import leaf_hash
from agentguard.contracts.ports import TopicPartition
from agentguard.contracts.records import Checkpoint, Decision
from agentguard.contracts.topics import Topic
from tests import samples_audit as samples
from tests.trails import SealedPlatform, busy_trail, outcome

CODEC = AvroCodec()
INSIDER = MlDsaSigner.from_seed(b"i" * 32)


def _accept_any_root(self: Any) -> None:
    while self._at < len(self._heads) and self._heads[self._at][0] == self._tree.size:
        self.last_good = self._heads[self._at][0]
        self._at += 1


MUTANTS = (
    ("agentguard.audit.leaves.HeadCursor._check", _accept_any_root),
    ("agentguard.audit.leaves.LeafCheck._compare_sizes", lambda self, size: None),
    (
        "agentguard.audit.note._check_signature",
        lambda key, head, raw, verifier: int.from_bytes(raw[:8], "big"),
    ),
    (
        "agentguard.audit.completeness.CompletenessCheck._report_undecided",
        lambda self: None,
    ),
    ("agentguard.contracts.counting.decision_counts", lambda **_: True),
    (
        "agentguard.audit.completeness.CompletenessCheck._mark_answer",
        lambda self, request_offset, flag, offset: None,
    ),
)

# -- every field of every record -------------------------------------------------------------------


def other(value: Any) -> Iterator[Any]:
    """Yields values that differ from `value` in one place, whatever it is."""
    match value:
        case Enum():
            yield next(m for m in type(value) if m is not value)
        case bool():
            yield not value
        case int():
            yield value + 1
        case str():
            yield value + "x"
        case bytes():
            yield from _inner_frames(value)
            if value:
                yield bytes([value[0] ^ 1]) + value[1:]
        case tuple():
            if value:
                yield value[:-1]
                yield from (
                    (*value[:i], o, *value[i + 1 :]) for i, v in enumerate(value) for o in other(v)
                )
        case None:
            return
        case _:
            for _name, changed in fields_of(value):
                yield changed


def _inner_frames(value: bytes) -> Iterator[bytes]:
    try:
        inner = CODEC.decode(value)
    except UndecodableError:
        return
    for _, changed in fields_of(inner):
        yield CODEC.encode(changed)


def fields_of(record: Any) -> Iterator[tuple[str, Any]]:
    """Yields (field, record with another value there) for every field at every depth."""
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        for changed in other(value):
            yield field.name, dataclasses.replace(record, **{field.name: changed})


@cache
def places() -> tuple[tuple[str, int], ...]:
    manifest = parse_manifest(busy_trail()[MANIFEST])
    return tuple((e.topic, e.partition) for e in manifest.partitions if e.size)


def values_at(place: tuple[str, int]) -> list[bytes]:
    stream = MemoryTrail(busy_trail()).open(leaves_name(*place))
    return [v or b"" for v in read_values(stream)]


@cache
def all_changes() -> tuple[tuple[tuple[str, int], int, str, bytes], ...]:
    """Every (partition, offset, field, changed frame); one record of each kind is enough."""
    found = []
    seen: set[str] = set()
    for place in places():
        for offset, value in enumerate(values_at(place)):
            try:
                record = CODEC.decode(value)
            except UndecodableError:
                continue
            kind = type(record).__name__ + (str(offset) if place[0] == Topic.CONTROL else "")
            if kind in seen:
                continue
            seen.add(kind)
            for name, changed in fields_of(record):
                frame = CODEC.encode(changed)
                if frame != value:
                    found.append((place, offset, f"{kind}.{name}", frame))
    return tuple(found)


# -- the attacker ----------------------------------------------------------------------------------


def rewritten(place: tuple[str, int], values: list[bytes], *, hashes: bool) -> dict[str, bytes]:
    """The export with other records in one partition, and the list of leaf hashes to fit."""
    files = dict(busy_trail())
    files[leaves_name(*place)] = b"".join(frame_value(v) for v in values)
    if hashes:
        files[hashes_name(*place)] = b"".join(leaf_hash(v) for v in values)
    return files


def with_manifest(files: dict[str, bytes], place: tuple[str, int], head: Head) -> dict[str, bytes]:
    """The export with a manifest that claims another head and fits all files."""
    manifest = parse_manifest(files[MANIFEST])
    entries = tuple(
        dataclasses.replace(e, size=head.size, root=head.root)
        if (e.topic, e.partition) == place
        else e
        for e in manifest.partitions
    )
    digests = {name: sha256(files[name]).digest() for name in manifest.files}
    files[MANIFEST] = encode_manifest(
        dataclasses.replace(manifest, partitions=entries, files=digests)
    )
    return files


def forged(place: tuple[str, int], values: list[bytes], how: str) -> dict[str, bytes]:
    """The whole partition rewritten, checkpoints and manifest too: signed by another key or not."""
    files = rewritten(place, values, hashes=True)
    kept = []
    head = None
    for frame in read_values(MemoryTrail(files).open(CHECKPOINTS)):
        record = CODEC.decode(frame or b"")
        assert isinstance(record, Checkpoint)
        if (record.topic, record.partition) != place:
            kept.append(frame)
            continue
        tree = Frontier()
        tree.extend(leaf_hash(v) for v in values)
        head = Head(origin=record.origin, size=tree.size, root=tree.root())
        text = sign_head(head, INSIDER, record.sealed_at_ms // 1000)
        if how == "old signature":
            text = text.split("\n\n")[0] + "\n\n" + record.note.split("\n\n")[1]
        if how == "right key id":
            # the id of the trusted key before the insider's signature
            text = _with_key_id_of(text, record.note)
        kept.append(
            CODEC.encode(
                dataclasses.replace(
                    record,
                    size=head.size,
                    next_offset=head.size,
                    root=head.root,
                    frontier=tree.hashes,
                    note=text,
                )
            )
        )
    files[CHECKPOINTS] = b"".join(frame_value(v) for v in kept)
    files["anchors.bin"] = b""
    assert head is not None
    manifest = parse_manifest(files[MANIFEST])
    files[MANIFEST] = encode_manifest(dataclasses.replace(manifest, anchors=0))
    return with_manifest(files, place, head)


def _with_key_id_of(text: str, honest: str) -> str:
    lead, line = text.rsplit(" ", 1)
    raw = base64.b64decode(line)
    right = base64.b64decode(honest.rsplit(" ", 1)[1])
    return f"{lead} {base64.b64encode(right[:4] + raw[4:]).decode()}\n"


def verified(files: dict[str, bytes]) -> Report:
    policy = parse_policy(busy_trail()["policy.txt"].decode())
    outside = Outside(
        policy=policy, genesis_digest=None, anchor=None, as_of_ms=None, max_age_ms=None
    )
    return verify_folder(MemoryTrail(files), outside)


# -- properties ------------------------------------------------------------------------------------


@given(
    st.lists(
        st.sampled_from(["decided", "undecided", "twice", "wrong leaf", "other agent", "answered"]),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=100, deadline=None)
def test_every_request_has_one_effective_decision_or_is_reported(story: list[str]) -> None:
    platform = SealedPlatform()
    sealer = platform.sealer()
    platform.start_epoch()
    missing, answered_twice = set(), 0
    for n, event in enumerate(story):
        agent = f"agent-{n}"
        request = samples.request(platform.next_sequence(), agent=agent)
        offset, value, before = platform.door(request)
        named, leaf_of = request, value
        if event == "other agent":
            named = dataclasses.replace(request, agent_id="agent-x")
        if event == "wrong leaf":
            leaf_of = value + b"x"
        if event == "undecided":
            missing.add(offset)
            continue
        platform.decide(named, offset, leaf_of, before, 0)
        if event == "twice":
            platform.decide(request, offset, value, before, 0)
        if event in ("wrong leaf", "other agent"):
            missing.add(offset)
        if event == "answered":
            answered_twice += 1
            for _ in range(2):
                platform.door(outcome(platform, agent, offset))
    platform.clock.ms += 61_000
    sealer.cycle()
    report = verified(platform.export().files)
    reported = {f.offset for f in report.findings if f.name in ("NO_DECISION", "UNDECIDED_TAIL")}
    assert reported == missing
    assert report.counts["decisions"] == len(story) - len(missing)
    assert report.counts["duplicate_decisions"] == story.count("twice")
    assert report.totals["ANSWER"] == answered_twice
    assert (report.exit_code == 0) == (not missing)
    assert platform.log.bounds(TopicPartition(Topic.REQUESTS, 0))[1] == len(story) + 1 + (
        2 * answered_twice
    )


def test_honest_trail_verifies_without_a_finding() -> None:
    report = verified(busy_trail())
    assert report.findings == []
    assert report.exit_code == 0
    assert report.counts["requests"] == report.counts["decisions"] == 7


def test_every_field_of_every_kind_of_record_is_covered() -> None:
    fields = {name for _, _, name, _ in all_changes()}
    kinds = {name.split(".")[0] for name in fields}
    assert {
        "AgentRequest", "ToolOutcome", "Chunk", "Enforcement", "Deliveries", "EpochStart",
        "Redeem", "Decision", "Signal", "ControlCommand0", "ControlCommand1",
    } <= kinds  # fmt: skip
    inner = CODEC.decode(next(v for v in values_at((Topic.DECISIONS, 0))))
    assert isinstance(inner, Decision)
    assert len(all_changes()) > 250


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_changed_field_fails_verification_and_names_the_partition(data: st.DataObject) -> None:
    place, offset, name, frame = data.draw(st.sampled_from(all_changes()))
    values = values_at(place)
    values[offset] = frame
    knows_the_list = data.draw(st.booleans())
    report = verified(rewritten(place, values, hashes=knows_the_list))
    assert report.exit_code == 1, name
    named = {(f.name, f.topic, f.partition, f.offset) for f in report.findings}
    if not knows_the_list:
        assert ("LEAF", *place, offset) in named, name
    assert any((t, p) == place for _, t, p, _ in named), name


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_dropped_added_swapped_or_replayed_record_fails_verification(data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(places()))
    values = values_at(place)
    at = data.draw(st.integers(0, len(values) - 1))
    to = data.draw(st.integers(0, len(values)))
    act = data.draw(st.sampled_from(["drop", "cut", "add", "swap", "replay", "bit"]))
    before = list(values)
    match act:
        case "drop":
            del values[at]
        case "cut":
            del values[at:]
        case "add":
            values.insert(to, CODEC.encode(samples.request(77)))
        case "swap":
            values[at], values[to % len(values)] = values[to % len(values)], values[at]
        case "replay":
            values.insert(to, values[at])
        case _:
            bit = data.draw(st.integers(0, 8 * len(values[at]) - 1))
            changed = bytearray(values[at])
            changed[bit // 8] ^= 1 << bit % 8
            values[at] = bytes(changed)
    if values == before:
        return
    report = verified(rewritten(place, values, hashes=data.draw(st.booleans())))
    assert report.exit_code in (1, 3), act
    if len(values) <= len(before):
        assert report.exit_code == 1, act
    assert any((f.topic, f.partition) == place for f in report.findings), act


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_rewritten_partition_with_forged_heads_fails_verification(data: st.DataObject) -> None:
    place, offset, name, frame = data.draw(st.sampled_from(all_changes()))
    values = values_at(place)
    values[offset] = frame
    how = data.draw(st.sampled_from(["another key", "old signature", "right key id"]))
    report = verified(forged(place, values, how))
    assert report.exit_code == 1, (name, how)
    assert "SIG" in report.totals, (name, how)
