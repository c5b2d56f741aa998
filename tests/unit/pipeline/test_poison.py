"""Notes that outlive a kill."""

from pathlib import Path

import pytest

from agentguard.adapters.mapped_file import map_file
from agentguard.contracts.errors import ConfigError
from agentguard.pipeline.poison import ENTRIES_MAX, NOTES_BYTES, PoisonNotes


def die_at(memory: bytearray, partition: int, offset: int) -> None:
    PoisonNotes(memory).begin(partition, offset)


def test_fresh_notes_name_nobody() -> None:
    notes = PoisonNotes(bytearray(NOTES_BYTES))
    assert not notes.is_poison(0, 0)


def test_second_death_at_one_request_is_poison_and_others_are_not() -> None:
    memory = bytearray(NOTES_BYTES)
    die_at(memory, 0, 7)
    assert not PoisonNotes(memory).is_poison(0, 7)
    die_at(memory, 0, 7)
    notes = PoisonNotes(memory)
    assert notes.is_poison(0, 7)
    assert not notes.is_poison(1, 7)
    assert not notes.is_poison(0, 8)


def test_request_that_was_finished_is_not_counted() -> None:
    memory = bytearray(NOTES_BYTES)
    for _ in range(3):
        notes = PoisonNotes(memory)
        notes.begin(0, 7)
        notes.end()
    assert not PoisonNotes(memory).is_poison(0, 7)


def test_notes_are_bounded_and_the_oldest_gives_way() -> None:
    memory = bytearray(NOTES_BYTES)
    for offset in range(ENTRIES_MAX + 1):
        die_at(memory, 3, offset)
        die_at(memory, 3, offset)
    notes = PoisonNotes(memory)
    assert not notes.is_poison(3, 0)
    assert notes.is_poison(3, 1)
    assert notes.is_poison(3, ENTRIES_MAX)


def test_mapped_file_keeps_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "decide" / "notes"
    first = map_file(path, NOTES_BYTES)
    PoisonNotes(first).begin(0, 7)
    first.close()
    second = map_file(path, NOTES_BYTES)
    PoisonNotes(second).begin(0, 7)
    second.close()
    third = map_file(path, NOTES_BYTES)
    assert PoisonNotes(third).is_poison(0, 7)
    third.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_file_of_another_size_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_bytes(b"x" * 10)
    memory = map_file(path, NOTES_BYTES)
    assert bytes(memory) == bytes(NOTES_BYTES)
    memory.close()


def test_folder_that_cannot_be_made_is_a_setting_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError):
        map_file(tmp_path / "file" / "notes", NOTES_BYTES)
