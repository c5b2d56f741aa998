# SPDX-License-Identifier: Apache-2.0
"""The sealer on the in-memory log: restarts, rollbacks, forks, holes, null values, anchors."""

from __future__ import annotations

import pytest

from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.memory_log import AppendFault, MemoryLog
from agentguard.adapters.mldsa_signer import MlDsaSigner, MlDsaVerifier
from agentguard.audit.anchor import AnchorTree
from agentguard.audit.merkle import EMPTY_ROOT, root_of
from agentguard.audit.note import Head, NoteKey
from agentguard.audit.origins import anchors_origin, parse_origin
from agentguard.audit.seal import open_checkpoint
from agentguard.contracts.errors import VerificationError
from agentguard.contracts.hashing import leaf_hash
from agentguard.contracts.ports import TopicPartition
from agentguard.contracts.records import Anchor, Checkpoint
from agentguard.contracts.topics import Topic
from agentguard.pipeline.sealing import Sealer, SealPlan, SealPorts

TOPICS = {
    Topic.REQUESTS: 2,
    Topic.DECISIONS: 2,
    Topic.SIGNALS: 2,
    Topic.CONTROL: 1,
    Topic.CHECKPOINTS: 1,
    Topic.ANCHORS: 1,
}
SIGNER = MlDsaSigner.from_seed(b"s" * 32)
VERIFIER = MlDsaVerifier()
PLAN = SealPlan(domain="agentguard.invalid", cluster="cluster-a")
R0 = TopicPartition(Topic.REQUESTS, 0)


class FakeClock:
    def __init__(self) -> None:
        self.ms = 1_790_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic_ms(self) -> float:
        return float(self.ms)


class CountingEntropy:
    def __init__(self) -> None:
        self.count = 0

    def token(self, size: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(size, "big")


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.log = MemoryLog(TOPICS, clock=self.clock, entropy=CountingEntropy())
        self.codec = AvroCodec()
        self.writer = self.log.writer("test")

    def write(self, at: TopicPartition, *values: bytes | None) -> None:
        for value in values:
            self.writer.append(at.topic, value, key=None, partition=at.partition)

    def sealer(self, signer: MlDsaSigner = SIGNER, *known: Head) -> Sealer:
        ports = SealPorts(
            log=self.log,
            index=self.log,
            codec=self.codec,
            clock=self.clock,
            signer=signer,
            verifier=VERIFIER,
        )
        sealer = Sealer(ports, PLAN)
        sealer.start(known)
        return sealer

    def tick(self, sealer: Sealer, ms: int = 500) -> int:
        self.clock.ms += ms
        return sealer.cycle()

    def values(self, topic: str) -> list[object]:
        at = TopicPartition(topic, 0)
        first, end = self.log.bounds(at)
        if first == end:
            return []
        found = self.log.reader({at: first}).read(timeout_ms=0, records_max=end - first)
        return [self.codec.decode(r.value or b"") for r in found]

    def checkpoints(self, at: TopicPartition) -> list[Checkpoint]:
        return [
            c
            for c in self.values(Topic.CHECKPOINTS)
            if isinstance(c, Checkpoint) and (c.topic, c.partition) == at
        ]

    def anchors(self) -> list[Anchor]:
        return [a for a in self.values(Topic.ANCHORS) if isinstance(a, Anchor)]


def test_checkpoint_covers_exactly_the_log_and_verifies() -> None:
    world = World()
    sealer = world.sealer()
    world.write(R0, b"a", b"b", b"c")
    world.tick(sealer)
    last = world.checkpoints(R0)[-1]
    origin = parse_origin(last.origin)
    key = NoteKey(name=last.origin, public_key=SIGNER.public_key)
    frontier, time_s = open_checkpoint(last, origin, key, VERIFIER)
    assert frontier.root() == root_of([leaf_hash(v) for v in (b"a", b"b", b"c")])
    assert origin.topic_id == world.log.topic_id(Topic.REQUESTS)
    assert time_s == world.clock.ms // 1000
    assert sealer.unsealed() == 0


def test_only_changed_heads_are_signed_and_not_before_the_interval() -> None:
    world = World()
    sealer = world.sealer()
    world.tick(sealer)
    world.write(R0, b"a")
    assert world.tick(sealer) == 1
    world.write(R0, b"b")
    assert world.tick(sealer, 10) == 0
    assert sealer.unsealed() == 1
    assert world.tick(sealer, 250) == 1


def test_empty_trees_are_signed_too_so_that_none_can_vanish() -> None:
    world = World()
    world.tick(world.sealer())
    (empty,) = world.checkpoints(TopicPartition(Topic.SIGNALS, 1))
    assert (empty.size, empty.root) == (0, EMPTY_ROOT)
    (anchor,) = world.anchors()
    assert len(anchor.heads) == 7


def test_many_records_are_signed_before_the_interval_is_over() -> None:
    world = World()
    sealer = world.sealer()
    world.tick(sealer)
    world.write(R0, *[b"x"] * 5_001)
    assert world.tick(sealer, 1) == 1


def test_restart_goes_on_from_the_last_checkpoint_and_never_reads_before_it() -> None:
    world = World()
    first = world.sealer()
    world.write(R0, *[bytes([i]) for i in range(20)])
    world.tick(first)
    world.log.delete_records(R0, 20)
    world.write(R0, b"later")
    second = world.sealer()
    world.tick(second)
    last = world.checkpoints(R0)[-1]
    leaves = [leaf_hash(bytes([i])) for i in range(20)] + [leaf_hash(b"later")]
    assert (last.size, last.root) == (21, root_of(leaves))


def test_two_sealers_write_the_same_heads() -> None:
    world = World()
    one, two = world.sealer(), world.sealer()
    world.write(R0, b"a", b"b")
    world.tick(one)
    world.tick(two)
    heads = {(c.size, c.root) for c in world.checkpoints(R0) if c.size}
    assert len(heads) == 1


def test_restart_without_any_checkpoint_rebuilds_from_the_log_start() -> None:
    world = World()
    world.write(R0, b"a", b"b")
    world.tick(world.sealer())
    _, end = world.log.bounds(TopicPartition(Topic.CHECKPOINTS, 0))
    world.log.delete_records(TopicPartition(Topic.CHECKPOINTS, 0), end)
    world.tick(world.sealer())
    assert world.checkpoints(R0)[-1].root == root_of([leaf_hash(b"a"), leaf_hash(b"b")])


def roll_back(world: World, *values: bytes) -> None:
    """What a log looks like that was restored from an old copy: same id, other records."""
    world.log._partitions[R0].records.clear()
    world.write(R0, *values)


def test_rolled_back_log_is_not_signed() -> None:
    world = World()
    world.write(R0, b"a", b"b", b"c")
    world.tick(world.sealer())
    roll_back(world, b"a", b"b")
    with pytest.raises(VerificationError) as raised:
        world.sealer()
    assert raised.value.finding == "SEALER_ROLLBACK"


def test_rewritten_log_is_caught_by_the_last_anchor_even_without_checkpoints() -> None:
    world = World()
    world.write(R0, b"a", b"b", b"c")
    world.tick(world.sealer())
    checkpoints = TopicPartition(Topic.CHECKPOINTS, 0)
    world.log.delete_records(checkpoints, world.log.bounds(checkpoints)[1])
    roll_back(world, b"a", b"X", b"c", b"d")
    sealer = world.sealer()
    world.tick(sealer)
    assert sealer.alarms[R0].finding == "SEALER_FORK"
    assert not [c for c in world.checkpoints(R0) if c.size]


def test_larger_or_other_head_from_outside_stops_the_start() -> None:
    world = World()
    world.write(R0, b"a")
    origin = f"agentguard.invalid/agentguard/cluster-a/ag.requests/{world.log.topic_id(R0.topic)}/0"
    larger = Head(origin=origin, size=2, root=bytes(32))
    with pytest.raises(VerificationError) as raised:
        world.sealer(SIGNER, larger)
    assert raised.value.finding == "SEALER_ROLLBACK"
    other = Head(origin=origin, size=1, root=bytes(32))
    sealer = world.sealer(SIGNER, other)
    world.tick(sealer)
    assert sealer.alarms[R0].finding == "SEALER_FORK"
    assert world.checkpoints(R0) == []


def test_two_known_roots_of_one_size_stop_the_start() -> None:
    world = World()
    origin = f"agentguard.invalid/agentguard/cluster-a/ag.requests/{world.log.topic_id(R0.topic)}/0"
    one, two = (Head(origin=origin, size=0, root=r) for r in (bytes(32), b"1" * 32))
    with pytest.raises(VerificationError) as raised:
        world.sealer(SIGNER, one, two)
    assert raised.value.finding == "SEALER_FORK"


def test_hole_stops_that_partition_only() -> None:
    world = World()
    sealer = world.sealer()
    r1 = TopicPartition(Topic.REQUESTS, 1)
    world.write(R0, b"a")
    world.tick(sealer)
    world.log._partitions[R0].records.append(
        world.log._partitions[R0].records[0]._replace(offset=5)
    )
    world.write(r1, b"b")
    world.tick(sealer)
    assert sealer.alarms[R0].finding == "HOLE"
    assert world.checkpoints(r1)[-1].size == 1
    assert max(c.size for c in world.checkpoints(R0)) == 1


def test_records_deleted_before_they_were_sealed_stop_the_start() -> None:
    world = World()
    world.write(R0, b"a", b"b")
    world.log.delete_records(R0, 1)
    with pytest.raises(VerificationError) as raised:
        world.sealer()
    assert raised.value.finding == "HOLE"


def test_null_value_is_hashed_as_empty_bytes_and_sealing_goes_on() -> None:
    world = World()
    sealer = world.sealer()
    world.write(R0, b"a", None, b"c")
    world.tick(sealer)
    assert world.checkpoints(R0)[-1].root == root_of([leaf_hash(v) for v in (b"a", b"", b"c")])


def test_recreated_topic_is_another_log() -> None:
    world = World()
    world.write(R0, b"a", b"b")
    world.tick(world.sealer())
    before = world.checkpoints(R0)[-1].origin
    world.log.recreate(Topic.REQUESTS)
    world.write(R0, b"new")
    world.tick(world.sealer())
    after = world.checkpoints(R0)[-1]
    assert after.origin != before
    assert after.size == 1


def test_checkpoint_by_another_key_is_no_authority() -> None:
    world = World()
    world.write(R0, b"a", b"b")
    world.tick(world.sealer(MlDsaSigner.from_seed(b"e" * 32)))
    sealer = world.sealer()
    world.tick(sealer)
    assert world.checkpoints(R0)[-1].root == root_of([leaf_hash(b"a"), leaf_hash(b"b")])
    world.tick(world.sealer())
    assert not sealer.alarms


def test_checkpoint_whose_write_failed_is_written_again() -> None:
    world = World()
    sealer = world.sealer()
    world.tick(sealer)
    world.write(R0, b"a")
    world.log.inject(
        lambda at, _: AppendFault.NOT_WRITTEN if at.topic == Topic.CHECKPOINTS else AppendFault.NONE
    )
    world.tick(sealer)
    world.log.inject(None)
    assert not [c for c in world.checkpoints(R0) if c.size]
    world.tick(sealer)
    assert world.checkpoints(R0)[-1].size == 1


def test_anchors_form_one_tree_across_restarts() -> None:
    world = World()
    sealer = world.sealer()
    for n in range(3):
        world.write(R0, bytes([n]))
        world.tick(sealer, 61_000)
    sealer = world.sealer()
    world.write(R0, b"z")
    world.tick(sealer, 61_000)
    anchors = world.anchors()
    assert [a.index for a in anchors] == [0, 1, 2, 3]
    name = anchors_origin(PLAN.domain, PLAN.cluster)
    tree = AnchorTree(name, PLAN.cluster)
    for anchor in anchors:
        tree.apply(anchor, [NoteKey(name=name, public_key=SIGNER.public_key)], VERIFIER)
    assert tree.size == 4


def test_second_sealer_leaves_a_fresh_anchor_of_the_first_alone() -> None:
    world = World()
    one = world.sealer()
    world.tick(one)
    two = world.sealer()
    world.tick(two)
    assert len(world.anchors()) == 1
    world.tick(two, 61_000)
    world.tick(one, 100)
    assert [a.index for a in world.anchors()] == [0, 1]


def test_stop_signs_and_anchors_what_was_read() -> None:
    world = World()
    sealer = world.sealer()
    world.tick(sealer)
    world.write(R0, b"a")
    sealer.cycle()
    sealer.close()
    assert world.checkpoints(R0)[-1].size == 1
    assert {h.size for h in world.anchors()[-1].heads} == {0, 1}
