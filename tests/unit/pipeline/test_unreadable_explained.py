"""What a lane cannot use of decisions and bundles is explained by a dead letter, and passed."""

from __future__ import annotations

from dataclasses import replace

from agentguard.contracts.records import Bundle, DeadLetter, Decision, Measured, Mode
from agentguard.contracts.topics import Topic
from tests import worlds as w
from tests.lanes import Platform, run


def letters(platform: Platform, topic: Topic) -> dict[int, str]:
    """The error by the offset that a letter names."""
    found = [w.CODEC.decode(r.value or b"") for r in platform.records(Topic.DEAD_LETTERS)]
    return {
        letter.source_offset: letter.error
        for letter in found
        if isinstance(letter, DeadLetter) and letter.source_topic == topic
    }


def test_records_that_are_no_decisions_are_explained_and_the_next_request_is_decided() -> None:
    platform = Platform()
    lane = platform.ready_lane()
    request = w.request(1)
    empty = Measured(lane="a", worker="0", stages=(), cache=False)
    inner = [b"", w.CODEC.encode(request)]
    values: list[bytes | None] = [None, b"\x00", w.CODEC.encode(request)]
    values += [
        w.CODEC.encode(
            Decision(cluster=w.CLUSTER, mode=Mode.LIVE, core=core, measured=empty, macs=())
        )
        for core in inner
    ]
    offsets = [platform.put(Topic.DECISIONS, value) for value in values]
    run(lane)
    assert letters(platform, Topic.DECISIONS) == dict(
        zip(
            offsets,
            ["null_value", "undecodable", "not_a_decision", "undecodable", "not_a_core"],
            strict=True,
        )
    )
    platform.ask(request)
    run(lane)
    value = platform.records(Topic.DECISIONS)[-1].value or b""
    core = w.CODEC.decode(w.CODEC.decode(value).core)  # type: ignore[union-attr]
    assert core.codes == ("allowed",)


def test_bundles_that_cannot_be_used_are_explained_and_the_right_one_is_found() -> None:
    platform = Platform()
    right = Bundle(cluster=w.CLUSTER, mode=Mode.LIVE, digest=w.release().digest, body=w.bundle())
    wrong = {
        "null_value": None,
        "undecodable": b"\xc3\x01junk",
        "not_a_bundle": w.CODEC.encode(w.request(1)),
        "wrong_cluster": w.CODEC.encode(replace(right, cluster="another")),
        "wrong_digest": w.CODEC.encode(replace(right, body=b"another body")),
    }
    platform.log.recreate(Topic.BUNDLES)  # so that all of these lie before the right one
    offsets = {platform.put(Topic.BUNDLES, value, key=b"k"): name for name, value in wrong.items()}
    platform.put(Topic.BUNDLES, w.CODEC.encode(right), key=right.digest)
    lane = platform.ready_lane()
    platform.ask(w.request(1))
    run(lane)
    assert [core.codes for core in platform.cores()] == [("allowed",)]
    assert letters(platform, Topic.BUNDLES) == offsets
