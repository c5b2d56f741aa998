"""What every log must do alike: the one in memory and Kafka."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count

import pytest

from agentguard.contracts.errors import FatalLogError, LogError
from agentguard.contracts.ports import Delivery, LogReader, LogRecord, LogWriter, TopicPartition
from tests.live_broker import PARTITIONS, LogBench

READS_MAX = 200  # each waits up to 50 ms for Kafka: ten seconds


def append(writer: LogWriter, topic: str, value: bytes | None, partition: int = 0) -> Delivery:
    told: list[Delivery] = []
    writer.append(topic, value, key=b"k", partition=partition, on_delivery=told.append)
    assert writer.flush(10_000) == 0
    return told[0]


def read(reader: LogReader, wanted: int) -> list[LogRecord]:
    found: list[LogRecord] = []
    for _ in range(READS_MAX):
        found += reader.read(timeout_ms=50, records_max=100)
        if len(found) >= wanted:
            break
    return found


def read_until(done: Callable[[], bool], *readers: LogReader) -> list[LogRecord]:
    found: list[LogRecord] = []
    for _ in range(READS_MAX):
        for reader in readers:
            found += reader.read(timeout_ms=25, records_max=100)
        if done():
            return found
    raise AssertionError("it did not come to that")


def read_until_raised(reader: LogReader, error: type[Exception]) -> None:
    for _ in range(2 * READS_MAX):
        try:
            reader.read(timeout_ms=50, records_max=100)
        except error:
            return
    raise AssertionError("nothing was raised")


class Starts:
    """Start positions of a member: everything from 0, and what was gained each time."""

    def __init__(self, position: int = 0) -> None:
        self.calls: list[tuple[TopicPartition, ...]] = []
        self._position = position

    def __call__(self, gained: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        self.calls.append(tuple(gained))
        return dict.fromkeys(gained, self._position)

    @property
    def share(self) -> set[TopicPartition]:
        return set(self.calls[-1]) if self.calls else set()


def all_partitions(bench: LogBench) -> set[TopicPartition]:
    return {
        TopicPartition(topic, number)
        for topic in (bench.topic, bench.other)
        for number in range(PARTITIONS)
    }


def test_records_come_back_with_dense_offsets_in_the_order_they_were_appended(
    bench: LogBench,
) -> None:
    writer = bench.log.writer("w")
    for number in range(300):
        writer.append(bench.topic, b"v%d" % number, key=b"k%d" % number, partition=1)
    assert writer.flush(10_000) == 0
    found = read(bench.log.reader({TopicPartition(bench.topic, 1): 0}), 300)
    assert [record.offset for record in found] == list(range(300))
    assert [record.value for record in found] == [b"v%d" % number for number in range(300)]
    assert [record.key for record in found] == [b"k%d" % number for number in range(300)]
    assert {(record.topic, record.partition) for record in found} == {(bench.topic, 1)}
    assert all(record.timestamp_ms > 1_600_000_000_000 for record in found)


def test_a_record_goes_to_the_partition_it_was_given_whatever_its_key(bench: LogBench) -> None:
    writer = bench.log.writer("w")
    for partition in range(PARTITIONS):
        assert append(writer, bench.topic, b"v", partition).partition == partition
    for partition in range(PARTITIONS):
        assert bench.log.bounds(TopicPartition(bench.topic, partition)) == (0, 1)


def test_a_null_value_and_a_null_key_come_back_as_none_and_an_empty_value_as_empty(
    bench: LogBench,
) -> None:
    writer = bench.log.writer("w")
    writer.append(bench.topic, None, key=None, partition=0)  # what a hostile writer sends
    writer.append(bench.topic, b"", key=b"", partition=0)
    assert writer.flush(10_000) == 0
    null, empty = read(bench.log.reader({TopicPartition(bench.topic, 0): 0}), 2)
    assert (null.key, null.value) == (None, None)
    assert (empty.key, empty.value) == (b"", b"")


def test_a_delivery_names_the_offset_and_is_told_by_poll_never_by_append(bench: LogBench) -> None:
    writer = bench.log.writer("w")
    told: list[Delivery] = []
    for _ in range(3):
        writer.append(bench.topic, b"v", key=None, partition=2, on_delivery=told.append)
    assert told == []
    while len(told) < 3:
        writer.poll()
    assert told == [Delivery(2, offset, "") for offset in range(3)]


def test_an_append_to_a_partition_that_does_not_exist_is_told_as_failed(bench: LogBench) -> None:
    writer = bench.log.writer("w")
    assert append(writer, bench.topic, b"v").error == ""
    assert append(writer, bench.topic, b"v", partition=99) == Delivery(99, -1, "_UNKNOWN_PARTITION")
    assert append(writer, bench.topic, b"v").offset == 1


def test_a_reader_begins_exactly_where_it_was_told(bench: LogBench) -> None:
    writer = bench.log.writer("w")
    for number in range(10):
        append(writer, bench.topic, b"%d" % number)
    found = read(bench.log.reader({TopicPartition(bench.topic, 0): 7}), 3)
    assert [record.value for record in found] == [b"7", b"8", b"9"]


def test_a_reader_at_the_end_sees_only_what_is_appended_later(bench: LogBench) -> None:
    writer = bench.log.writer("w")
    append(writer, bench.topic, b"before")
    at = TopicPartition(bench.topic, 0)
    reader = bench.log.reader({at: bench.log.bounds(at)[1]})
    assert list(reader.read(timeout_ms=100, records_max=10)) == []
    append(writer, bench.topic, b"after")
    assert [record.value for record in read(reader, 1)] == [b"after"]


def test_a_read_returns_no_more_than_asked_and_loses_nothing(bench: LogBench) -> None:
    writer = bench.log.writer("w")
    for number in range(20):
        writer.append(bench.topic, b"%d" % number, key=None, partition=number % PARTITIONS)
    assert writer.flush(10_000) == 0
    reader = bench.log.reader({TopicPartition(bench.topic, n): 0 for n in range(PARTITIONS)})
    found: list[LogRecord] = []
    while len(found) < 20:
        batch = reader.read(timeout_ms=1_000, records_max=3)
        assert len(batch) <= 3
        found += batch
    assert {record.value for record in found} == {b"%d" % number for number in range(20)}
    for partition in range(PARTITIONS):
        offsets = [record.offset for record in found if record.partition == partition]
        assert offsets == list(range(5))


def test_reading_one_record_at_a_time_starves_no_partition(bench: LogBench) -> None:
    writer = bench.log.writer("w")
    for partition in (0, 1):
        for _ in range(50):
            writer.append(bench.topic, b"v", key=None, partition=partition)
    assert writer.flush(10_000) == 0
    reader = bench.log.reader({TopicPartition(bench.topic, n): 0 for n in (0, 1)})
    found: list[LogRecord] = []
    while len(found) < 100:
        found += reader.read(timeout_ms=1_000, records_max=1)
    assert {record.partition for record in found} == {0, 1}


def test_deleted_records_move_the_first_offset_and_renumber_nothing(bench: LogBench) -> None:
    writer = bench.log.writer("w")
    for number in range(10):
        append(writer, bench.topic, b"%d" % number)
    at = TopicPartition(bench.topic, 0)
    bench.delete_records(at, 4)
    assert bench.log.bounds(at) == (4, 10)
    found = read(bench.log.reader({at: 4}), 6)
    assert next((record.offset, record.value) for record in found) == (4, b"4")


@pytest.mark.parametrize("position", [3, 12])
def test_a_position_that_is_gone_is_an_error_and_never_a_jump(
    bench: LogBench, position: int
) -> None:
    writer = bench.log.writer("w")
    for number in range(10):
        append(writer, bench.topic, b"%d" % number)
    at = TopicPartition(bench.topic, 0)
    bench.delete_records(at, 4)
    reader = bench.log.reader({at: position})
    read_until_raised(reader, LogError)
    with pytest.raises(LogError):
        reader.read(timeout_ms=100, records_max=10)


def test_a_log_knows_its_partitions_and_gives_each_topic_its_own_id(bench: LogBench) -> None:
    assert bench.log.partitions(bench.topic) == PARTITIONS
    assert bench.log.topic_id(bench.topic) == bench.log.topic_id(bench.topic)
    assert bench.log.topic_id(bench.topic) != bench.log.topic_id(bench.other)
    assert len(bench.log.topic_id(bench.topic)) == 22
    assert not set(bench.log.topic_id(bench.topic)) & set("/+=")


def test_a_recreated_topic_begins_at_zero_under_another_id(bench: LogBench) -> None:
    append(bench.log.writer("w"), bench.topic, b"v")
    older = bench.log.topic_id(bench.topic)
    bench.recreate()
    assert bench.log.topic_id(bench.topic) != older
    assert bench.log.bounds(TopicPartition(bench.topic, 0)) == (0, 0)


def test_what_does_not_exist_is_an_error(bench: LogBench) -> None:
    with pytest.raises(LogError):
        bench.log.partitions("t.none")
    with pytest.raises(LogError):
        bench.log.topic_id("t.none")
    with pytest.raises(LogError):
        bench.log.reader({TopicPartition("t.none", 0): 0})
    with pytest.raises(LogError):
        bench.log.bounds(TopicPartition(bench.topic, 99))
    with pytest.raises(LogError):
        bench.log.reader({TopicPartition(bench.topic, PARTITIONS): 0})


def test_a_lone_member_reads_every_partition_from_the_positions_it_gave(bench: LogBench) -> None:
    writer = bench.log.writer("w")
    for topic in (bench.topic, bench.other):
        for partition in range(PARTITIONS):
            for number in range(3):
                append(writer, topic, b"%d" % number, partition)
    starts = Starts(position=1)
    member = bench.member("one", starts)
    found = read(member, 2 * PARTITIONS * 2)
    assert starts.calls[0]
    assert set(starts.calls[0]) == all_partitions(bench)
    assert sorted(record.value or b"" for record in found) == [b"1"] * 8 + [b"2"] * 8
    member.close()


def test_two_members_share_so_that_each_has_the_same_numbers_of_both_topics(
    bench: LogBench,
) -> None:
    first, second = Starts(), Starts()
    one = bench.member("one", first)
    read_until(lambda: len(first.share) == 2 * PARTITIONS, one)
    two = bench.member("two", second)
    read_until(lambda: len(first.share) == len(second.share) == PARTITIONS, one, two)
    assert first.share | second.share == all_partitions(bench)
    for starts in (first, second):
        numbers = [
            {at.partition for at in starts.share if at.topic == topic}
            for topic in (bench.topic, bench.other)
        ]
        assert numbers[0] == numbers[1]
    assert () in first.calls, "the revocation was not told"
    one.close()
    two.close()


def test_a_restarted_member_has_its_partitions_back_and_moves_nobody(bench: LogBench) -> None:
    first, second = Starts(), Starts()
    one, two = bench.member("one", first), bench.member("two", second)
    read_until(lambda: len(first.share) == len(second.share) == PARTITIONS, one, two)
    held, moves = second.share, len(first.calls)
    two.close()
    again = Starts()
    two = bench.member("two", again)
    read_until(lambda: bool(again.share), one, two)
    assert again.share == held
    assert len(first.calls) == moves
    one.close()
    two.close()


def test_closing_a_member_tells_it_that_it_has_nothing_left(bench: LogBench) -> None:
    starts = Starts()
    member = bench.member("one", starts)
    read_until(lambda: bool(starts.share), member)
    member.close()
    assert starts.calls[-1] == ()


def test_a_second_process_under_the_same_instance_kills_the_first_for_good(
    bench: LogBench,
) -> None:
    starts = Starts()
    one = bench.member("one", starts)
    read_until(lambda: bool(starts.share), one)
    other = Starts()
    successor = bench.member("one", other)
    read_until(lambda: bool(other.share), successor)
    read_until_raised(one, FatalLogError)
    with pytest.raises(FatalLogError):
        one.read(timeout_ms=10, records_max=1)
    with pytest.raises(FatalLogError):
        one.commit({TopicPartition(bench.topic, 0): 1})
    assert list(successor.read(timeout_ms=10, records_max=1)) == []
    successor.close()


def test_commits_are_kept_by_group(bench: LogBench) -> None:
    starts = Starts()
    member = bench.member("one", starts)
    read_until(lambda: bool(starts.share), member)
    at, beside = TopicPartition(bench.topic, 0), TopicPartition(bench.other, 1)
    member.commit({at: 5})
    member.commit({at: 7, beside: 2})
    asked = [at, beside, TopicPartition(bench.topic, 3)]
    read_until(lambda: len(bench.log.committed(bench.group, asked)) == 2, member)
    assert bench.log.committed(bench.group, asked) == {at: 7, beside: 2}
    assert bench.log.committed("g.none", asked) == {}
    member.close()


def test_a_reader_without_a_group_commits_nothing(bench: LogBench) -> None:
    at = TopicPartition(bench.topic, 0)
    reader = bench.log.reader({at: 0})
    reader.commit({at: 5})
    assert bench.log.committed(bench.group, [at]) == {}
    reader.close()


def test_a_member_that_is_not_told_where_to_begin_reads_nothing_and_raises(
    bench: LogBench,
) -> None:
    append(bench.log.writer("w"), bench.topic, b"v")
    member = bench.member("one", lambda gained: {})
    read_until_raised(member, LogError)
    assert list(member.read(timeout_ms=100, records_max=10)) == []
    member.close()


def test_two_writers_interleave_without_losing_order_or_records(bench: LogBench) -> None:
    writers = [bench.log.writer(f"w{number}") for number in range(2)]
    numbers = count()
    for number in range(100):
        writers[number % 2].append(bench.topic, b"%d" % next(numbers), key=None, partition=0)
    assert [writer.flush(10_000) for writer in writers] == [0, 0]
    found = read(bench.log.reader({TopicPartition(bench.topic, 0): 0}), 100)
    values = [int(record.value or b"-1") for record in found]
    assert sorted(values) == list(range(100))
    assert [v for v in values if v % 2 == 0] == list(range(0, 100, 2))
    assert [v for v in values if v % 2 == 1] == list(range(1, 100, 2))
