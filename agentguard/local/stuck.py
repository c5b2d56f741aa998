# SPDX-License-Identifier: Apache-2.0
"""Sees a decision process that is stuck in one evaluation, from outside its interpreter lock."""

from __future__ import annotations

from pathlib import Path

from agentguard.pipeline.poison import current_request


class StuckWatch:
    """Watches the note that a lane keeps of the request at hand (`pipeline.poison`).

    An evaluation that never returns holds the interpreter lock: no thread of that process can
    say so. The note lies in a mapped file, so another process can see that it does not change.
    """

    def __init__(self, notes: Path, *, limit_ms: float) -> None:
        self._notes = notes
        self._limit_ms = limit_ms
        self._seen: tuple[int, int] | None = None
        self._since_ms = 0.0

    def is_stuck(self, now_ms: float) -> bool:
        """Returns whether one request has been at hand for longer than the limit.

        Call it several times within the limit. A lane that decides one request after another, or
        none, is not stuck.
        """
        try:
            at_hand = current_request(self._notes.read_bytes())
        except OSError:
            at_hand = None
        if at_hand is None or at_hand != self._seen:
            self._seen = at_hand
            self._since_ms = now_ms
            return False
        return now_ms - self._since_ms >= self._limit_ms
