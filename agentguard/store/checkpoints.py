# SPDX-License-Identifier: Apache-2.0
"""Store: keeps the last signed head of each minute; four a second for each head are not rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from agentguard.contracts.ports import LogRecord
from agentguard.contracts.records import Checkpoint
from agentguard.store.rows import Row, checkpoint_row

MINUTE_MS = 60_000


class _Held(NamedTuple):
    minute: int
    partition: int
    offset: int
    row: Row


class CheckpointThinner:
    """Holds the newest head of each origin until its minute is over."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, int], _Held] = {}

    def offer(self, record: LogRecord, leaf: bytes, checkpoint: Checkpoint) -> Row | None:
        """Takes a head; returns the row of the one before, if that was of an earlier minute."""
        key = (checkpoint.origin, checkpoint.generation)
        minute = record.timestamp_ms // MINUTE_MS
        before = self._held.get(key)
        row = checkpoint_row(record, leaf, checkpoint)
        self._held[key] = _Held(minute, record.partition, record.offset, row)
        return before.row if before is not None and before.minute != minute else None

    def take(self, now_ms: int) -> list[Row]:
        """Returns and lets go of the heads whose minute is over at this time."""
        minute = now_ms // MINUTE_MS
        over = [key for key, held in self._held.items() if held.minute < minute]
        return [self._held.pop(key).row for key in over]

    def take_all(self) -> list[Row]:
        """Returns and lets go of every head, before a clean stop."""
        rows = [held.row for held in self._held.values()]
        self._held.clear()
        return rows

    def first_held(self) -> Mapping[int, int]:
        """Returns, for each partition of the checkpoints, the first offset that is only held."""
        first: dict[int, int] = {}
        for held in self._held.values():
            first[held.partition] = min(held.offset, first.get(held.partition, held.offset))
        return first
