"""Poison on every topic: nothing stalls, everything is decided, sealed, stored and explained."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agentguard.contracts.records import Anchor, Checkpoint, DeadLetter, Verdict
from agentguard.contracts.topics import Topic, agent_key, partition_of
from tests.faults import poison
from tests.faults.evidence import (
    Ledger,
    assert_dense,
    assert_sealed,
    assert_stored,
    decided_ledger,
    decoded,
    read_topics,
)
from tests.faults.poison import Poison
from tests.faults.world import World, ask, until

pytestmark = [pytest.mark.platform, pytest.mark.slow, pytest.mark.timeout(240)]

VICTIM, OTHER = "poisoned", "other"
# how a request that must be denied is denied, by what is wrong with it
REQUEST_CODES = {
    "wrong_cluster": "record_mismatch",
    "wrong_mode": "record_mismatch",
    "wrong_key": "record_mismatch",
    "no_key": "record_mismatch",
}
UNREADABLE = ("null", "empty", "garbage", "unknown_schema", "marker_only", "header_only",
              "truncated", "longer")  # fmt: skip
# who reads a topic and must explain what it could not read
EXPLAINED_BY = {
    Topic.REQUESTS: {"decide", "store"},
    Topic.DECISIONS: {"decide", "store"},
    Topic.SIGNALS: {"decide", "store"},
    Topic.CONTROL: {"store"},
    Topic.CHECKPOINTS: {"store"},
    Topic.BUNDLES: {"decide"},
}
Planted = dict[tuple[str, str], tuple[int, int]]  # topic and what is wrong: partition and offset


class Poisoner:
    """Writes as `admin`, which no process of the platform is."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._log = world.log("admin")
        self._writer = self._log.writer("poison")
        self.tenant = world.platform.tenant
        self.cluster = world.platform.cluster
        self.home = partition_of(
            agent_key(self.tenant, VICTIM), self._log.partitions("ag.requests")
        )
        self.planted: Planted = {}

    def put(self, topic: str, given: Poison, at: int) -> None:
        def note(delivery: Any) -> None:
            assert not delivery.error, (topic, given.name, delivery.error)
            self.planted[(topic, given.name)] = (delivery.partition, delivery.offset)

        self._writer.append(topic, given.value, key=given.key, partition=at, on_delivery=note)

    def close(self) -> None:
        assert self._writer.flush(30_000) == 0
        self._log.close()

    def plant(self) -> None:
        """Everything that can be wrong, on every topic of ours."""
        key = agent_key(self.tenant, VICTIM)
        request = poison.request(self.cluster, self.tenant, VICTIM, number=1)
        core = poison.core(request, partition=self.home, offset=10**9, leaf=bytes(32))
        heads = self._heads()
        signal = poison.signal(self.cluster, self.tenant, VICTIM)
        beat = poison.heartbeat(self.cluster)
        letter = self._letter()
        made: list[tuple[str, Any, Any, bytes]] = [
            (Topic.REQUESTS, request, beat, key),
            (Topic.DECISIONS, poison.decision(self.cluster, core), request, key),
            (Topic.SIGNALS, signal, request, key),
            (Topic.CONTROL, poison.command(self.cluster), request, key),
            (Topic.CHECKPOINTS, heads[0], request, heads[0].origin.encode()),
            (Topic.ANCHORS, heads[1], request, heads[1].origin.encode()),
            (Topic.BUNDLES, self._bundle(), request, b"digest"),
            (Topic.HEARTBEATS, beat, request, b"decide-a-0"),
            (Topic.SNAPSHOTS, poison.snapshot(self.cluster, self.tenant, VICTIM), request, key),
            (Topic.DEAD_LETTERS, letter, request, b"source"),
            (Topic.ALERTS, signal, request, key),
            (Topic.SIEM, signal, request, key),
            (Topic.SHADOW, poison.decision(self.cluster, core), request, key),
        ]
        assert {topic for topic, *_ in made} == set(Topic)
        for topic, right, stranger, record_key in made:
            at = self.home if self._log.partitions(topic) > 1 else 0
            for given in poison.poisons(topic, right, record_key, stranger):
                self.put(topic, given, at)
        self._forge()

    def _forge(self) -> None:
        """Allows that no lane made: of other bytes, of another place, of nothing."""
        key = agent_key(self.tenant, VICTIM)
        request = poison.request(self.cluster, self.tenant, VICTIM, number=2)
        whole = poison.core(request, partition=self.home, offset=0, leaf=bytes(32))
        forged = {
            "leaf": whole,
            "partition": replace(whole, request_partition=(self.home + 1) % 12),
            "negative": replace(whole, request_offset=-(2**63)),
            "far": replace(whole, request_offset=2**63 - 1),
            "core_garbage": poison.GARBAGE,
        }
        for name, made in forged.items():
            value = poison.CODEC.encode(poison.decision(self.cluster, made))
            self.put(Topic.DECISIONS, Poison(f"forged_{name}", value, key), self.home)

    def _heads(self) -> tuple[Checkpoint, Anchor]:
        topics = read_topics(self._world, "ag.checkpoints", "ag.anchors")
        heads = [decoded(r.value) for r in topics["ag.checkpoints"][0]]
        anchors = [decoded(r.value) for r in topics["ag.anchors"][0]]
        last = next(h for h in reversed(heads) if isinstance(h, Checkpoint))
        anchor = next(a for a in reversed(anchors) if isinstance(a, Anchor))
        return (
            poison.checkpoint(self.cluster, last.origin, last.topic),
            poison.anchor(self.cluster, last.origin, anchor),
        )

    def _bundle(self) -> Any:
        found = read_topics(self._world, "ag.bundles")["ag.bundles"][0]
        return poison.bundle(self.cluster, decoded(found[0].value).digest)  # type: ignore[union-attr]

    def _letter(self) -> DeadLetter:
        request = poison.request(self.cluster, self.tenant, VICTIM, number=3)
        return DeadLetter(
            cluster=self.cluster,
            mode=request.mode,
            source_topic="ag.requests",
            source_partition=0,
            source_offset=0,
            stage="poison",
            error="poison",
            fingerprint=b"",
            payload=request.sections[0],
            noted_at_ms=0,
        )


@pytest.fixture(scope="module")
def planted(world: World) -> Planted:
    """What was planted, once every process that folds the log has begun anew and read it."""
    for agent in (VICTIM, OTHER):
        until(partial(_is_allowed, world, agent), what=f"{agent} is allowed before the poison")
    poisoner = Poisoner(world)
    poisoner.plant()
    poisoner.close()
    return poisoner.planted


@pytest.fixture(scope="module")
def ledger(world: World, planted: Planted) -> Ledger:
    assert planted
    return decided_ledger(world)


def _is_allowed(world: World, agent: str) -> bool:
    return bool(ask(world, agent)["action"] == "allow")


def test_good_requests_are_decided_in_time_right_after_the_poison(
    world: World, planted: Planted
) -> None:
    answers = [ask(world, agent) for agent in (VICTIM, OTHER) * 5]
    assert [a["code"] for a in answers] == ["allowed"] * 10


def test_every_request_offset_has_one_decision_and_poison_is_denied_with_its_code(
    ledger: Ledger, planted: Planted
) -> None:
    assert_dense(ledger.topics)
    for (topic, name), place in planted.items():
        if topic != Topic.REQUESTS:
            continue
        found = ledger.effective[place].core
        assert found.verdict is Verdict.DENY, name
        assert found.codes[0] == REQUEST_CODES.get(name, "malformed"), name
        assert found.grant is None


def test_no_forged_allow_is_effective(ledger: Ledger, planted: Planted) -> None:
    forged = {at for (topic, _), at in planted.items() if topic == Topic.DECISIONS}
    assert len(forged) > 12
    effective = {(place[0], found.offset) for place, found in ledger.effective.items()}
    assert not forged & effective


def test_an_invalid_command_has_no_effect_and_says_why(world: World, planted: Planted) -> None:
    offsets = {at[1] for (topic, _), at in planted.items() if topic == Topic.CONTROL}

    def is_listed() -> bool:
        rows = world.sql(
            "SELECT offset, accepted, rejection, problem FROM agentguard.control_commands"
        )
        listed = {int(o): (a, r, p) for o, a, r, p in rows if int(o) in offsets}
        assert all(not accepted for accepted, _, _ in listed.values())
        assert all(rejection or problem for _, rejection, problem in listed.values())
        return set(listed) == offsets

    until(is_listed, what="every invalid command is listed")


@pytest.mark.parametrize("name", ["decide", "seal", "store"])
def test_a_process_that_starts_on_a_poisoned_log_gets_through_it(
    world: World, planted: Planted, name: str
) -> None:
    killed = world.kill(name)
    world.wait_restarted(name, killed)
    for agent in (VICTIM, OTHER):
        until(partial(_is_allowed, world, agent), what=f"{agent} is allowed again")
    world.wait_ready()


def test_dead_letters_say_where_the_record_lies_what_read_it_and_why_not(
    world: World, planted: Planted
) -> None:
    wanted = {
        (topic.value, *planted[(topic, name)], stage)
        for topic, stages in EXPLAINED_BY.items()
        for name in UNREADABLE
        for stage in stages
        if (topic, name) in planted
    }
    wanted |= {
        (topic.value, *planted[(topic, "other_type")], stage)
        for topic, stages in EXPLAINED_BY.items()
        for stage in stages - ({"decide"} if topic == Topic.REQUESTS else set())
    }
    found: dict[tuple[str, int, int, str], DeadLetter] = {}

    def is_explained() -> bool:
        for record in read_topics(world, "ag.dead-letters")["ag.dead-letters"][0]:
            letter = decoded(record.value)
            if isinstance(letter, DeadLetter):
                place = (letter.source_topic, letter.source_partition, letter.source_offset)
                found[(*place, letter.stage)] = letter
        return wanted <= set(found)

    try:
        until(is_explained, what="every unreadable record is explained")
    except AssertionError:
        names = {(t, *at): n for (t, n), at in planted.items()}
        missing = sorted((m[0], names[m[:3]], m[3]) for m in wanted - set(found))
        raise AssertionError(f"no dead letter for {missing}") from None
    for place in wanted:
        assert found[place].error
        assert found[place].cluster == world.platform.cluster


def test_the_seal_goes_on_over_the_poison(world: World, planted: Planted) -> None:
    assert_sealed(world)


def test_the_store_keeps_every_offset_once(world: World, planted: Planted) -> None:
    assert_stored(world)


def test_after_all_of_it_decisions_keep_their_order_and_one_each(
    world: World, planted: Planted, ledger: Ledger
) -> None:
    later = decided_ledger(world)
    assert_dense(later.topics)
    assert {p: e.offset for p, e in ledger.effective.items()}.items() <= {
        p: e.offset for p, e in later.effective.items()
    }.items()


def test_verify_finds_nothing_but_what_was_planted(
    world: World, planted: Planted, tmp_path: Path
) -> None:
    done = world.live.run("audit", "export", str(tmp_path / "trail"), "--json")
    assert done.returncode == 0, done.stderr
    digest = world.platform.genesis_digest
    done = world.live.run("verify", str(tmp_path / "trail"), "--genesis", digest, "--json")
    severe = [f for f in json.loads(done.stdout)["findings"] if f["severity"] == "tampered"]
    places = {(topic.value, *at) for (topic, _), at in planted.items()}  # type: ignore[attr-defined]
    places |= {
        ("anchors", -1, at[1]) for (topic, _), at in planted.items() if topic == Topic.ANCHORS
    }
    for finding in severe:
        assert (finding["topic"], finding["partition"], finding["offset"]) in places, finding
