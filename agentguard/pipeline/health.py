# SPDX-License-Identifier: Apache-2.0
"""Whether a lane may compete: counts its own failures, and notices that nothing is read."""

from __future__ import annotations

from typing import Final

import structlog

from agentguard.bounds import LANE_FAILURES_IN_A_ROW_MAX
from agentguard.contracts.ports import Clock
from agentguard.contracts.records import Failure

SILENCE_MS_MAX: Final = 10_000

_log = structlog.get_logger("lane")


class LaneHealth:
    """After 20 failures in a row a lane stops competing, until it passes an examination."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_read_ms = clock.monotonic_ms()
        self.failures_in_a_row = 0
        self.is_competing = True

    def failed(self, failure: Failure) -> None:
        """Counts a request that this lane could not decide. Missing state is not counted."""
        if failure is Failure.STATE:
            return
        self.failures_in_a_row += 1
        if self.failures_in_a_row >= LANE_FAILURES_IN_A_ROW_MAX and self.is_competing:
            self.is_competing = False
            _log.error("lane_stops_competing", failure=failure.value)

    def succeeded(self) -> None:
        """Notes a proper decision."""
        self.failures_in_a_row = 0

    def examine(self, *, is_sound: bool) -> None:
        """Lets the lane compete again where it passes."""
        if is_sound and not self.is_competing:
            self.is_competing = True
            self.failures_in_a_row = 0
            _log.info("lane_competes_again")

    def why_not_ready(self) -> str:
        """Returns why the lane does not compete, or an empty text."""
        if self.is_competing:
            return ""
        return f"{self.failures_in_a_row} requests in a row could not be decided"

    def note_reads(self) -> None:
        """Notes that a read brought something."""
        self._last_read_ms = self._clock.monotonic_ms()

    def is_suspicious(self) -> bool:
        """Returns whether nothing was read for so long that the log should be asked."""
        return self._clock.monotonic_ms() - self._last_read_ms >= SILENCE_MS_MAX
