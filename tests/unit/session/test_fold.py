"""One partition: what counts, what is held back, what is finished."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentguard.contracts.errors import FatalLogError
from agentguard.contracts.hashing import chain_next, chain_start, leaf_hash
from agentguard.contracts.ports import LogRecord
from agentguard.contracts.records import EpochStart, Mode, Signal, SignalKind, Verdict
from agentguard.contracts.topics import Topic
from agentguard.session.fold import Counted, PartitionFold
from tests import worlds as w
from tests.worlds import Bench, outcome, request


def bench() -> Bench:
    return Bench(control=w.shared_control())


def test_first_counting_decision_is_effective_and_later_ones_change_nothing() -> None:
    made = bench()
    core = made.ask(request(1))
    first, second = made.write(core), made.write(replace(core, verdict=Verdict.DENY))
    assert made.read_back(first) is Counted.EFFECTIVE
    before = made.fold.agent(w.TENANT, w.AGENT).digest()
    assert made.read_back(second) is Counted.LATER
    assert made.fold.agent(w.TENANT, w.AGENT).digest() == before
    assert made.fold.next_decision == 2


def test_decision_before_the_floor_does_not_count() -> None:
    made = bench()
    core = made.ask(request(1, decisions_floor=1))
    early, late = made.write(core), made.write(core)
    assert made.read_back(early) is Counted.VOID
    assert made.read_back(late) is Counted.EFFECTIVE


def test_k_stays_before_a_decision_whose_request_is_unread() -> None:
    made = bench()
    core = replace(made.ask(request(1)), request_offset=1)
    record = made.write(core)
    assert made.read_back(record) is Counted.UNREAD
    assert made.fold.next_decision == 0
    made.fold.pass_decision(record)
    assert made.fold.next_decision == 1


def test_decision_of_another_cluster_is_void_at_once() -> None:
    made = bench()
    core = replace(made.ask(request(1)), request_offset=1, cluster="other")
    assert made.read_back(made.write(core)) is not Counted.UNREAD
    assert made.fold.next_decision == 1


def test_unreadable_decision_is_void_and_passed() -> None:
    made = bench()
    record = LogRecord(Topic.DECISIONS, 0, 0, None, b"junk", 0)
    assert made.fold.apply_decision(record, None, None, readable=False) is Counted.VOID
    assert made.fold.next_decision == 1


def test_missing_offset_ends_the_process() -> None:
    made = bench()
    record = made.append(request(1))._replace(offset=5)
    with pytest.raises(FatalLogError):
        made.fold.read(record, request(1))


def test_chains_are_over_the_agents_records_and_its_effective_decisions() -> None:
    made = bench()
    start = chain_start(w.CLUSTER, w.TENANT, w.AGENT)
    core = made.ask(request(1))
    assert core.requests_chain == start
    note = made.put(outcome(2, "x"))
    decision = made.write(core)
    made.read_back(decision)
    state = made.fold.agent(w.TENANT, w.AGENT)
    head = chain_next(start, leaf_hash(made.requests[0].value))
    assert state.requests_chain == chain_next(head, leaf_hash(note.value))
    assert state.decisions_chain == chain_next(start, leaf_hash(decision.value))


def test_record_of_no_agent_is_in_no_chain() -> None:
    made = bench()
    before = made.fold.agent(w.TENANT, w.AGENT).digest()
    start = EpochStart(
        cluster=w.CLUSTER, mode=Mode.LIVE, producer="g", epoch=1, sequence=1, control_offset=0
    )
    made.put(start, key=None)
    made.decide(b"junk")
    assert made.fold.agent(w.TENANT, w.AGENT).digest() == before


def test_finished_prefix_ends_at_the_first_undecided_request() -> None:
    made = bench()
    first = made.ask(request(1))
    made.decide(request(2))
    assert made.fold.low_water == 0
    assert not made.fold.is_decided(0)
    assert made.fold.is_decided(1)
    made.read_back(made.write(first))
    assert made.fold.low_water == 2
    assert made.fold.is_decided(0)


def test_decision_on_a_request_that_is_read_but_not_folded_takes_effect_when_it_is() -> None:
    made = bench()
    record = made.append(request(1))
    waiting = made.fold.read(record, made.decoded[-1])  # type: ignore[arg-type]
    assert waiting is not None
    other = bench()
    core = other.ask(request(1))
    assert made.read_back(made.write(core)) is Counted.EFFECTIVE
    state = made.fold.agent(w.TENANT, w.AGENT)
    assert state.minute.snapshot() == ()
    made.fold.apply_request(record, made.decoded[-1])  # type: ignore[arg-type]
    assert state.minute.snapshot() != ()
    assert made.fold.open == {}


def test_misplaced_record_joins_the_chain_and_has_no_effect() -> None:
    made = bench()
    made.put(outcome(1, "x", mode=Mode.SHADOW))
    made.put(outcome(2, "y", cluster="other"))
    state = made.fold.agent(w.TENANT, w.AGENT)
    assert state.outputs == {}
    assert state.requests_chain != chain_start(w.CLUSTER, w.TENANT, w.AGENT)


def test_signal_of_another_cluster_has_no_effect() -> None:
    made = bench()
    signal = Signal(
        cluster="other", mode=Mode.LIVE, tenant=w.TENANT, agent_id=w.AGENT,
        kind=SignalKind.QUARANTINE, level=1, reason="x", evidence_refs=(), issued_at_ms=w.NOW,
    )  # fmt: skip
    record = LogRecord(Topic.SIGNALS, 0, 0, w.KEY, b"", 0)
    assert not made.fold.apply_signal(record, signal)
    assert made.fold.signals(w.TENANT, w.AGENT) is None
    risk = replace(signal, cluster=w.CLUSTER, kind=SignalKind.RISK)
    assert made.fold.apply_signal(record, risk)
    found = made.fold.signals(w.TENANT, w.AGENT)
    assert found is not None
    assert found.quarantine("s1") == ""


def test_partition_may_begin_after_offset_zero() -> None:
    fold = PartitionFold(cluster=w.CLUSTER, partition=0, partitions=1, starts=(10, 20, 30))
    assert (fold.low_water, fold.next_decision, fold.next_signal) == (10, 20, 30)
