"""A lane that gets its partitions late: its silence before that is no sign of a dead client."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from agentguard.adapters.memory_log import MemoryLog, MemoryMember
from agentguard.contracts.errors import FatalLogError
from agentguard.contracts.ports import LogRecord, StartPositions
from agentguard.pipeline.health import SILENCE_MS_MAX
from tests import worlds as w
from tests.lanes import TOPICS, Platform


class LateMember:
    """A member whose first read brings the partitions, and later ones the records, as Kafka's."""

    def __init__(self, member: MemoryMember) -> None:
        self._member = member
        self.silent_reads = 1

    def read(self, *, timeout_ms: int, records_max: int) -> Sequence[LogRecord]:
        self.silent_reads -= 1
        most = records_max if self.silent_reads < 0 else 0
        return self._member.read(timeout_ms=timeout_ms, records_max=most)

    def __getattr__(self, name: str) -> object:
        return getattr(self._member, name)


class LateLog(MemoryLog):
    """A log whose members get records a read after their partitions."""

    def member(
        self, *, group: str, instance: str, topics: Sequence[str], start: StartPositions
    ) -> LateMember:
        joined = super().member(group=group, instance=instance, topics=topics, start=start)
        self.joined = LateMember(joined)
        return self.joined


@pytest.fixture
def platform() -> Platform:
    made = Platform()
    late = LateLog(TOPICS, clock=made.clock, entropy=w.CountingEntropy("late"))
    late._partitions = made.log._partitions
    made.log = late
    return made


def test_lane_that_joined_late_reads_on_instead_of_dying(platform: Platform) -> None:
    platform.ask(w.request(1))
    lane = platform.lane()
    lane.step(0)
    platform.clock.advance(SILENCE_MS_MAX + 1_000)
    lane._ports.control.ask_end()
    for _ in range(4):
        lane.step(0)
    assert len(platform.cores()) == 1


def test_lane_that_reads_nothing_while_requests_grow_ends(platform: Platform) -> None:
    lane = platform.lane()
    lane.step(0)
    lane.step(0)
    platform.log.joined.silent_reads = 1_000  # type: ignore[attr-defined]
    platform.ask(w.request(1))
    platform.clock.advance(SILENCE_MS_MAX + 1_000)
    with pytest.raises(FatalLogError, match="reads none of them"):
        lane.step(0)
