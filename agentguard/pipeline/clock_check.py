# SPDX-License-Identifier: Apache-2.0
"""Holds this machine's clock against the log's: a lane with a wrong clock decides nothing."""

from __future__ import annotations

from typing import Final

from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.ports import (
    Clock,
    Codec,
    LogIndex,
    LogReader,
    LogRecord,
    TopicPartition,
)
from agentguard.contracts.records import Heartbeat
from agentguard.contracts.topics import Topic

HEARTBEATS: Final = TopicPartition(Topic.HEARTBEATS, 0)
RECORDS_PER_LOOK_MAX: Final = 100
OFF_MS_MAX: Final = 500
LOOK_EVERY_MS: Final = 50
NEVER_MS: Final = float("inf")


def heartbeats_from_now(index: LogIndex) -> dict[TopicPartition, int]:
    """Returns where a reader for this check begins: only later heartbeats matter."""
    return {HEARTBEATS: index.bounds(HEARTBEATS)[1]}


class ClockCheck:
    """Reads back the process's own heartbeats, whose append time is the broker's clock.

    The append lies between the heartbeat's own time and the moment it is read back; a clock for
    which it does not, give or take half a second, is wrong. A slow broker alone is no fault.
    """

    def __init__(self, reader: LogReader, codec: Codec, clock: Clock, *, process: str) -> None:
        self._reader = reader
        self._codec = codec
        self._clock = clock
        self._key = process.encode()
        self._due_ms = NEVER_MS
        self.fault = ""

    def expect(self) -> None:
        """Notes that a heartbeat was appended just now."""
        self._due_ms = self._clock.monotonic_ms() + LOOK_EVERY_MS

    def look(self) -> None:
        """Judges a heartbeat that has come back since; costs a clock read where none is due."""
        now = self._clock.monotonic_ms()
        if now < self._due_ms:
            return
        self._due_ms = now + LOOK_EVERY_MS
        for record in self._reader.read(timeout_ms=0, records_max=RECORDS_PER_LOOK_MAX):
            if record.key == self._key:
                self._judge(record)

    def _judge(self, record: LogRecord) -> None:
        try:
            beat = self._codec.decode(record.value or b"")
        except UndecodableError:
            return
        if isinstance(beat, Heartbeat):
            self._due_ms = NEVER_MS
            ahead_ms = beat.clock_ms - record.timestamp_ms
            behind_ms = record.timestamp_ms - self._clock.now_ms()
            off_ms = max(ahead_ms, behind_ms)
            self.fault = f"the clock is {off_ms} ms off the log's" if off_ms > OFF_MS_MAX else ""
