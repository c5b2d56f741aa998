"""Commands signed, appended and judged, on the log in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentguard.adapters.memory_log import AppendFault, MemoryLog
from agentguard.adapters.system import SystemClock, SystemEntropy
from agentguard.contracts.commands import Registration, StateDigest
from agentguard.contracts.errors import LogError, ReleaseError
from agentguard.contracts.records import Bundle, ControlCommand, Mode
from agentguard.contracts.topics import Topic
from agentguard.control.fold import ControlFold
from agentguard.local.bundles import find_bundle, put_bundle
from agentguard.local.control_writer import CommandError, ControlWriter, Order
from agentguard.pipeline.control_feed import CONTROL, CONTROL_START
from tests.control_world import (
    CLUSTER,
    CODEC,
    VERIFIER,
    agent,
    digest_of,
    genesis_value,
    kill,
    lift,
    named,
    tool,
)

CLOCK = SystemClock()


@pytest.fixture
def log() -> MemoryLog:
    made = MemoryLog(
        {Topic.CONTROL.value: 1, Topic.BUNDLES.value: 3}, clock=CLOCK, entropy=SystemEntropy()
    )
    put(made, genesis_value())
    return made


def put(log: MemoryLog, value: bytes) -> None:
    log.writer("test").append(CONTROL.topic, value, key=None, partition=0)


def records(log: MemoryLog) -> list[bytes | None]:
    reader = log.reader(CONTROL_START)
    return [r.value for r in reader.read(timeout_ms=0, records_max=10_000)]


def open_writer(log: MemoryLog) -> ControlWriter:
    fold = ControlFold(CODEC, VERIFIER, digest_of(genesis_value()))
    writer = ControlWriter(log, fold, codec=CODEC, clock=CLOCK, entropy=SystemEntropy())
    writer.catch_up()
    return writer


@pytest.fixture
def writer(log: MemoryLog) -> Iterator[ControlWriter]:
    made = open_writer(log)
    yield made
    made.close()


def test_submitted_commands_are_judged_by_the_writers_own_fold(writer: ControlWriter) -> None:
    orders = [Order(body=agent()), Order(body=tool()), Order(body=kill(), not_after_ms=99)]
    judgements = writer.submit(orders, named(["ada", "bo"]))
    assert [(j.offset, j.accepted) for j in judgements] == [(1, True), (2, True), (3, True)]
    assert writer.fold.agent("default", "mail") == agent()
    assert writer.fold.folded == 3


def test_commands_of_one_scope_in_one_submission_follow_each_other(writer: ControlWriter) -> None:
    pending = agent(status=Registration.PENDING)
    judgements = writer.submit([Order(body=pending), Order(body=agent())], named(["ada", "bo"]))
    assert [j.code for j in judgements] == ["", ""]


def test_rejected_command_is_told_with_its_code(writer: ControlWriter) -> None:
    judgements = writer.submit([Order(body=agent())], named(["ada"]))
    assert [(j.accepted, j.code) for j in judgements] == [(False, "not_enough_persons")]


def test_command_that_lost_a_race_is_stale_and_not_sent_again(log: MemoryLog) -> None:
    mine, other = open_writer(log), open_writer(log)
    assert other.submit([Order(body=tool())], named(["ada", "bo"]))[0].accepted
    assert mine.submit([Order(body=tool())], named(["ada", "bo"]))[0].code == "stale_scope"
    assert len(records(log)) == 3
    assert mine.submit([Order(body=tool())], named(["ada", "bo"]))[0].accepted


def test_kill_wins_every_race(log: MemoryLog) -> None:
    mine, other = open_writer(log), open_writer(log)
    assert other.submit([Order(body=kill())], named(["bo"]))[0].accepted
    assert other.submit([Order(body=lift())], named(["ada", "bo"]))[0].accepted
    assert mine.submit([Order(body=kill())], named(["ada"]))[0].accepted


def test_malformed_or_oversize_command_is_not_appended(
    log: MemoryLog, writer: ControlWriter
) -> None:
    with pytest.raises(CommandError, match="status"):
        writer.submit([Order(body=agent(status=Registration.UNKNOWN))], named(["ada"]))
    text = "x" * 60_000
    large = tool(description=text)
    with pytest.raises(CommandError):
        writer.submit([Order(body=large)], named(["ada", "bo"]))
    assert len(records(log)) == 1


def test_nothing_submitted_is_nothing_judged(writer: ControlWriter) -> None:
    assert writer.submit([], named(["ada"])) == ()


def test_append_without_acknowledgement_is_an_error(log: MemoryLog, writer: ControlWriter) -> None:
    log.inject(lambda at, value: AppendFault.NOT_WRITTEN)
    with pytest.raises(LogError, match="did not acknowledge"):
        writer.submit([Order(body=kill())], named(["ada"]))


def test_commands_signed_elsewhere_are_appended_as_they_are(log: MemoryLog) -> None:
    empty = MemoryLog({Topic.CONTROL.value: 1}, clock=CLOCK, entropy=SystemEntropy())
    fold = ControlFold(CODEC, VERIFIER, digest_of(genesis_value()))
    writer = ControlWriter(empty, fold, codec=CODEC, clock=CLOCK, entropy=SystemEntropy())
    writer.catch_up()
    assert writer.append_values([genesis_value()])[0].accepted
    assert records(empty) == [genesis_value()]


def test_append_that_crosses_the_step_states_the_digest(log: MemoryLog) -> None:
    for n in range(998):
        put(log, b"junk %d" % n)
    writer = open_writer(log)
    writer.state_with(named(["control"])[0])
    assert writer.submit([Order(body=kill())], named(["ada"]))[0].offset == 999
    stated = CODEC.decode(records(log)[1_000] or b"")
    assert isinstance(stated, ControlCommand)
    body = CODEC.decode(CODEC.decode(stated.signed).body)  # type: ignore[union-attr]
    assert body == StateDigest(at_offset=1_000, digest=writer.fold.digest_at(1_000))
    reader = open_writer(log)
    assert (reader.fold.folded, reader.fold.disagrees) == (1_000, False)


def test_without_the_control_key_no_digest_is_stated(log: MemoryLog) -> None:
    for n in range(998):
        put(log, b"junk %d" % n)
    writer = open_writer(log)
    writer.submit([Order(body=kill())], named(["ada"]))
    assert len(records(log)) == 1_000


def test_bundle_is_found_by_its_digest_alone(log: MemoryLog) -> None:
    digest = put_bundle(log, CODEC, CLUSTER, b"the body")
    assert find_bundle(log, CODEC, digest, CLOCK) == b"the body"
    assert find_bundle(log, CODEC, bytes(32), CLOCK) is None


def test_record_under_a_digest_with_another_body_is_passed_over(log: MemoryLog) -> None:
    digest = put_bundle(log, CODEC, CLUSTER, b"the body")
    forged = Bundle(cluster=CLUSTER, mode=Mode.LIVE, digest=digest, body=b"another")
    key = digest.hex().encode()
    for partition in range(3):
        for value in (CODEC.encode(forged), b"junk"):
            log.writer("forger").append(Topic.BUNDLES, value, key=key, partition=partition)
    assert find_bundle(log, CODEC, digest, CLOCK) == b"the body"


def test_bundle_above_the_bound_is_refused(log: MemoryLog) -> None:
    with pytest.raises(ReleaseError):
        put_bundle(log, CODEC, CLUSTER, bytes(900_001))
