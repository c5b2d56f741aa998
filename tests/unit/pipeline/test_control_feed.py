"""The control feed: at the end of the log, measured and not assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from agentguard.bounds import CONTROL_FRESH_MS_MAX
from agentguard.contracts.commands import Semantics, StateDigest
from agentguard.contracts.errors import LogError
from agentguard.contracts.ports import LogRecord, TopicPartition
from agentguard.control.fold import ControlFold, ControlHoleError, Judgement
from agentguard.pipeline.control_feed import ControlFeed
from tests.control_world import (
    CODEC,
    VERIFIER,
    command,
    digest_of,
    genesis_value,
    kill,
)


@dataclass
class ControlLog:
    """The control partition: a reader's view and the index's, with their troubles."""

    values: list[bytes | None] = field(default_factory=list)
    position: int = 0
    is_down: bool = False
    lost: int = 0

    def read(self, *, timeout_ms: int, records_max: int) -> Sequence[LogRecord]:
        taken = self.values[self.position : self.position + records_max]
        start = self.position
        self.position += len(taken)
        return [
            LogRecord("ag.control", 0, start + place, None, value, 0)
            for place, value in enumerate(taken)
        ]

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        raise AssertionError("the control feed commits nothing")

    def close(self) -> None:
        return

    def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        if self.is_down:
            raise LogError("no broker")
        return 0, len(self.values) - self.lost

    def topic_id(self, topic: str) -> str:
        return "id"

    def partitions(self, topic: str) -> int:
        return 1


@dataclass
class HandClock:
    """A clock that moves when a test moves it."""

    at_ms: float = 1_000_000.0

    def now_ms(self) -> int:
        return int(self.at_ms)

    def monotonic_ms(self) -> float:
        return self.at_ms


def feed_of(log: ControlLog, clock: HandClock) -> ControlFeed:
    return ControlFeed(log, log, ControlFold(CODEC, VERIFIER, digest_of(genesis_value())), clock)


def test_feed_that_never_asked_for_the_end_is_not_fresh() -> None:
    log, clock = ControlLog([genesis_value()]), HandClock()
    feed = feed_of(log, clock)
    assert feed.pump() == 1
    assert (feed.is_fresh(), feed.measured_end) == (False, -1)


def test_feed_at_the_end_just_asked_is_fresh_until_the_answer_is_too_old() -> None:
    log, clock = ControlLog([genesis_value()]), HandClock()
    feed = feed_of(log, clock)
    feed.pump()
    feed.ask_end()
    assert (feed.is_fresh(), feed.measured_end, feed.why_not_ready()) == (True, 1, "")
    clock.at_ms += CONTROL_FRESH_MS_MAX - 1
    assert feed.is_fresh()
    clock.at_ms += 1
    assert not feed.is_fresh()
    assert "not read to its end" in feed.why_not_ready()


def test_feed_below_the_measured_end_is_not_fresh_until_it_has_read_it() -> None:
    log, clock = ControlLog([genesis_value()]), HandClock()
    feed = feed_of(log, clock)
    feed.pump()
    log.values.append(command(kill(), "ada"))
    feed.ask_end()
    assert not feed.is_fresh()
    feed.pump()
    assert feed.is_fresh()
    assert feed.fold.folded == 1


def test_answer_that_does_not_come_lets_the_last_one_age() -> None:
    log, clock = ControlLog([genesis_value()]), HandClock()
    feed = feed_of(log, clock)
    feed.pump()
    feed.ask_end()
    log.is_down = True
    clock.at_ms += 600
    feed.ask_end()
    assert feed.is_fresh()
    clock.at_ms += 600
    assert not feed.is_fresh()


def test_log_that_ends_before_what_was_read_is_never_fresh_again() -> None:
    log, clock = ControlLog([genesis_value(), command(kill(), "ada")]), HandClock()
    feed = feed_of(log, clock)
    feed.pump()
    log.lost = 1
    feed.ask_end()
    assert not feed.is_fresh()
    log.lost = 0
    feed.ask_end()
    assert not feed.is_fresh()
    assert "ends before" in feed.why_not_ready()


def test_end_measured_before_more_was_read_is_no_loss() -> None:
    log, clock = ControlLog([genesis_value()]), HandClock()
    feed = feed_of(log, clock)
    feed.pump()
    feed.ask_end()
    log.values.append(command(kill(), "ada"))
    feed.pump()
    assert feed.is_fresh()


def test_records_delivered_again_are_passed_over_and_a_hole_stops_the_process() -> None:
    log, clock = ControlLog([genesis_value(), command(kill(), "ada")]), HandClock()
    feed = feed_of(log, clock)
    assert feed.pump() == 2
    log.position = 0
    assert feed.pump() == 0
    log.values += [b"junk", b"junk"]
    log.position = 3
    with pytest.raises(ControlHoleError):
        feed.pump()


def test_every_judgement_is_told_once_in_order() -> None:
    log, clock = ControlLog([genesis_value(), b"junk", None]), HandClock()
    told: list[tuple[int, Judgement]] = []
    fold = ControlFold(CODEC, VERIFIER, None)
    feed = ControlFeed(
        log, log, fold, clock, on_judgement=lambda record, j: told.append((record.offset, j))
    )
    feed.pump()
    assert [(offset, j.offset, j.code) for offset, j in told] == [
        (0, 0, ""),
        (1, 1, "undecodable"),
        (2, 2, "undecodable"),
    ]


def test_process_pinned_to_another_founding_is_not_ready() -> None:
    log, clock = ControlLog([genesis_value()]), HandClock()
    feed = ControlFeed(log, log, ControlFold(CODEC, VERIFIER, bytes(32)), clock)
    feed.pump()
    feed.ask_end()
    assert feed.is_fresh()
    assert "founding" in feed.why_not_ready()


def test_outdated_build_is_not_ready() -> None:
    newer = command(Semantics(number=2, schemas=()), "ada", "bo")
    log, clock = ControlLog([genesis_value(), newer]), HandClock()
    feed = feed_of(log, clock)
    feed.pump()
    feed.ask_end()
    assert "semantics 2" in feed.why_not_ready()


def test_state_that_differs_from_its_digest_is_not_ready() -> None:
    wrong = command(StateDigest(at_offset=1_000, digest=bytes(32)), "control")
    values = [genesis_value(), *(b"junk %d" % n for n in range(999)), wrong]
    log, clock = ControlLog(list(values)), HandClock()
    feed = feed_of(log, clock)
    while feed.pump():
        pass
    feed.ask_end()
    assert "digest" in feed.why_not_ready()
