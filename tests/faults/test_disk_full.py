"""The log takes nothing for a while, as with a full disk: deny meanwhile, and nothing lost after."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from agentguard.adapters.memory_log import AppendFault
from agentguard.adapters.mldsa_signer import MlDsaSigner
from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.ports import TopicPartition
from agentguard.contracts.records import (
    AgentRequest,
    Checkpoint,
    DecisionCore,
    Enforcement,
    Verdict,
)
from agentguard.contracts.topics import Topic
from agentguard.pipeline.sealing import Sealer, SealPlan, SealPorts
from tests import worlds as w
from tests.gateway.world import until
from tests.lanes import TOPICS, Platform, run
from tests.whole import Whole, call

SEALED = {**TOPICS, Topic.CHECKPOINTS: 1, Topic.ANCHORS: 1}


@dataclass
class Disk:
    """A disk that is full for some topics, or has room."""

    full: set[str] = field(default_factory=set)
    how: AppendFault = AppendFault.NOT_WRITTEN
    refused: int = 0

    def judge(self, at: TopicPartition, value: bytes | None) -> AppendFault:
        if at.topic not in self.full:
            return AppendFault.NONE
        self.refused += 1
        return self.how


def decoded(platform: Platform, topic: Topic, kind: type) -> list[object]:
    found = []
    for record in platform.records(topic):
        try:
            body = w.CODEC.decode(record.value or b"")
        except UndecodableError:
            continue
        if isinstance(body, kind):
            found.append(body)
    return found


def effective(platform: Platform) -> dict[int, DecisionCore]:
    """The first decision of each request offset."""
    found: dict[int, DecisionCore] = {}
    for core in platform.cores():
        found.setdefault(core.request_offset, core)
    return found


def test_a_gateway_whose_log_is_full_denies_and_allows_again_once_there_is_room() -> None:
    world, disk = Whole(), Disk()
    world.log.inject(disk.judge)

    async def scenario() -> None:
        async with world.open() as caller:
            assert (await caller.post("/v1/decisions", call(), agent=w.AGENT)).status == 200
            for how in (AppendFault.NOT_WRITTEN, AppendFault.QUEUE_FULL):
                disk.full, disk.how = {Topic.REQUESTS}, how
                for _ in range(3):
                    reply = await caller.post("/v1/decisions", call(), agent=w.AGENT)
                    assert (reply.status, reply.json["code"]) == (503, "unreachable")
                    assert reply.json["action"] == "deny"
            disk.full = set()
            reply = await caller.post("/v1/decisions", call(), agent=w.AGENT)
            assert reply.json["action"] == "allow"
            world.clock.advance(2_000)
            await until(
                lambda: [
                    e
                    for e in decoded(world, Topic.REQUESTS, Enforcement)
                    if e.code.value == "not_written"  # type: ignore[attr-defined]
                ]
            )

    asyncio.run(scenario())
    asked = decoded(world, Topic.REQUESTS, AgentRequest)
    assert len(asked) == 2
    assert disk.refused >= 6


def test_a_decision_that_could_not_be_written_never_becomes_an_allow_for_its_caller() -> None:
    world, disk = Whole(timeout_ms=300), Disk()
    world.log.inject(disk.judge)

    async def scenario() -> None:
        async with world.open() as caller:
            disk.full = {Topic.DECISIONS}
            reply = await caller.post("/v1/decisions", call(), agent=w.AGENT)
            assert (reply.status, reply.json["code"]) == (504, "deadline")
            assert reply.json["action"] == "deny"
            disk.full = set()
            await until(world.cores)
            reply = await caller.post("/v1/decisions", call(), agent=w.AGENT)
            assert reply.json["action"] == "allow"

    asyncio.run(scenario())
    assert len(effective(world)) == 2


def test_requests_are_decided_once_each_when_the_lane_can_write_again() -> None:
    for how in (AppendFault.NOT_WRITTEN, AppendFault.QUEUE_FULL):
        platform, disk = Platform(), Disk(how=how)
        platform.log.inject(disk.judge)
        lane = platform.ready_lane()
        disk.full = {Topic.DECISIONS, Topic.HEARTBEATS, Topic.DEAD_LETTERS}
        offsets = [platform.ask(w.request(number)) for number in range(1, 6)]
        offsets.append(platform.put(Topic.REQUESTS, b"junk"))
        run(lane, 20)
        assert platform.decisions() == []
        disk.full = set()
        run(lane, 20)
        found = effective(platform)
        assert sorted(found) == offsets
        assert [found[o].verdict for o in offsets] == [Verdict.ALLOW] * 5 + [Verdict.DENY]
        assert len(platform.cores()) == len(offsets), "each was decided once"


def test_room_that_comes_after_the_deadline_brings_a_decision_and_no_allow_that_was_not_told() -> (
    None
):
    platform, disk = Platform(), Disk(how=AppendFault.QUEUE_FULL)
    platform.log.inject(disk.judge)
    lane = platform.ready_lane()
    disk.full = {Topic.DECISIONS}
    offset = platform.ask(w.request(1))
    run(lane, 5)
    platform.clock.advance(5_000)
    lane._ports.control.ask_end()
    disk.full = set()
    run(lane, 5)
    core = effective(platform)[offset]
    assert (core.verdict, core.codes) == (Verdict.DENY, ("deadline",))


def sealing(platform: Platform) -> Sealer:
    ports = SealPorts(
        log=platform.log,
        index=platform.log,
        codec=w.CODEC,
        clock=platform.clock,
        signer=MlDsaSigner.from_seed(b"s" * 32),
        verifier=w.RememberingVerifier(),
    )
    sealer = Sealer(ports, SealPlan(domain="agentguard.invalid", cluster=w.CLUSTER))
    sealer.start()
    return sealer


def test_a_sealer_that_cannot_write_seals_all_of_it_once_there_is_room() -> None:
    platform, disk = Platform(), Disk()
    platform.log._topics.update(SEALED)
    for topic in (Topic.CHECKPOINTS, Topic.ANCHORS):
        platform.log.recreate(topic)
    platform.log.inject(disk.judge)
    sealer = sealing(platform)
    lane = platform.ready_lane()
    disk.full = {Topic.CHECKPOINTS, Topic.ANCHORS}

    def live(step: Callable[[], object]) -> None:
        for _ in range(4):
            step()
            run(lane)
            platform.clock.advance(600)
            lane._ports.control.ask_end()
            sealer.cycle()

    live(lambda: platform.ask(w.request(len(platform.records(Topic.REQUESTS)) + 1)))
    assert decoded(platform, Topic.CHECKPOINTS, Checkpoint) == []
    assert disk.refused
    disk.full = set()
    live(lambda: None)
    heads: dict[str, int] = {}
    for head in decoded(platform, Topic.CHECKPOINTS, Checkpoint):
        assert isinstance(head, Checkpoint)
        heads[head.topic] = max(heads.get(head.topic, 0), head.size)
    for topic in (Topic.REQUESTS, Topic.DECISIONS, Topic.CONTROL):
        assert heads[topic] == platform.log.bounds(TopicPartition(topic, 0))[1]
