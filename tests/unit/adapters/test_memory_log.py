"""The log in memory: the faults a test may ask for, and that nothing is left to chance."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from agentguard.adapters.memory_log import AppendFault, MemoryLog
from agentguard.contracts.errors import FatalLogError, LogError, QueueFullError
from agentguard.contracts.ports import Delivery, TopicPartition

AT = TopicPartition("t", 0)


@dataclass
class FixedClock:
    now: int = 1_000

    def now_ms(self) -> int:
        return self.now

    def monotonic_ms(self) -> float:
        return float(self.now)


@dataclass
class CountingEntropy:
    drawn: int = 0

    def token(self, size: int) -> bytes:
        self.drawn += 1
        return self.drawn.to_bytes(size, "big")


def memory_log(*, waits: bool = False) -> MemoryLog:
    return MemoryLog({"t": 2, "u": 2}, clock=FixedClock(), entropy=CountingEntropy(), waits=waits)


def append(log: MemoryLog, value: bytes | None = b"v") -> list[Delivery]:
    told: list[Delivery] = []
    writer = log.writer("w")
    writer.append("t", value, key=None, partition=0, on_delivery=told.append)
    writer.poll()
    return told


def test_two_logs_from_the_same_seeds_are_equal() -> None:
    one, two = memory_log(), memory_log()
    assert [one.topic_id(t) for t in "tu"] == [two.topic_id(t) for t in "tu"]
    append(one), append(two)
    assert one.reader({AT: 0}).read(timeout_ms=0, records_max=9) == two.reader({AT: 0}).read(
        timeout_ms=0, records_max=9
    )


def test_time_comes_from_the_injected_clock() -> None:
    log = memory_log()
    append(log)
    assert log.reader({AT: 0}).read(timeout_ms=0, records_max=9)[0].timestamp_ms == 1_000


def test_an_append_that_fails_is_not_on_the_log() -> None:
    log = memory_log()
    log.inject(lambda at, value: AppendFault.NOT_WRITTEN)
    assert append(log) == [Delivery(0, -1, "_MSG_TIMED_OUT")]
    log.inject(None)
    assert append(log) == [Delivery(0, 0, "")]
    assert log.bounds(AT) == (0, 1)


def test_an_append_that_is_reported_failed_may_still_be_on_the_log() -> None:
    log = memory_log()
    log.inject(lambda at, value: AppendFault.WRITTEN_BUT_REPORTED_FAILED)
    assert append(log) == [Delivery(0, -1, "REQUEST_TIMED_OUT")]
    assert log.bounds(AT) == (0, 1)


def test_a_fault_can_be_chosen_by_partition_and_value() -> None:
    log = memory_log()
    log.inject(lambda at, value: AppendFault.NOT_WRITTEN if value == b"x" else AppendFault.NONE)
    assert [append(log, value)[0].error for value in (b"v", b"x", None)] == [
        "",
        "_MSG_TIMED_OUT",
        "",
    ]


def test_a_full_queue_raises_and_writes_nothing() -> None:
    log = memory_log()
    log.inject(lambda at, value: AppendFault.QUEUE_FULL)
    with pytest.raises(QueueFullError):
        append(log)
    assert log.bounds(AT) == (0, 0)


def test_a_dead_writer_stays_dead_and_others_go_on() -> None:
    log = memory_log()
    writer = log.writer("w")
    log.inject(lambda at, value: AppendFault.WRITER_DIES)
    with pytest.raises(FatalLogError):
        writer.append("t", b"v", key=None, partition=0)
    log.inject(None)
    with pytest.raises(FatalLogError):
        writer.append("t", b"v", key=None, partition=0)
    with pytest.raises(FatalLogError):
        writer.poll()
    assert append(log) == [Delivery(0, 0, "")]


def test_an_unknown_topic_is_a_failed_delivery() -> None:
    told: list[Delivery] = []
    writer = memory_log().writer("w")
    writer.append("none", b"v", key=None, partition=0, on_delivery=told.append)
    assert writer.flush(0) == 0
    assert told == [Delivery(0, -1, "_UNKNOWN_TOPIC")]


def test_the_session_of_a_vanished_member_ends_and_the_others_get_its_partitions() -> None:
    log = memory_log()
    gained: dict[str, list[int]] = {"one": [], "two": []}

    def start(name: str):
        def begin(partitions):
            gained[name].append(len(partitions))
            return dict.fromkeys(partitions, 0)

        return begin

    members = {
        name: log.member(group="g", instance=name, topics=["t", "u"], start=start(name))
        for name in gained
    }
    for member in members.values():
        member.read(timeout_ms=0, records_max=1)
    assert gained == {"one": [2], "two": [2]}
    log.expire("g", "two")
    members["one"].read(timeout_ms=0, records_max=1)
    assert gained["one"] == [2, 0, 4]
    with pytest.raises(FatalLogError):
        members["two"].read(timeout_ms=0, records_max=1)


def test_a_member_replaced_before_its_first_read_leaves_its_partitions_to_the_next() -> None:
    log = memory_log()
    log.member(group="g", instance="one", topics=["t"], start=lambda p: dict.fromkeys(p, 0))
    again = log.member(group="g", instance="one", topics=["t"], start=lambda p: dict.fromkeys(p, 0))
    append(log)
    assert len(again.read(timeout_ms=0, records_max=9)) == 1


def test_a_member_beyond_the_partitions_gets_none_and_reads_nothing() -> None:
    log = memory_log()
    members = [
        log.member(group="g", instance=name, topics=["t"], start=lambda p: dict.fromkeys(p, 0))
        for name in "abc"
    ]
    append(log)
    read = [member.read(timeout_ms=0, records_max=9) for member in members]
    assert [len(records) for records in read] == [1, 0, 0]


def test_without_waits_a_read_of_nothing_returns_at_once_even_with_a_long_timeout() -> None:
    assert memory_log().reader({AT: 0}).read(timeout_ms=3_600_000, records_max=1) == []


def test_with_waits_a_record_of_another_thread_wakes_the_reader() -> None:
    import threading

    log = memory_log(waits=True)
    reader = log.reader({AT: 0})
    thread = threading.Thread(target=lambda: append(log))
    thread.start()
    assert len(reader.read(timeout_ms=20_000, records_max=1)) == 1
    thread.join()


def test_a_closed_reader_reads_no_more() -> None:
    reader = memory_log().reader({AT: 0})
    reader.close()
    with pytest.raises(LogError):
        reader.read(timeout_ms=0, records_max=1)


def test_records_before_a_gone_position_are_not_lost_with_it() -> None:
    log = memory_log()
    append(log)
    reader = log.reader({AT: 0, TopicPartition("t", 1): 5})
    assert len(reader.read(timeout_ms=0, records_max=9)) == 1
    with pytest.raises(LogError, match="`5` of `t/1` is gone"):
        reader.read(timeout_ms=0, records_max=9)
