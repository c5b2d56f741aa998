"""Feature: ai-agent-security-platform, Property 20: One Winner.

Lanes a and b, zombies that were replaced, restarts, lost and doubled deliveries, and a writer of
decisions that do not count: whatever happens, every reader takes the same decision for a request,
and it is the one that an independent reading of the rules names.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agentguard.adapters.memory_log import AppendFault
from agentguard.contracts.errors import FatalLogError, UndecodableError
from agentguard.contracts.hashing import leaf_hash
from agentguard.contracts.ports import TopicPartition
from agentguard.contracts.records import (
    AgentRequest,
    Decision,
    DecisionCore,
    Mode,
    ToolOutcome,
    Verdict,
)
from agentguard.contracts.topics import Topic
from agentguard.pipeline.lane import ORPHAN_AFTER_MS, Lane
from agentguard.session.fold import Counted, PartitionFold
from tests import worlds as w
from tests.lanes import Platform

FORGERIES = 7
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 4)),
        st.tuples(st.just("step"), st.integers(0, 3)),
        st.tuples(st.just("restart"), st.integers(0, 1)),
        st.tuples(st.just("fault"), st.integers(0, 3)),
        st.tuples(st.just("forge"), st.integers(0, 50)),
    ),
    min_size=4,
    max_size=16,
)
FAULTS = (
    AppendFault.NONE,
    AppendFault.NOT_WRITTEN,
    AppendFault.WRITTEN_BUT_REPORTED_FAILED,
    AppendFault.WRITTEN_BUT_REPORTED_FAILED,
)


class Race:
    """Two lanes and everything that has ever run, on one log."""

    def __init__(self) -> None:
        self.platform = Platform()
        self.lanes = {0: self.platform.ready_lane(), 1: self.platform.ready_lane(lane="b")}
        self.zombies: list[Lane] = []

    def run(self, steps: list[tuple[str, int]]) -> None:
        for number, (kind, a) in enumerate(steps, start=1):
            match kind:
                case "ask" if a < 4:
                    tool = "notes.read" if a % 2 else "nothing.known"
                    self.platform.ask(w.request(number, tool=tool, task="Read the note plan"))
                case "ask":
                    self.platform.put(Topic.REQUESTS, b"\xc3\x01 no record")
                case "step":
                    self.step((*self.lanes.values(), *self.zombies)[a % (2 + len(self.zombies))])
                case "restart":
                    self.zombies = [self.lanes[a]]
                    self.lanes[a] = self.platform.lane(lane="ab"[a])
                case "fault":
                    self.fail_decisions(FAULTS[a])
                case _:
                    self.forge(a)
        self.platform.log.inject(None)
        self.settle()
        # a decision on a request that never comes is passed after a while
        self.platform.clock.advance(ORPHAN_AFTER_MS)
        self.settle()

    def settle(self) -> None:
        for _ in range(6):
            for lane in list(self.lanes.values()):
                lane._ports.control.ask_end()
                self.step(lane)

    def step(self, lane: Lane) -> None:
        try:
            lane.step(0)
        except FatalLogError:  # another member took its place: its supervisor starts another
            for number, current in self.lanes.items():
                if current is lane:
                    self.lanes[number] = self.platform.lane(lane="ab"[number])

    def fail_decisions(self, fault: AppendFault) -> None:
        def only_decisions(at: TopicPartition, value: bytes | None) -> AppendFault:
            del value
            return fault if at.topic == Topic.DECISIONS else AppendFault.NONE

        self.platform.log.inject(only_decisions)

    def forge(self, a: int) -> None:
        """Writes a decision that is wrong in one point, or a true one once more."""
        requests = self.platform.records(Topic.REQUESTS)
        if not requests:
            return
        record = requests[a % len(requests)]
        try:
            request = w.CODEC.decode(record.value or b"")
        except UndecodableError:
            return
        if not isinstance(request, AgentRequest):
            return
        core = allow_for(request, record.offset, leaf_hash(record.value))
        wrong: tuple[DecisionCore, ...] = (
            replace(core, request_leaf=bytes(32)),
            replace(core, tenant="other"),
            replace(core, request_id=bytes(16)),
            replace(core, mode=Mode.SHADOW),
            replace(core, cluster="other"),
            replace(core, request_partition=1),
            replace(core, request_offset=core.request_offset + 1),
        )
        self.platform.put(Topic.DECISIONS, frame(wrong[a % FORGERIES]), key=record.key)


def allow_for(request: AgentRequest, offset: int, leaf: bytes) -> DecisionCore:
    bench = w.Bench(control=w.shared_control())
    core = bench.ask(w.request(1))
    return replace(
        core,
        verdict=Verdict.ALLOW,
        tenant=request.tenant,
        agent_id=request.agent_id,
        request_id=request.request_id,
        request_offset=offset,
        request_leaf=leaf,
    )


def frame(core: DecisionCore) -> bytes:
    bench = w.Bench(control=w.shared_control())
    return bench.write(core).value or b""


def winners(platform: Platform) -> dict[int, int]:
    """The rules read once more, independently: offset of a request → offset of its decision."""
    requests = platform.records(Topic.REQUESTS)
    found: dict[int, int] = {}
    for record, (decision, core) in zip(
        platform.records(Topic.DECISIONS), platform.decisions(), strict=True
    ):
        at = core.request_offset
        if at >= len(requests) or at in found:
            continue
        value = requests[at].value or b""
        named = (core.tenant, core.agent_id, core.request_id)
        try:
            decoded = w.CODEC.decode(value)
        except UndecodableError:
            decoded = None
        if isinstance(decoded, ToolOutcome):
            continue
        if isinstance(decoded, AgentRequest):
            wanted = (decoded.tenant, decoded.agent_id, decoded.request_id)
        else:
            wanted = ("", "", None)  # type: ignore[assignment]
        if (
            named == wanted
            and core.request_leaf == leaf_hash(value)
            and (core.cluster, core.mode, core.request_partition) == (w.CLUSTER, Mode.LIVE, 0)
            and (decision.cluster, decision.mode) == (w.CLUSTER, Mode.LIVE)
        ):
            found[at] = record.offset
    return found


def read_anew(platform: Platform) -> tuple[dict[int, int], PartitionFold]:
    """What a reader takes that starts now and reads all requests first."""
    fold = PartitionFold(cluster=w.CLUSTER, partition=0, partitions=1)
    for record in platform.records(Topic.REQUESTS):
        try:
            decoded = w.CODEC.decode(record.value or b"")
        except UndecodableError:
            decoded = None
        fold.read(record, decoded)
        fold.apply_request(record, decoded)
    taken = {}
    for record in platform.records(Topic.DECISIONS):
        decision = w.CODEC.decode(record.value or b"")
        assert isinstance(decision, Decision)
        core = w.CODEC.decode(decision.core)
        assert isinstance(core, DecisionCore)
        if fold.apply_decision(record, decision, core) is Counted.EFFECTIVE:
            taken[core.request_offset] = record.offset
    return taken, fold


@given(steps=STEPS)
def test_every_reader_takes_the_same_decision(steps: list[tuple[str, int]]) -> None:
    race = Race()
    race.run(steps)
    expected = winners(race.platform)
    assert sorted(expected) == list(range(len(race.platform.records(Topic.REQUESTS))))
    taken, fold = read_anew(race.platform)
    assert taken == expected
    snapshot = fold.agent(w.TENANT, w.AGENT).snapshot()
    for lane in race.lanes.values():
        assert lane.state_of(0, w.TENANT, w.AGENT).snapshot() == snapshot


Fold_decision = PartitionFold.apply_decision


def _last_wins(
    self: PartitionFold, record: object, decision: object, core: object, **k: object
) -> object:
    counted = Fold_decision(self, record, decision, core, **k)  # type: ignore[arg-type]
    return Counted.EFFECTIVE if counted is Counted.LATER else counted


MUTANTS = (
    ("agentguard.contracts.counting.decision_counts", lambda **_: True),
    ("agentguard.session.fold.PartitionFold.apply_decision", _last_wins),
)
