"""A lane that never comes back from one evaluation is seen from outside; a busy one is not."""

from __future__ import annotations

from pathlib import Path

from agentguard.local.stuck import StuckWatch
from agentguard.pipeline.poison import NOTES_BYTES, PoisonNotes

LIMIT_MS = 2_000.0


def notes_in(path: Path) -> tuple[bytearray, PoisonNotes]:
    memory = bytearray(NOTES_BYTES)
    return memory, PoisonNotes(memory)


def test_one_request_at_hand_beyond_the_limit_is_stuck(tmp_path: Path) -> None:
    path = tmp_path / "lane.notes"
    memory, notes = notes_in(path)
    notes.begin(3, 41)
    path.write_bytes(memory)
    watch = StuckWatch(path, limit_ms=LIMIT_MS)
    assert [watch.is_stuck(at) for at in (0.0, 500.0, 1_999.0, 2_000.0)] == [
        False,
        False,
        False,
        True,
    ]


def test_lane_that_goes_from_request_to_request_is_not_stuck(tmp_path: Path) -> None:
    path = tmp_path / "lane.notes"
    memory, notes = notes_in(path)
    watch = StuckWatch(path, limit_ms=LIMIT_MS)
    for number in range(10):
        notes.begin(0, number)
        path.write_bytes(memory)
        assert not watch.is_stuck(number * 1_500.0)


def test_idle_lane_and_absent_notes_are_not_stuck(tmp_path: Path) -> None:
    path = tmp_path / "lane.notes"
    watch = StuckWatch(path, limit_ms=LIMIT_MS)
    assert not watch.is_stuck(0.0)
    memory, notes = notes_in(path)
    notes.begin(0, 1)
    notes.end()
    path.write_bytes(memory)
    assert not watch.is_stuck(10_000.0)
    assert not watch.is_stuck(99_000.0)
