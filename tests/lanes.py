"""A lane on the in-memory log with the real codec, control fold, release and engine."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from agentguard.adapters.memory_log import MemoryLog
from agentguard.contracts.ports import LogRecord, PolicyEngine, TopicPartition
from agentguard.contracts.records import Bundle, Decision, DecisionCore, Mode, Role
from agentguard.contracts.topics import Topic
from agentguard.control.fold import ControlFold
from agentguard.pipeline.clock_check import ClockCheck, heartbeats_from_now
from agentguard.pipeline.control_feed import CONTROL_START, ControlFeed
from agentguard.pipeline.dead_letters import DeadLetters
from agentguard.pipeline.heartbeats import Heartbeats, ProcessIdentity
from agentguard.pipeline.lane import Lane, LaneName, LanePorts
from agentguard.pipeline.poison import NOTES_BYTES, PoisonNotes
from agentguard.pipeline.releases import BUNDLES, Releases
from agentguard.policy.release import Release
from tests import worlds as w

TOPICS = {
    Topic.REQUESTS: 1,
    Topic.DECISIONS: 1,
    Topic.SIGNALS: 1,
    Topic.CONTROL: 1,
    Topic.BUNDLES: 1,
    Topic.HEARTBEATS: 1,
    Topic.DEAD_LETTERS: 1,
}
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
MakeEngine = Callable[[Release], PolicyEngine]


@dataclass
class Platform:
    """A log with a founded control plane; lanes are opened on it as tests like."""

    clock: w.FakeClock = field(default_factory=w.FakeClock)
    # readers on threads of their own wait for records; others get what is there
    waits: bool = False
    partitions: int = 1
    log: MemoryLog = field(init=False)

    def __post_init__(self) -> None:
        shared = dict.fromkeys((Topic.REQUESTS, Topic.DECISIONS, Topic.SIGNALS), self.partitions)
        self.log = MemoryLog(
            {**TOPICS, **shared},
            clock=self.clock,
            entropy=w.CountingEntropy("log"),
            waits=self.waits,
        )
        self.writer = self.log.writer("test")
        for value in w.control_values():
            self.put(Topic.CONTROL, value)
        body = Bundle(cluster=w.CLUSTER, mode=Mode.LIVE, digest=w.release().digest, body=w.bundle())
        self.put(Topic.BUNDLES, w.CODEC.encode(body), key=w.release().digest)

    def put(
        self, topic: Topic, value: bytes | None, *, key: bytes | None = None, partition: int = 0
    ) -> int:
        self.writer.append(topic, value, key=key, partition=partition)
        return self.log.bounds(TopicPartition(topic, partition))[1] - 1

    def ask(self, record: object, *, key: bytes | None = w.KEY, partition: int = 0) -> int:
        """Appends to `ag.requests`; returns the offset."""
        value = w.CODEC.encode(record)  # type: ignore[arg-type]
        return self.put(Topic.REQUESTS, value, key=key, partition=partition)

    def lane(
        self,
        *,
        make_engine: MakeEngine = lambda _: w.engine(),
        lane: str = "a",
        worker: str = "0",
        clock: w.FakeClock | None = None,
        notes: bytearray | None = None,
    ) -> Lane:
        log, clock = self.log, clock or self.clock
        fold = ControlFold(w.CODEC, w.RememberingVerifier(), w.founding().genesis_digest)
        feed = ControlFeed(log.reader(CONTROL_START), log, fold, clock)
        feed.ask_end()
        writer = log.writer("lane")
        identity = ProcessIdentity(
            cluster=w.CLUSTER,
            process=f"decide-{lane}-{worker}",
            role=Role.DECIDE,
            build="test",
            config_digest=bytes(32),
        )
        letters = DeadLetters(writer, w.CODEC, self.clock, w.CountingEntropy(), stage="decide")
        letters.cluster = w.CLUSTER
        releases = Releases(
            log.reader({BUNDLES: 0}), w.CODEC, make_engine, cluster=w.CLUSTER, letters=letters
        )
        ports = LanePorts(
            log=log,
            index=log,
            codec=w.CODEC,
            clock=clock,
            writer=writer,
            control=feed,
            releases=releases,
            heartbeats=Heartbeats(writer, w.CODEC, clock, identity),
            letters=letters,
            clock_check=ClockCheck(
                log.reader(heartbeats_from_now(log)),
                w.CODEC,
                clock,
                process=identity.process,
            ),
            notes=PoisonNotes(notes if notes is not None else bytearray(NOTES_BYTES)),
        )
        return Lane(LaneName(cluster=w.CLUSTER, lane=lane, worker=worker), ports)

    def ready_lane(self, **kwargs: object) -> Lane:
        lane = self.lane(**kwargs)  # type: ignore[arg-type]
        run(lane)
        return lane

    def records(self, topic: Topic, partition: int = 0) -> list[LogRecord]:
        reader = self.log.reader({TopicPartition(topic, partition): 0})
        found: list[LogRecord] = []
        while more := reader.read(timeout_ms=0, records_max=1_000):
            found += more
        return found

    def decisions(self) -> list[tuple[Decision, DecisionCore]]:
        found = []
        for record in self.records(Topic.DECISIONS):
            decision = w.CODEC.decode(record.value or b"")
            assert isinstance(decision, Decision)
            core = w.CODEC.decode(decision.core)
            assert isinstance(core, DecisionCore)
            found.append((decision, core))
        return found

    def cores(self) -> list[DecisionCore]:
        return [core for _, core in self.decisions()]


def run(lane: Lane, steps: int = 4) -> None:
    """Lets a lane do what is there, and read it back."""
    for _ in range(steps):
        lane.step(0)
