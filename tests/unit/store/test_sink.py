# SPDX-License-Identifier: Apache-2.0
"""The sink: every record once, in its table, with the right answer to whether it counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.memory_store import InsertFault, MemoryStore
from agentguard.bounds import STORE_REQUESTS_KEPT_MAX
from agentguard.contracts import commands as c
from agentguard.contracts import records as r
from agentguard.contracts.errors import LogError, StoreError
from agentguard.contracts.hashing import leaf_hash
from agentguard.contracts.ports import TopicPartition
from agentguard.contracts.topics import Topic
from agentguard.store import requests as store_requests
from tests.trail_store import (
    NOW_MS,
    TENANT,
    Trail,
    checkpoint,
    deliveries,
    enforcement,
    outcome,
    register_agent,
)


@pytest.fixture
def trail(tmp_path: Path, codec: AvroCodec) -> Trail:
    return Trail(tmp_path, codec)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def offsets(store: MemoryStore, table: str, partition: int = 0) -> list[int]:
    rows = store.tables.get(table, ())
    return sorted(int(str(x["offset"])) for x in rows if x["partition"] == partition)


def only(store: MemoryStore, table: str) -> dict[str, Any]:
    (row,) = store.tables[table]
    return row


def test_every_record_of_a_call_is_in_its_table_once(trail: Trail, store: MemoryStore) -> None:
    asked = trail.request()
    answered = trail.decide(asked)
    trail.append(Topic.REQUESTS, outcome(trail.cluster, request_offset=asked))
    trail.append(Topic.REQUESTS, enforcement(trail.cluster))
    trail.append(Topic.REQUESTS, deliveries(trail.cluster, [(asked, answered, r.Verdict.DENY)]))
    trail.store_all(store)
    assert offsets(store, "requests") == [0]
    assert offsets(store, "decisions_all") == [0]
    assert offsets(store, "outcomes") == [1]
    assert offsets(store, "enforcements") == [2]
    assert offsets(store, "deliveries") == [3]
    request, decision = only(store, "requests"), only(store, "decisions_all")
    assert request["payload"] == trail.value(Topic.REQUESTS, 0, 0)
    assert request["leaf_hash"] == leaf_hash(request["payload"])
    assert decision["counts"] is True
    assert (decision["tool"], decision["session_id"]) == ("mail.send", "s-1")
    assert decision["src_time"] == request["event_time"] == NOW_MS


def test_texts_are_cut_out_of_the_sealed_bytes(trail: Trail, store: MemoryStore) -> None:
    trail.decide(trail.request())
    trail.store_all(store)
    row = only(store, "requests")
    begin = row["parameters_at"]
    cut = row["payload"][begin : begin + row["parameters_bytes"]]
    assert cut == b'{"to":"x@example.com"}'
    row = only(store, "decisions_all")
    begin = row["evidence_at"]
    assert row["payload"][begin : begin + row["evidence_bytes"]] == b'{"sentence":"send it"}'


def test_second_decision_of_a_request_counts_too_and_keeps_the_sources_time(
    trail: Trail, store: MemoryStore
) -> None:
    asked = trail.request()
    trail.decide(asked)
    trail.clock.now += 40
    trail.decide(asked)
    trail.store_all(store)
    first, second = store.tables["decisions_all"]
    assert first["counts"]
    assert second["counts"]
    assert first["src_time"] == second["src_time"]


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": r.Mode.REPLAY},
        {"cluster": "another"},
        {"request_partition": 1},
        {"request_leaf": b"x" * 32},
        {"tenant": ""},
        {"agent_id": "agent-2"},
        {"request_id": b"x" * 16},
    ],
)
def test_decision_that_names_its_request_wrongly_does_not_count(
    trail: Trail, store: MemoryStore, changes: dict[str, Any]
) -> None:
    asked = trail.request()
    made = {**changes}
    cluster = made.pop("cluster", None)
    if cluster:
        frame = trail.codec.decode(trail.codec.encode(_core(trail, asked)))
        assert isinstance(frame, r.DecisionCore)
        wrong = replace(frame, cluster=cluster)
        trail.append(Topic.DECISIONS, _decision(trail, wrong))
    else:
        trail.append(Topic.DECISIONS, _decision(trail, replace(_core(trail, asked), **made)))
    trail.store_all(store)
    row = only(store, "decisions_all")
    assert row["counts"] is False
    assert row["tool"] == ""


def _core(trail: Trail, offset: int) -> r.DecisionCore:
    at = trail.decide(offset)
    whole = trail.codec.decode(trail.value(Topic.DECISIONS, 0, at) or b"")
    assert isinstance(whole, r.Decision)
    made = trail.codec.decode(whole.core)
    assert isinstance(made, r.DecisionCore)
    # the one that was appended on the way is taken off again
    trail.log._partitions[TopicPartition(Topic.DECISIONS, 0)].records.pop()
    return made


def _decision(trail: Trail, core: r.DecisionCore) -> r.Decision:
    return r.Decision(
        cluster=trail.cluster,
        mode=r.Mode.LIVE,
        core=trail.codec.encode(core),
        measured=r.Measured(lane="a", worker="0", stages=(), cache=False),
        macs=(),
    )


def test_decision_below_its_requests_floor_does_not_count(trail: Trail, store: MemoryStore) -> None:
    asked = trail.request(decisions_floor=1)
    trail.decide(asked)
    trail.decide(asked)
    trail.store_all(store)
    assert [x["counts"] for x in store.tables["decisions_all"]] == [False, True]


def test_decision_waits_until_its_request_is_read(trail: Trail, store: MemoryStore) -> None:
    trail.decide(trail.request())
    requests = trail.log._partitions[TopicPartition(Topic.REQUESTS, 0)].records
    unread = requests.pop()
    sink = trail.sink(store)
    sink.start()
    sink.step(timeout_ms=0)
    assert sink._queue.first_held() == {0: 0}
    requests.append(unread)
    sink.step(timeout_ms=0)
    sink.stop()
    assert only(store, "decisions_all")["counts"] is True


def test_decisions_of_requests_that_do_not_exist_are_findings_after_one_wait(
    trail: Trail, store: MemoryStore
) -> None:
    for _ in range(20):
        trail.decide(trail.request())
    trail.log.recreate(Topic.REQUESTS)
    sink = trail.sink(store)
    sink.start()
    sink.step(timeout_ms=0)
    assert sink._queue.first_held() == {0: 0}
    trail.clock.now += 300
    sink.step(timeout_ms=0)
    sink.stop()
    rows = store.tables["decisions_all"]
    assert {(x["counts"], x["problem"]) for x in rows} == {(False, "no_request")}
    assert len(rows) == 20


def test_decision_that_still_waits_at_a_stop_is_read_again(
    trail: Trail, store: MemoryStore
) -> None:
    trail.decide(trail.request())
    requests = trail.log._partitions[TopicPartition(Topic.REQUESTS, 0)].records
    unread = requests.pop()
    trail.store_all(store)
    assert "decisions_all" not in store.tables
    requests.append(unread)
    trail.store_all(store)
    assert only(store, "decisions_all")["counts"] is True


def test_older_request_is_read_back_from_its_table(
    trail: Trail, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_requests, "STORE_REQUESTS_KEPT_MAX", 1)
    first = trail.request()
    for _ in range(5):
        trail.request()
    trail.append(Topic.REQUESTS, b"no frame")
    trail.decide(first)
    trail.decide(6)
    trail.store_all(store)
    assert [x["counts"] for x in store.tables["decisions_all"]] == [True, True]
    assert STORE_REQUESTS_KEPT_MAX > 1


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"no frame", "undecodable"),
        (b"\xc3\x01unlisted" + b"x" * 8, "unlisted_schema"),
        (None, "null_value"),
    ],
)
def test_unreadable_request_leaves_a_stub_and_a_dead_letter_and_can_be_decided(
    trail: Trail, store: MemoryStore, value: bytes | None, problem: str
) -> None:
    at = trail.append(Topic.REQUESTS, value)
    trail.decide(at)
    trail.store_all(store)
    row = only(store, "requests")
    assert (row["offset"], row["problem"]) == (at, problem)
    assert row["leaf_hash"] == leaf_hash(value)
    assert [(topic, error) for topic, _, error, _ in trail.letters.notes] == [
        (Topic.REQUESTS, problem)
    ]
    decided = only(store, "decisions_all")
    assert (decided["counts"], decided["agent_id"]) == (True, "")


def test_record_of_another_type_counts_as_a_request(trail: Trail, store: MemoryStore) -> None:
    at = trail.append(Topic.REQUESTS, checkpoint(trail.cluster, 1, NOW_MS))
    trail.decide(at)
    trail.store_all(store)
    assert only(store, "requests")["problem"] == "unexpected_type"
    assert only(store, "decisions_all")["counts"] is True


def test_decision_of_an_outcome_does_not_count(trail: Trail, store: MemoryStore) -> None:
    at = trail.append(Topic.REQUESTS, outcome(trail.cluster))
    trail.decide(at)
    trail.store_all(store)
    assert only(store, "decisions_all")["counts"] is False


def test_bad_dead_letter_is_not_answered_by_another(trail: Trail, store: MemoryStore) -> None:
    trail.append(Topic.DEAD_LETTERS, b"no frame")
    trail.store_all(store)
    assert only(store, "dead_letters")["problem"] == "undecodable"
    assert trail.letters.notes == []


def test_second_tenant_is_refused_loudly_and_leaves_only_place_and_leaf(
    trail: Trail, store: MemoryStore
) -> None:
    own = trail.request()
    foreign = trail.request(tenant="rival", tool="rival.secret")
    trail.decide(own)
    trail.decide(foreign)
    trail.append(Topic.REQUESTS, replace(outcome(trail.cluster), tenant="rival"))
    trail.command(register_agent(tenant="rival"))
    sink = trail.sink(store)
    sink.start()
    while sink.step(timeout_ms=0):
        pass
    assert "second tenant" in sink.not_ready
    sink.stop()
    everything = repr(store.tables)
    assert "rival" not in everything
    assert sink.counts.problems["foreign_tenant"] == 4
    assert offsets(store, "requests") == [0, 1, 2]
    assert trail.letters.notes == []
    stub = store.tables["requests"][1]
    assert stub["leaf_hash"] == leaf_hash(trail.value(Topic.REQUESTS, 0, foreign))


def test_any_tenant_is_stored_where_the_store_serves_any(trail: Trail, store: MemoryStore) -> None:
    trail.decide(trail.request(tenant="rival"))
    trail.store_all(store, tenant="")
    assert only(store, "decisions_all")["tenant"] == "rival"


def test_restart_continues_behind_what_is_stored(trail: Trail, store: MemoryStore) -> None:
    trail.decide(trail.request())
    trail.store_all(store)
    trail.decide(trail.request())
    trail.store_all(store)
    assert offsets(store, "requests") == [0, 1]
    assert offsets(store, "decisions_all") == [0, 1]


def test_lost_progress_is_made_good_by_reading_back(trail: Trail, store: MemoryStore) -> None:
    for _ in range(3):
        trail.decide(trail.request())
    trail.command(register_agent(), signers=2)
    trail.store_all(store)
    del store.tables["sink_progress"]
    again = trail.store_all(store)
    assert offsets(store, "requests") == [0, 1, 2]
    assert offsets(store, "decisions_all") == [0, 1, 2]
    assert offsets(store, "control_commands") == [0, 1]
    assert again.writer.read_backs > 0


@pytest.mark.parametrize(
    "fault", [InsertFault.NOTHING_WRITTEN, InsertFault.HALF_WRITTEN, InsertFault.ALL_WRITTEN]
)
def test_failed_insert_is_repaired_to_exactly_once(
    trail: Trail, store: MemoryStore, fault: InsertFault
) -> None:
    failing = {"requests", "decisions_all", "agents_all"}

    def once(table: str, _rows: Sequence[Sequence[object]]) -> InsertFault:
        if table not in failing:
            return InsertFault.NONE
        failing.discard(table)
        return fault

    for _ in range(4):
        trail.decide(trail.request())
    trail.command(register_agent())
    store.inject(once)
    sink = trail.store_all(store)
    assert not failing
    assert offsets(store, "requests") == [0, 1, 2, 3]
    assert offsets(store, "decisions_all") == [0, 1, 2, 3]
    assert store.tables["agents_all"][-1]["agent_id"] == "agent-1"
    assert sink.writer.failures == 3


def test_crash_between_insert_and_progress_stores_nothing_twice(
    trail: Trail, store: MemoryStore
) -> None:
    for _ in range(3):
        trail.decide(trail.request())
    crashed = trail.sink(store)
    crashed.start()
    crashed.step(timeout_ms=0)
    trail.clock.now += 1_000
    crashed.step(timeout_ms=0)
    assert offsets(store, "requests") == [0, 1, 2]
    assert "sink_progress" not in store.tables
    trail.request()
    trail.store_all(store)
    assert offsets(store, "requests") == [0, 1, 2, 3]
    assert offsets(store, "decisions_all") == [0, 1, 2]


def test_rows_that_vanish_stop_the_sink_before_it_commits(trail: Trail, store: MemoryStore) -> None:
    trail.request()
    trail.store_all(store)
    progress = repr(store.tables["sink_progress"])
    trail.request()
    del store.tables["requests"][0]
    # the position says that offset 0 is stored; in doubt the sink looks, and does not believe
    store.inject(
        lambda table, _rows: (
            InsertFault.LOST_IN_SILENCE if table == "requests" else InsertFault.NONE
        )
    )
    sink = trail.sink(store)
    sink.start()
    sink.writer.doubt({TopicPartition(Topic.REQUESTS, 0): 10})
    sink.step(timeout_ms=0)
    with pytest.raises(StoreError, match="cannot be found"):
        sink.stop()
    assert repr(store.tables["sink_progress"]) == progress


def test_row_that_fits_no_column_becomes_a_stub_and_the_rest_is_stored(
    trail: Trail, store: MemoryStore
) -> None:
    for _ in range(5):
        trail.request()
    poison = trail.value(Topic.REQUESTS, 0, 2)
    insert = store.insert

    def refuse(table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        if "tool" in columns and any(poison in row for row in rows):
            error = StoreError("does not fit")
            error.retryable = False
            raise error
        insert(table, columns, rows)

    store.insert = refuse  # type: ignore[method-assign]
    trail.store_all(store)
    assert offsets(store, "requests") == [0, 1, 2, 3, 4]
    (stub,) = [x for x in store.tables["requests"] if x["problem"]]
    assert (stub["offset"], stub["problem"], stub["payload"]) == (2, "unstorable", poison)
    assert [note[2] for note in trail.letters.notes] == ["unstorable"]


def test_store_of_a_recreated_topic_is_refused(trail: Trail, store: MemoryStore) -> None:
    trail.request()
    trail.store_all(store)
    trail.log.recreate(Topic.REQUESTS)
    with pytest.raises(StoreError, match="another log"):
        trail.sink(store).start()


def test_log_that_lost_its_tail_is_stored_again_beside_what_was_lost(
    trail: Trail, store: MemoryStore
) -> None:
    for _ in range(3):
        trail.request()
    trail.store_all(store)
    del trail.log._partitions[TopicPartition(Topic.REQUESTS, 0)].records[1:]
    trail.request(tool="mail.other")
    sink = trail.store_all(store)
    assert sink.counts.findings == {"log_shorter_than_store": 1}
    assert sink.writer.conflicts == 1
    assert offsets(store, "requests") == [0, 1, 1, 2]


def test_hole_in_a_sealed_log_is_a_finding(trail: Trail, store: MemoryStore) -> None:
    for _ in range(3):
        trail.request()
    del trail.log._partitions[TopicPartition(Topic.REQUESTS, 0)].records[1]
    sink = trail.store_all(store)
    assert sink.counts.findings == {"hole_in_the_log": 1}


def test_records_deleted_before_they_were_stored_are_a_finding(
    trail: Trail, store: MemoryStore
) -> None:
    for _ in range(3):
        trail.request()
    trail.log.delete_records(TopicPartition(Topic.REQUESTS, 0), 2)
    sink = trail.store_all(store)
    assert sink.counts.findings == {"deleted_before_stored": 1}
    assert offsets(store, "requests") == [2]


def test_unfounded_platform_is_waited_for(trail: Trail, store: MemoryStore) -> None:
    trail.log.recreate(Topic.CONTROL)
    sink = trail.sink(store)
    with pytest.raises(LogError, match="not founded"):
        sink.start()
    trail.append(Topic.CONTROL, trail.founding.genesis_value)
    sink.start()
    sink.stop()
    assert only(store, "control_commands")["type"] == "Genesis"


def test_commands_carry_the_folds_verdict_and_accepted_ones_set_current_state(
    trail: Trail, store: MemoryStore
) -> None:
    trail.command(register_agent())
    trail.command(register_agent(status=c.Registration.ENABLED), signers=1)
    trail.store_all(store)
    rows = store.tables["control_commands"]
    assert [x["accepted"] for x in rows] == [True, True, False]
    assert rows[2]["rejection"]
    assert (rows[1]["rejection"], rows[1]["tenant"]) == ("", TENANT)
    assert [x["status"] for x in store.tables["agents_all"]] == ["pending"]
    assert '"agent_id":"agent-1"' in rows[1]["body"]


def test_schema_listed_later_on_the_control_log_is_found_before_a_record_is_given_up(
    trail: Trail, store: MemoryStore, codec: AvroCodec
) -> None:
    sink = trail.sink(store)
    sink.start()
    # nothing of this build is unlisted, so the fold is made to forget what Genesis lists
    judge = sink._ports.control
    listed = judge._schemas  # type: ignore[attr-defined]
    kept = dict(listed)
    listed.clear()
    applied: list[int] = []
    fold = judge.apply

    def relist(offset: int, value: bytes | None) -> Any:
        applied.append(offset)
        verdict = fold(offset, value)
        listed.update(kept)
        return verdict

    judge.apply = relist  # type: ignore[method-assign]
    trail.request()
    trail.command(c.Lift(kind=c.TargetKind.AGENT, tenant=TENANT, target="a", reason="r"))
    while sink.step(timeout_ms=0):
        pass
    sink.stop()
    assert applied == [1]
    assert only(store, "requests")["problem"] == ""


def test_last_head_of_each_minute_is_kept(trail: Trail, store: MemoryStore) -> None:
    for size in (1, 2, 3):
        trail.append(Topic.CHECKPOINTS, checkpoint(trail.cluster, size, trail.clock.now))
        trail.clock.now += 250
    trail.clock.now += 60_000
    trail.append(Topic.CHECKPOINTS, checkpoint(trail.cluster, 4, trail.clock.now))
    trail.store_all(store)
    assert sorted(x["size"] for x in store.tables["checkpoints"]) == [3, 4]


def test_a_full_queue_of_decisions_is_not_read_into(
    trail: Trail, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentguard.store.decisions.STORE_PENDING_DECISIONS_MAX", 2)
    monkeypatch.setattr("agentguard.store.sink.READ_RECORDS_MAX", 1)
    for _ in range(6):
        trail.decide(trail.request())
    moved = trail.log._partitions[TopicPartition(Topic.REQUESTS, 0)].records
    requests, moved[:] = list(moved), []
    sink = trail.sink(store)
    sink.start()
    for _ in range(10):
        sink.step(timeout_ms=0)
    assert sink.positions[TopicPartition(Topic.DECISIONS, 0)] == 2
    moved[:] = requests
    for _ in range(20):
        sink.step(timeout_ms=0)
    sink.stop()
    assert all(x["counts"] for x in store.tables["decisions_all"])
    assert offsets(store, "decisions_all") == [0, 1, 2, 3, 4, 5]
