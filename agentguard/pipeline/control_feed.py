# SPDX-License-Identifier: Apache-2.0
"""Keeps a process's control fold at the end of the log, and measures that it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from agentguard.bounds import CONTROL_FRESH_MS_MAX
from agentguard.contracts.errors import LogError
from agentguard.contracts.ports import (
    Clock,
    LogIndex,
    LogReader,
    LogRecord,
    TopicPartition,
)
from agentguard.contracts.topics import Topic
from agentguard.control.fold import ControlFold, Judgement

CONTROL = TopicPartition(Topic.CONTROL.value, 0)
CONTROL_START = {CONTROL: 0}
RECORDS_PER_PUMP_MAX = 500

OnJudgement: TypeAlias = Callable[[LogRecord, Judgement], None]


class _Measurement(NamedTuple):
    """One answer to "where does the log end": asked at, and the next offset to be written."""

    asked_ms: float
    end: int


class ControlFeed:
    """Reads `ag.control` into a fold. The reader is opened on `CONTROL_START`.

    `pump` belongs to one thread. `ask_end` may run on another: it leaves one finished tuple.
    """

    def __init__(
        self,
        reader: LogReader,
        index: LogIndex,
        fold: ControlFold,
        clock: Clock,
        *,
        on_judgement: OnJudgement | None = None,
    ) -> None:
        self.fold = fold
        self._reader = reader
        self._index = index
        self._clock = clock
        self._on_judgement = on_judgement
        self._measured: _Measurement | None = None
        self._has_shrunk = False

    def pump(self, timeout_ms: int = 0) -> int:
        """Folds what has arrived, waiting up to `timeout_ms` for the first; returns how many.

        Raises `ControlHoleError`, `OutdatedBuildError`, `LogError`, `FatalLogError`: the process
        is not ready from then on.
        """
        folded = 0
        for record in self._reader.read(timeout_ms=timeout_ms, records_max=RECORDS_PER_PUMP_MAX):
            # a client that lost its position may deliver again what it delivered before
            if record.offset <= self.fold.folded:
                continue
            judgement = self.fold.apply(record.offset, record.value)
            folded += 1
            if self._on_judgement is not None:
                self._on_judgement(record, judgement)
        return folded

    def ask_end(self) -> None:
        """Asks where the log ends; call it every `CONTROL_END_ASK_MS`.

        No answer leaves the last one, which ages until the feed is no longer fresh.
        """
        asked_ms = self._clock.monotonic_ms()
        position = self.fold.folded + 1
        try:
            end = self._index.bounds(CONTROL)[1]
        except LogError:
            return
        # an end below what was already read: another log, or one that lost records
        self._has_shrunk |= end < position
        self._measured = _Measurement(asked_ms, end)

    @property
    def measured_end(self) -> int:
        """The next offset to be written as last measured; -1 before the first answer."""
        return -1 if self._measured is None else self._measured.end

    def is_fresh(self) -> bool:
        """Returns whether the end was asked less than `CONTROL_FRESH_MS_MAX` ago and is reached."""
        measured = self._measured
        if measured is None or self._has_shrunk:
            return False
        age_ms = self._clock.monotonic_ms() - measured.asked_ms
        return age_ms < CONTROL_FRESH_MS_MAX and self.fold.folded + 1 >= measured.end

    def why_not_ready(self) -> str:
        """Returns why nothing may be allowed by this fold now, or an empty text."""
        if self._has_shrunk:
            return "the control log ends before what was read from it"
        if not self.is_fresh():
            return "the control log is not read to its end"
        if self.fold.genesis is None:
            return "the control log has no founding command that this process is pinned to"
        if self.fold.is_outdated:
            return f"semantics {self.fold.semantics} are in force and this build is older"
        if self.fold.disagrees:
            return "the control state differs from its digest on the log"
        return ""
