"""A lane on the in-memory log: silence, failure denies, restarts, poison bytes, releases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from agentguard.adapters.memory_log import AppendFault
from agentguard.bounds import (
    FAILURE_DENY_BEFORE_DEADLINE_MS,
    LANE_FAILURES_IN_A_ROW_MAX,
    RECORD_BYTES_MAX,
)
from agentguard.contracts.codes import Code
from agentguard.contracts.commands import SideEffect
from agentguard.contracts.errors import ConfigError, EngineError, FatalLogError, ReleaseError
from agentguard.contracts.facts import EngineResult
from agentguard.contracts.ports import PolicyEngine, TopicPartition
from agentguard.contracts.records import (
    DeadLetter,
    DecisionCore,
    Failure,
    Heartbeat,
    Mode,
    Signal,
    SignalKind,
    Verdict,
)
from agentguard.contracts.topics import Topic, agent_key, partition_of
from agentguard.decision import authorize
from agentguard.decision import decide as decide_module
from agentguard.decision.world import Question
from agentguard.pipeline import topology
from agentguard.pipeline.lane import ORPHAN_AFTER_MS, Lane
from agentguard.pipeline.poison import NOTES_BYTES, PoisonNotes
from agentguard.policy.release import Release
from agentguard.registry.tools import ToolLabels, make_tool
from tests import worlds as w
from tests.lanes import Platform, run


class MoodyEngine:
    """A real engine that fails while it is told to: on every input, or on one tool's calls."""

    def __init__(self, release: Release) -> None:
        self._engine = w.engine()
        self.fails: Callable[[bytes], bool] = lambda document: False

    @property
    def identity(self) -> str:
        return self._engine.identity

    def evaluate(self, document: bytes) -> EngineResult | None:
        if self.fails(document):
            raise EngineError("the engine is sick")
        return self._engine.evaluate(document)


def moody(platform: Platform) -> tuple[Lane, MoodyEngine]:
    engine = MoodyEngine(w.release())
    return platform.ready_lane(make_engine=lambda _: engine), engine


def letters(platform: Platform) -> list[DeadLetter]:
    found = [w.CODEC.decode(r.value or b"") for r in platform.records(Topic.DEAD_LETTERS)]
    return [letter for letter in found if isinstance(letter, DeadLetter)]


def last(platform: Platform) -> DecisionCore:
    return platform.cores()[-1]


def test_request_is_decided_once_and_read_back() -> None:
    platform = Platform()
    lane = platform.ready_lane()
    platform.ask(w.request(1))
    run(lane)
    [core] = platform.cores()
    assert (core.verdict, core.request_offset) == (Verdict.ALLOW, 0)
    assert lane.positions()[TopicPartition(Topic.REQUESTS, 0)] == 1


def test_decision_lies_in_its_requests_partition_under_its_key() -> None:
    platform = Platform()
    lane = platform.ready_lane()
    platform.ask(w.request(1))
    run(lane)
    [record] = platform.records(Topic.DECISIONS)
    assert (record.partition, record.key) == (0, w.KEY)


def test_restart_decides_only_what_has_no_decision() -> None:
    platform = Platform()
    run_lane = platform.ready_lane()
    platform.ask(w.request(1))
    run(run_lane)
    platform.ask(w.request(2))
    fresh = platform.ready_lane()
    run(fresh)
    assert [c.request_offset for c in platform.cores()] == [0, 1]
    assert fresh.decided == 1


def test_lane_that_restarts_decides_nothing_before_it_has_read_what_was_there() -> None:
    platform = Platform()
    first = platform.ready_lane()
    for number in range(1, 4):
        platform.ask(w.request(number))
    run(first)
    fresh = platform.lane()
    run(fresh, 10)
    assert fresh.decided == 0
    assert len(platform.cores()) == 3


def test_agents_requests_see_each_other_as_pending_in_order() -> None:
    platform = Platform()
    lane = platform.ready_lane()
    for number in range(1, 4):
        platform.ask(w.request(number))
    run(lane)
    pending = [
        {f.name: f.value for f in c.facts}.get("history.inflight", "0") for c in platform.cores()
    ]
    assert pending == ["0", "1", "2"]


def test_null_value_and_unreadable_bytes_are_denied_and_explained() -> None:
    platform = Platform()
    lane = platform.ready_lane()
    unknown = b"\xc3\x01" + bytes(8) + b"body"
    for value in (None, b"", b"junk", unknown, w.CODEC.encode(w.request(1))[:-1]):
        platform.put(Topic.REQUESTS, value, key=w.KEY)
    run(lane)
    cores = platform.cores()
    assert [c.codes for c in cores] == [(Code.MALFORMED,)] * 5
    assert {(c.tenant, c.agent_id, c.request_id) for c in cores} == {("", "", None)}
    errors = [letter.error for letter in letters(platform)]
    assert errors == ["null_value", "undecodable", "undecodable", "unknown_schema", "undecodable"]
    assert lane.positions()[TopicPartition(Topic.REQUESTS, 0)] == 5


def test_record_of_another_kind_counts_as_a_request_and_is_denied() -> None:
    platform = Platform()
    lane = platform.ready_lane()
    heartbeat = platform.records(Topic.HEARTBEATS)[0].value
    platform.put(Topic.REQUESTS, heartbeat, key=w.KEY)
    run(lane)
    assert last(platform).codes == (Code.MALFORMED,)


def test_junk_among_decisions_and_signals_stops_nothing() -> None:
    platform = Platform()
    lane = platform.ready_lane()
    for topic in (Topic.DECISIONS, Topic.SIGNALS):
        platform.put(topic, None)
        platform.put(topic, b"junk")
        platform.put(topic, w.CODEC.encode(w.request(1)))
    platform.ask(w.request(1))
    run(lane)
    assert platform.records(Topic.DECISIONS)[-1].offset == 3
    assert lane.why_not_ready() == ""


def test_mismatched_key_is_denied() -> None:
    platform = Platform()
    lane = platform.ready_lane()
    platform.ask(w.request(1), key=agent_key(w.TENANT, "somebody-else"))
    run(lane)
    assert last(platform).codes == (Code.RECORD_MISMATCH,)


def test_expired_request_is_decided_as_deadline_without_any_engine() -> None:
    platform = Platform()
    lane, engine = moody(platform)
    engine.fails = lambda document: pytest.fail("the engine was asked")
    platform.clock.advance(1_000)
    lane._ports.control.ask_end()
    platform.ask(w.request(1))
    run(lane)
    assert last(platform).codes == (Code.DEADLINE,)


def test_sick_engine_is_silent_until_just_before_the_deadline() -> None:
    platform = Platform()
    lane, engine = moody(platform)
    engine.fails = lambda document: True
    platform.ask(w.request(1))
    run(lane)
    assert platform.cores() == []
    platform.clock.advance(1_000 - FAILURE_DENY_BEFORE_DEADLINE_MS)
    lane._ports.control.ask_end()
    run(lane)
    assert last(platform).codes == (Code.LANE_FAILURE,)
    assert last(platform).observations.failure is Failure.ENGINE


def test_engine_that_recovers_in_time_decides_properly() -> None:
    platform = Platform()
    lane, engine = moody(platform)
    engine.fails = lambda document: True
    platform.ask(w.request(1))
    run(lane)
    engine.fails = lambda document: False
    run(lane)
    assert last(platform).verdict is Verdict.ALLOW


def test_lane_yields_to_a_decision_that_appears_while_it_is_silent() -> None:
    platform = Platform()
    lane, engine = moody(platform)
    engine.fails = lambda document: True
    platform.ask(w.request(1))
    run(lane)
    other = platform.ready_lane(lane="b")
    run(other)
    platform.clock.advance(990)
    run(lane)
    assert [c.verdict for c in platform.cores()] == [Verdict.ALLOW]


def test_hostile_request_that_breaks_a_sound_engine_is_denied_at_once() -> None:
    platform = Platform()
    lane, engine = moody(platform)
    engine.fails = lambda document: b'"name":"web.read"' in document
    for number in range(1, LANE_FAILURES_IN_A_ROW_MAX + 3):
        platform.ask(w.request(number, tool="web.read", parameters={"url": "x"}))
    run(lane)
    assert {c.codes for c in platform.cores()} == {(Code.ENGINE_ERROR,)}
    assert lane.why_not_ready() == ""


def test_twenty_failures_in_a_row_stop_a_lane_and_an_examination_brings_it_back() -> None:
    platform = Platform()
    lane, engine = moody(platform)
    engine.fails = lambda document: True
    for number in range(1, LANE_FAILURES_IN_A_ROW_MAX + 4):
        platform.ask(w.request(number))
    platform.clock.advance(960)
    lane._ports.control.ask_end()
    run(lane)
    assert len(platform.cores()) == LANE_FAILURES_IN_A_ROW_MAX
    assert "in a row" in lane.why_not_ready()
    engine.fails = lambda document: False
    platform.clock.advance(1_000)
    lane._ports.control.ask_end()
    run(lane)
    assert lane.why_not_ready() == ""
    assert {c.codes for c in platform.cores()[LANE_FAILURES_IN_A_ROW_MAX:]} == {(Code.DEADLINE,)}


def test_stale_control_is_silence_and_then_its_own_code() -> None:
    platform = Platform()
    lane = platform.ready_lane()
    platform.clock.mono += 2_000
    platform.ask(w.request(1))
    run(lane)
    assert platform.cores() == []
    platform.clock.now += 960
    run(lane)
    assert last(platform).codes == (Code.CONTROL_STALE,)


def test_lane_decides_at_or_past_the_control_offset_that_the_door_had_folded() -> None:
    platform = Platform()
    lane = platform.ready_lane()
    offset = platform.put(Topic.CONTROL, w.kill_command())
    platform.ask(w.request(1, control_offset=offset))
    run(lane)
    assert last(platform).codes == (Code.KILLED,)
    assert last(platform).versions.control_offset >= offset


def test_control_offset_that_does_not_exist_is_the_inputs_fault() -> None:
    platform = Platform()
    lane = platform.ready_lane()
    platform.ask(w.request(1, control_offset=1_000_000))
    run(lane)
    assert last(platform).codes == (Code.CONTROL_OFFSET_UNKNOWN,)


def test_failed_delivery_is_sent_again() -> None:
    platform = Platform()
    lane = platform.ready_lane()
    faults = [AppendFault.NOT_WRITTEN, AppendFault.WRITTEN_BUT_REPORTED_FAILED]

    def fail(at: TopicPartition, value: bytes | None) -> AppendFault:
        return faults.pop() if at.topic == Topic.DECISIONS and faults else AppendFault.NONE

    platform.log.inject(fail)
    platform.ask(w.request(1))
    run(lane)
    values = {r.value for r in platform.records(Topic.DECISIONS)}
    assert len(values) == 1


def test_full_writer_queue_leaves_the_request_to_be_decided_again() -> None:
    platform = Platform()
    lane = platform.ready_lane()
    full = [True]

    def fail(at: TopicPartition, value: bytes | None) -> AppendFault:
        is_full = at.topic == Topic.DECISIONS and full[0]
        return AppendFault.QUEUE_FULL if is_full else AppendFault.NONE

    platform.log.inject(fail)
    platform.ask(w.request(1))
    run(lane)
    assert platform.cores() == []
    full[0] = False
    run(lane)
    assert len(platform.cores()) == 1


def test_allow_is_not_sent_again_once_control_has_moved_on() -> None:
    platform = Platform()
    lane = platform.ready_lane()
    platform.log.inject(
        lambda at, value: (
            AppendFault.NOT_WRITTEN if at.topic == Topic.DECISIONS else AppendFault.NONE
        )
    )
    platform.ask(w.request(1))
    run(lane)
    platform.put(Topic.CONTROL, w.kill_command())
    with pytest.raises(FatalLogError):
        run(lane)
    platform.log.inject(None)
    run(platform.lane())
    assert last(platform).codes == (Code.KILLED,)


def test_decision_about_a_request_that_never_comes_is_passed_and_explained() -> None:
    platform = Platform()
    lane = platform.ready_lane()
    platform.ask(w.request(1))
    run(lane)
    core = replace(last(platform), request_offset=50)
    platform.put(Topic.DECISIONS, w.Bench(control=w.shared_control()).write(core).value)
    run(lane)
    assert lane.positions()[TopicPartition(Topic.DECISIONS, 0)] == 1
    platform.clock.advance(ORPHAN_AFTER_MS)
    lane._ports.control.ask_end()
    run(lane)
    assert lane.positions()[TopicPartition(Topic.DECISIONS, 0)] == 2
    assert [letter.error for letter in letters(platform)] == ["no_such_request"]


def test_quarantine_signal_stops_the_agent() -> None:
    platform = Platform()
    lane = platform.ready_lane()
    signal = Signal(
        cluster=w.CLUSTER, mode=Mode.LIVE, tenant=w.TENANT, agent_id=w.AGENT,
        kind=SignalKind.QUARANTINE, level=3, reason="burst", evidence_refs=(),
        issued_at_ms=w.NOW,
    )  # fmt: skip
    platform.put(Topic.SIGNALS, w.CODEC.encode(signal), key=w.KEY)
    run(lane)
    platform.ask(w.request(1))
    run(lane)
    assert last(platform).codes == (Code.QUARANTINED,)
    assert last(platform).versions.signal_offset == 0


def test_release_that_cannot_be_used_leaves_the_lane_not_ready_and_says_so() -> None:
    def refuse(release: Release) -> PolicyEngine:
        raise ReleaseError("the Rego does not compile")

    platform = Platform()
    lane = platform.ready_lane(make_engine=refuse)
    platform.ask(w.request(1))
    run(lane)
    assert platform.cores() == []
    assert "refused" in lane.why_not_ready()


def test_lane_waits_for_the_control_log_before_it_joins() -> None:
    platform = Platform()
    lane = platform.lane()
    platform.clock.mono += 5_000
    platform.ask(w.request(1))
    run(lane)
    assert platform.cores() == []
    assert lane.why_not_ready() == "no partition is assigned"
    lane._ports.control.ask_end()
    run(lane)
    assert len(platform.cores()) == 1


def test_heartbeats_say_what_is_folded_and_held() -> None:
    platform = Platform()
    lane = platform.ready_lane()
    platform.ask(w.request(1))
    run(lane)
    platform.clock.advance(1_000)
    lane._ports.control.ask_end()
    run(lane)
    beat = w.CODEC.decode(platform.records(Topic.HEARTBEATS)[-1].value or b"")
    assert isinstance(beat, Heartbeat)
    assert beat.ready, beat.reason
    assert {(f.topic, f.offset) for f in beat.folded} == {
        (Topic.REQUESTS.value, 1), (Topic.DECISIONS.value, 1), (Topic.SIGNALS.value, 0),
    }  # fmt: skip
    assert beat.releases == (f"1@{w.release().digest.hex()}",)


def test_member_that_reads_nothing_while_requests_grow_ends_its_process() -> None:
    platform = Platform()
    lane = platform.ready_lane()
    lane._reader.read = lambda **_: []  # type: ignore[method-assign, union-attr]
    platform.ask(w.request(1))
    platform.clock.advance(11_000)
    lane._ports.control.ask_end()
    with pytest.raises(FatalLogError):
        run(lane)


def test_idle_lane_stays_alive() -> None:
    platform = Platform()
    lane = platform.ready_lane()
    for _ in range(5):
        platform.clock.advance(11_000)
        lane._ports.control.ask_end()
        run(lane)
    assert lane.why_not_ready() == ""


def test_topics_of_unequal_partitions_are_refused() -> None:
    platform = Platform()
    platform.log._topics[Topic.SIGNALS] = 2
    with pytest.raises(ConfigError):
        topology.lane_partitions(platform.log)


def test_clean_stop_stores_the_finished_prefix() -> None:
    platform = Platform()
    lane = platform.ready_lane()
    platform.ask(w.request(1))
    run(lane)
    lane.close()
    at = TopicPartition(Topic.REQUESTS, 0)
    assert platform.log.committed("decide-a", [at]) == {at: 1}


def test_decision_that_the_log_would_not_take_is_a_denial() -> None:
    platform = Platform()
    open_tool = make_tool(
        "any.call",
        tenant=w.TENANT,
        schema_json='{"type": "object", "additionalProperties": true}',
        description="Call anything",
        labels=ToolLabels(operation="write", side_effect=SideEffect.WRITE),
    )
    platform.put(Topic.CONTROL, w.command(open_tool, nonce=500))
    lane = platform.ready_lane()
    names = {f"k{i:02}" + "\x01" * 700: f"v{i}@x.com" for i in range(64)}
    platform.ask(w.request(1, tool="any.call", parameters=names, task="Call anything"))
    platform.ask(w.request(2))
    run(lane)
    sizes = [len(r.value or b"") for r in platform.records(Topic.DECISIONS)]
    assert max(sizes) <= RECORD_BYTES_MAX
    first, second = platform.cores()
    assert (first.verdict, first.observations.failure) == (Verdict.DENY, Failure.INTERNAL)
    assert second.verdict is Verdict.ALLOW
    assert lane.why_not_ready() == ""


def test_own_decision_copied_to_another_partition_decides_nothing_there() -> None:
    platform = Platform(partitions=4)
    lane, engine = moody(platform)
    engine.fails = lambda document: True
    # the copy's partition is read before the one it was written to
    here, there = partition_of(w.KEY, 4), 3
    assert here < there
    names = (f"agent-{number}" for number in range(2, 64))
    unknown = next(n for n in names if partition_of(agent_key(w.TENANT, n), 4) == there)
    key_there = agent_key(w.TENANT, unknown)
    # the lane is silent about the first, and denies the second without any engine
    platform.ask(w.request(1), partition=here)
    platform.ask(w.request(1, agent_id=unknown), key=key_there, partition=there)
    lane.step(0)
    [written] = platform.records(Topic.DECISIONS, there)
    platform.put(Topic.DECISIONS, written.value, key=written.key, partition=here)
    run(lane)
    assert lane.positions()[TopicPartition(Topic.REQUESTS, here)] == 0
    assert lane.positions()[TopicPartition(Topic.REQUESTS, there)] == 1


def test_request_that_killed_the_process_twice_is_denied_without_any_engine() -> None:
    platform = Platform()
    notes = bytearray(NOTES_BYTES)

    class Killer(MoodyEngine):
        def evaluate(self, document: bytes) -> EngineResult | None:
            if b'"name":"notes.read"' in document:
                raise KeyboardInterrupt  # the process ends here, between begin and end
            return super().evaluate(document)

    platform.ask(w.request(1))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            platform.ready_lane(make_engine=Killer, notes=notes)
    assert platform.cores() == []
    platform.ready_lane(make_engine=Killer, notes=notes)
    assert last(platform).codes == (Code.POISON,)
    assert last(platform).observations.failure is Failure.INTERNAL


def test_request_that_killed_the_process_once_gets_another_try() -> None:
    platform = Platform()
    notes = bytearray(NOTES_BYTES)
    PoisonNotes(notes).begin(0, 0)
    platform.ask(w.request(1))
    platform.ready_lane(notes=notes)
    assert last(platform).verdict is Verdict.ALLOW


def test_mistake_in_the_stages_denies_its_request_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    platform = Platform()
    lane = platform.ready_lane()
    real = authorize.authorize_call

    def mistaken(question: Question, *rest: object) -> object:
        if question.record.offset == 0:
            raise ZeroDivisionError
        return real(question, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(decide_module, "authorize_call", mistaken)
    platform.ask(w.request(1))
    platform.ask(w.request(2))
    run(lane)
    assert [c.codes[0] for c in platform.cores()] == [Code.POISON, Code.ALLOWED]


@pytest.mark.parametrize("off_ms", [2_000, -2_000])
def test_lane_whose_clock_is_off_the_logs_is_silent(off_ms: int) -> None:
    platform = Platform()
    own = w.FakeClock(now=w.NOW + off_ms)
    lane = platform.lane(clock=own)
    for _ in range(4):
        run(lane)
        own.advance(100)
        platform.clock.advance(100)
        lane._ports.control.ask_end()
    assert "ms off" in lane.why_not_ready()
    platform.ask(w.request(1, accepted_at_ms=own.now, deadline_ms=own.now + 1_000))
    run(lane)
    assert platform.cores() == []
    own.now += 990
    run(lane)
    assert last(platform).observations.failure is Failure.CLOCK


def test_slow_broker_alone_is_no_fault_of_the_clock() -> None:
    platform = Platform()
    lane = platform.ready_lane()
    platform.clock.advance(5_000)
    lane._ports.control.ask_end()
    run(lane)
    assert lane.why_not_ready() == ""


def name(agent: str) -> bytes:
    return agent_key(w.TENANT, agent)
