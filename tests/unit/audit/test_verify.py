# SPDX-License-Identifier: Apache-2.0
"""The attack table: who changes what in an export, and which finding names it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from hashlib import sha256

import pytest

from agentguard.adapters.mldsa_signer import MlDsaSigner
from agentguard.adapters.trails import MemoryTrail
from agentguard.audit.export import (
    ANCHORS,
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
from agentguard.audit.note import Head, NoteKey, verifier_key
from agentguard.audit.trust import parse_policy, policy_text
from agentguard.cli.verify import Outside, verify_folder
from agentguard.contracts import records as r
from agentguard.contracts.errors import ConfigError, VerificationError
from agentguard.contracts.hashing import command_digest, leaf_hash
from agentguard.contracts.topics import Topic
from tests import samples_audit as samples
from tests.trails import SealedPlatform, busy_platform, busy_trail, outcome

Files = dict[str, bytes]
NOTHING = Outside(policy=None, genesis_digest=None, anchor=None, as_of_ms=None, max_age_ms=None)
POLICY = dataclasses.replace(NOTHING, policy=parse_policy(busy_trail()["policy.txt"].decode()))
D0 = (Topic.DECISIONS.value, 0)
R0 = (Topic.REQUESTS.value, 0)


def verified(files: Files, outside: Outside = POLICY) -> Report:
    return verify_folder(MemoryTrail(files), outside)


def values_of(files: Files, name: str) -> list[bytes]:
    return [v or b"" for v in read_values(MemoryTrail(files).open(name))]


def framed(values: list[bytes]) -> bytes:
    return b"".join(frame_value(v) for v in values)


def with_true_manifest(files: Files, **changes: object) -> Files:
    """What an attacker writes who can compute a digest."""
    manifest = parse_manifest(files[MANIFEST])
    digests = {name: sha256(files[name]).digest() for name in manifest.files}
    changed = dataclasses.replace(manifest, files=digests, **changes)  # type: ignore[arg-type]
    return {**files, MANIFEST: encode_manifest(changed)}


def genesis_digest() -> bytes:
    platform = busy_platform()
    first = values_of(busy_trail(), leaves_name(Topic.CONTROL, 0))[0]
    command = platform.codec.decode(first)
    assert isinstance(command, r.ControlCommand)
    return command_digest(command.signed)


def flipped(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


@pytest.mark.parametrize("name", sorted(n for n in busy_trail() if busy_trail()[n]))
def test_one_changed_byte_in_any_file_is_a_finding_that_names_it(name: str) -> None:
    body = busy_trail()[name]
    for at in {0, len(body) // 2, len(body) - 1}:
        report = verified({**busy_trail(), name: flipped(body, at)})
        assert report.exit_code == 1, at
        if name == MANIFEST:  # a digest that differs may be the file's fault or the manifest's
            continue
        places = {f.topic for f in report.findings}
        kind = name.split("/")[0]
        named = name.split("/")[1] if kind in ("leaves", "hashes") else name
        assert named in places or name.removesuffix(".bin") in places, (at, places)


def test_removed_and_added_files_are_named() -> None:
    files = dict(busy_trail())
    del files[hashes_name(*D0)]
    files["notes.txt"] = b"trust me"
    report = verified(files)
    assert {("MISSING_FILE", hashes_name(*D0)), ("EXTRA_FILE", "notes.txt")} <= {
        (f.name, f.topic) for f in report.findings
    }


@pytest.mark.parametrize(
    ("act", "words", "offset"),
    [
        (lambda v: v.__setitem__(1, flipped(v[1], 30)), "was changed", 1),
        (lambda v: v.pop(1), "was removed", 1),
        (lambda v: v.pop(), "was removed", 3),
        (lambda v: v.insert(1, v[3]), "was added", 1),
        (lambda v: v.__setitem__(slice(1, 3), [v[2], v[1]]), "was swapped with the next", 1),
    ],
)
def test_record_is_named_with_what_happened_to_it(
    act: Callable[[list[bytes]], object], words: str, offset: int
) -> None:
    values = values_of(busy_trail(), leaves_name(*D0))
    act(values)
    report = verified({**busy_trail(), leaves_name(*D0): framed(values)})
    leaf = next(f for f in report.findings if f.name == "LEAF")
    assert (leaf.topic, leaf.partition, leaf.offset) == (*D0, offset)
    assert words in leaf.message


def test_changed_request_with_its_hash_is_named_by_the_decision_about_it() -> None:
    values = values_of(busy_trail(), leaves_name(*R0))
    codec = busy_platform().codec
    at = 1  # after the door's first record
    request = codec.decode(values[at])
    assert isinstance(request, r.AgentRequest)
    values[at] = codec.encode(dataclasses.replace(request, tool="mail.read"))
    files = {
        **busy_trail(),
        leaves_name(*R0): framed(values),
        hashes_name(*R0): b"".join(leaf_hash(v) for v in values),
    }
    report = verified(files)
    assert {"ROOT", "REQUEST_LEAF", "CHAIN"} <= set(report.totals)
    named = next(f for f in report.findings if f.name == "REQUEST_LEAF")
    assert (named.topic, named.partition, named.offset) == (*R0, at)


def test_hidden_tail_is_found_by_the_anchor_that_someone_holds() -> None:
    """Checkpoints, anchors and leaves cut back together: only what is held outside can tell."""
    early = _early_trail()
    late_size, late_root = _anchor_of(busy_trail())
    assert verified(early).exit_code == 0
    held = Head(origin="", size=late_size, root=late_root)
    report = verified(early, dataclasses.replace(POLICY, anchor=held))
    assert report.exit_code == 1
    assert "PIN" in report.totals
    assert verified(busy_trail(), dataclasses.replace(POLICY, anchor=held)).exit_code == 0


def _early_trail() -> Files:
    platform = SealedPlatform()
    sealer = platform.sealer()
    platform.start_epoch()
    platform.clock.ms += 1_000
    sealer.cycle()
    return platform.export().files


def _anchor_of(files: Files) -> tuple[int, bytes]:
    last = busy_platform().codec.decode(values_of(files, ANCHORS)[-1])
    assert isinstance(last, r.Anchor)
    return last.index + 1, Frontier(last.index + 1, last.frontier).root()


def test_stale_trail_is_incomplete_and_a_fresh_one_is_not() -> None:
    newest_ms = max(e.sealed_at_ms for e in parse_manifest(busy_trail()[MANIFEST]).partitions)
    for late_ms, code in ((299_000, 0), (301_000, 3)):
        outside = dataclasses.replace(POLICY, as_of_ms=newest_ms + late_ms, max_age_ms=300_000)
        assert verified(busy_trail(), outside).exit_code == code


def test_genesis_alone_verifies_only_as_its_key_holder_states_it() -> None:
    outside = dataclasses.replace(NOTHING, genesis_digest=genesis_digest())
    report = verified(busy_trail(), outside)
    assert report.exit_code == 3
    assert set(report.totals) == {"NO_OUTSIDE_ANCHOR"}
    assert "as the sealing key's holder states it, up to anchor 1 of time 2026-" in report.statement
    size, root = _anchor_of(busy_trail())
    held = dataclasses.replace(outside, anchor=Head(origin="", size=size, root=root))
    assert verified(busy_trail(), held).exit_code == 0


def test_another_genesis_than_the_pinned_is_tampering() -> None:
    report = verified(busy_trail(), dataclasses.replace(NOTHING, genesis_digest=bytes(32)))
    assert report.exit_code == 1
    assert "GENESIS" in report.totals


def test_no_trust_from_outside_is_a_usage_error() -> None:
    with pytest.raises(ConfigError):
        verified(busy_trail(), NOTHING)


def test_policy_of_another_cluster_trusts_nothing_here() -> None:
    text = busy_trail()["policy.txt"].decode()
    other = policy_text("audit.example", "cluster-b", MlDsaSigner.from_seed(bytes(32)).public_key)
    assert other != text
    report = verified(busy_trail(), dataclasses.replace(NOTHING, policy=parse_policy(other)))
    assert report.exit_code == 1
    assert "ORIGIN" in report.totals


def test_required_witness_that_did_not_sign_leaves_the_trail_incomplete() -> None:
    key = NoteKey(name="w.example/1", public_key=MlDsaSigner.from_seed(b"w" * 32).public_key)
    text = (
        busy_trail()["policy.txt"]
        .decode()
        .replace("quorum none", f"witness w {verifier_key(key)}\nquorum w")
    )
    report = verified(busy_trail(), dataclasses.replace(NOTHING, policy=parse_policy(text)))
    assert report.exit_code == 3
    assert set(report.totals) == {"NO_WITNESS"}


def test_vanished_partition_is_named_by_control_log_and_anchors() -> None:
    """A whole partition taken out: files, checkpoints, manifest entries."""
    files = dict(busy_trail())
    place = (Topic.DECISIONS.value, 1)
    codec = busy_platform().codec
    del files[leaves_name(*place)], files[hashes_name(*place)]
    kept = []
    for value in values_of(files, CHECKPOINTS):
        checkpoint = codec.decode(value)
        assert isinstance(checkpoint, r.Checkpoint)
        if (checkpoint.topic, checkpoint.partition) != place:
            kept.append(value)
    files[CHECKPOINTS] = framed(kept)
    manifest = parse_manifest(files[MANIFEST])
    entries = tuple(e for e in manifest.partitions if (e.topic, e.partition) != place)
    report = verified(with_true_manifest(files, partitions=entries))
    assert report.exit_code == 1
    assert any((f.topic, f.partition) == place for f in report.findings)
    files[ANCHORS] = b""
    report = verified(with_true_manifest(files, partitions=entries, anchors=0))
    assert [f.name for f in report.findings if (f.topic, f.partition) == place] == [
        "MISSING_PARTITION"
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cluster", "cluster-b"),
        ("domain", "other.example"),
        ("genesis_digest", bytes(32)),
        ("assurance", "separate_persons"),
        ("anchors", 7),
        ("partitions", ()),
    ],
)
def test_manifest_that_claims_anything_else_is_tampering(field: str, value: object) -> None:
    outside = dataclasses.replace(POLICY, genesis_digest=genesis_digest())
    assert verified(busy_trail(), outside).exit_code == 0
    report = verified(with_true_manifest(dict(busy_trail()), **{field: value}), outside)
    assert report.exit_code == 1


def test_record_that_was_dropped_before_it_was_sealed_is_a_gap() -> None:
    platform = SealedPlatform()
    sealer = platform.sealer()
    platform.start_epoch()
    platform.call("agent-1")
    platform.next_sequence()  # written by the door, taken out by whoever runs the broker
    platform.call("agent-1")
    platform.clock.ms += 61_000
    sealer.cycle()
    report = verified(platform.export().files)
    assert report.exit_code == 3
    assert set(report.totals) == {"GAP"}


def test_number_that_the_door_states_as_not_written_is_no_gap() -> None:
    platform = SealedPlatform()
    sealer = platform.sealer()
    platform.start_epoch()
    lost = platform.next_sequence()
    platform.call("agent-1")
    notice = r.Enforcement(
        cluster=samples.CLUSTER,
        mode=r.Mode.LIVE,
        producer="gateway-0",
        epoch=1,
        sequence=platform.next_sequence(),
        control_offset=0,
        tenant="acme",
        agent_id="agent-1",
        code=r.EnforcementCode.NOT_WRITTEN,
        reason="unreachable",
        count=1,
        window_ms=0,
        reported_at_ms=platform.clock.ms,
        sequences=(lost,),
    )
    platform.door(notice)
    platform.clock.ms += 61_000
    sealer.cycle()
    assert verified(platform.export().files).exit_code == 0


def test_gap_in_an_epoch_that_was_closed_cleanly_is_tampering() -> None:
    platform = SealedPlatform()
    sealer = platform.sealer()
    platform.start_epoch()
    platform.call("agent-1")
    platform.next_sequence()
    last = platform.next_sequence()
    start = r.EpochStart(
        cluster=samples.CLUSTER,
        mode=r.Mode.LIVE,
        producer="gateway-0",
        epoch=2,
        sequence=0,
        control_offset=0,
        previous_epoch=1,
        previous_last_sequence=last,
    )
    platform.door(start)
    platform.clock.ms += 61_000
    sealer.cycle()
    report = verified(platform.export().files)
    assert report.exit_code == 1
    assert set(report.totals) == {"GAP"}


def test_decision_made_on_another_history_is_named() -> None:
    platform = SealedPlatform()
    sealer = platform.sealer()
    platform.start_epoch()
    platform.call("agent-1")
    for chains in (platform.requests_chain, platform.decisions_chain):
        request = samples.request(platform.next_sequence())
        offset, value, before = platform.door(request)
        agent = ("acme", "agent-1")
        if chains is platform.requests_chain:
            platform.decide(request, offset, value, bytes(32), 0)
        else:
            right = platform.decisions_chain[agent]
            platform.decisions_chain[agent] = bytes(32)
            platform.decide(request, offset, value, before, 0)
            platform.decisions_chain[agent] = right
    platform.clock.ms += 61_000
    sealer.cycle()
    report = verified(platform.export().files)
    assert report.exit_code == 1
    assert report.totals["CHAIN"] == 2
    assert {f.offset for f in report.findings} == {1, 2}


def test_content_that_is_not_what_was_committed_to_is_named() -> None:
    platform = SealedPlatform()
    sealer = platform.sealer()
    platform.start_epoch()
    offset, _ = platform.call("agent-1")
    told = outcome(platform, "agent-1", offset)
    platform.door(
        dataclasses.replace(told, section=dataclasses.replace(told.section, body=b"other"))
    )
    platform.clock.ms += 61_000
    sealer.cycle()
    report = verified(platform.export().files)
    assert report.exit_code == 1
    assert [(f.name, f.offset) for f in report.findings] == [("SECTION_COMMITMENT", 2)]


def test_chunked_content_is_checked_against_its_commitment_too() -> None:
    for body, code in ((b"ab", 0), (b"aX", 1)):
        platform = SealedPlatform()
        sealer = platform.sealer()
        platform.start_epoch()
        offset, _ = platform.call("agent-1")
        for index in range(2):
            chunk = next(
                c for c in samples.door_records(platform.sequence) if isinstance(c, r.Chunk)
            )
            platform.next_sequence()
            platform.door(dataclasses.replace(chunk, index=index, body=body[index : index + 1]))
        told = outcome(platform, "agent-1", offset)
        whole = samples.section(r.SectionName.OUTPUT, b"ab")
        section = dataclasses.replace(
            whole, body=b"", chunks=r.ChunkSet(id=b"c" * 16, count=2, size=2)
        )
        platform.door(dataclasses.replace(told, section=section))
        platform.clock.ms += 61_000
        sealer.cycle()
        report = verified(platform.export().files)
        assert report.exit_code == code
        assert report.counts["sections_without_chunks"] == 0


def test_request_in_time_is_pending_and_one_long_signed_has_to_be_decided() -> None:
    platform = SealedPlatform()
    sealer = platform.sealer()
    platform.start_epoch()
    request = dataclasses.replace(
        samples.request(platform.next_sequence()),
        accepted_at_ms=platform.clock.ms,
        deadline_ms=platform.clock.ms + 30_000,
    )
    platform.door(request)
    platform.clock.ms += 1_000
    sealer.cycle()
    report = verified(platform.export().files)
    assert (report.exit_code, report.counts["pending"]) == (0, 1)
    platform.clock.ms += 61_000
    sealer.cycle()
    report = verified(platform.export().files)
    assert (report.exit_code, set(report.totals)) == (1, {"NO_DECISION"})


def test_decision_about_nothing_is_reported() -> None:
    platform = SealedPlatform()
    sealer = platform.sealer()
    platform.start_epoch()
    request = samples.request(50)
    platform.decide(request, 9, platform.codec.encode(request), bytes(32), 0)
    platform.put(Topic.DECISIONS, b"junk")
    platform.decide(request, 0, platform.codec.encode(request), bytes(32), 0)
    platform.clock.ms += 61_000
    sealer.cycle()
    report = verified(platform.export().files)
    assert report.exit_code == 1
    assert report.totals["NO_REQUEST"] == 1
    assert report.totals["NOT_COUNTING"] == 2


def test_manifest_that_is_no_manifest_is_refused_at_once() -> None:
    for body in (b"", b"[]", b"{}", b'{"format":"agentguard/export/v1"}', b"\xff"):
        report = verified({**busy_trail(), MANIFEST: body})
        assert (report.exit_code, [f.name for f in report.findings]) == (1, ["MANIFEST"])
    files = dict(busy_trail())
    del files[MANIFEST]
    assert verified(files).exit_code == 1


def test_null_value_is_noted_and_changes_no_verdict() -> None:
    platform = SealedPlatform()
    sealer = platform.sealer()
    platform.put(Topic.SIGNALS, None)
    platform.clock.ms += 61_000
    sealer.cycle()
    report = verified(platform.export().files)
    assert report.exit_code == 0
    assert [(f.name, f.topic, f.offset) for f in report.findings] == [
        ("NULL_VALUE", Topic.SIGNALS, 0)
    ]


def test_two_signed_trees_of_one_size_are_equivocation() -> None:
    platform = SealedPlatform()
    sealer = platform.sealer()
    platform.put(Topic.SIGNALS, b"one")
    platform.clock.ms += 1_000
    sealer.cycle()
    other = SealedPlatform()
    fork = other.sealer()
    other.put(Topic.SIGNALS, b"two")
    other.clock.ms += 1_000
    fork.cycle()
    files = platform.export().files
    files[CHECKPOINTS] += other.export().files[CHECKPOINTS]
    report = verified(with_true_manifest(files))
    assert report.exit_code == 1
    assert "EQUIVOCATION" in report.totals


def test_nothing_sealed_is_no_export() -> None:
    with pytest.raises(VerificationError) as raised:
        SealedPlatform().export()
    assert raised.value.finding == "UNSEALED_TAIL"
