# SPDX-License-Identifier: Apache-2.0
"""Completeness of what doors wrote: gapless sequences, one outcome and delivery per decision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from agentguard.audit.findings import Report
from agentguard.contracts.records import (
    AgentRequest,
    DoorRecord,
    Enforcement,
    EnforcementCode,
    EpochStart,
    ToolOutcome,
)
from agentguard.contracts.topics import Topic

# A record is in the log this long after its door stamped it, or its write has failed.
DELIVERY_MS_MAX = 5_000


class _Numbers:
    """A set of small whole numbers, one bit each."""

    __slots__ = ("_bits", "count", "most")

    def __init__(self) -> None:
        self._bits = bytearray()
        self.count = 0
        self.most = -1

    def add(self, number: int) -> bool:
        """Adds a number; returns whether it was new."""
        at, bit = number >> 3, 1 << (number & 7)
        if at >= len(self._bits):
            self._bits.extend(bytes(at + 1 - len(self._bits)))
        if self._bits[at] & bit:
            return False
        self._bits[at] |= bit
        self.count += 1
        self.most = max(self.most, number)
        return True

    def has(self, number: int) -> bool:
        """Returns whether a number is in the set."""
        at = number >> 3
        return at < len(self._bits) and bool(self._bits[at] & 1 << (number & 7))

    def missing(self, below: int) -> Iterator[tuple[int, int]]:
        """Yields the gaps [start, end) under `below`."""
        start = -1
        for number in range(below):
            if self.has(number):
                if start >= 0:
                    yield start, number
                start = -1
            elif start < 0:
                start = number
        if start >= 0:
            yield start, below


@dataclass(slots=True)
class _Epoch:
    numbers: _Numbers = field(default_factory=_Numbers)
    newest_settled: int = -1  # the largest number that was surely delivered, with all before it
    last: int | None = None  # as the next epoch's start states it, after a clean stop
    last_place: tuple[int, int] = (-1, -1)


@dataclass(slots=True, kw_only=True)
class DoorCheck:
    """Takes every door record of every partition, in any order, and says what is missing.

    `heads_ms` is when the earliest of the requests' last heads was signed: what a door stamped
    well before that must be in the trail. `records_max` bounds what a hostile number can cost.
    """

    heads_ms: int
    records_max: int
    report: Report
    _epochs: dict[tuple[str, int], _Epoch] = field(default_factory=dict)

    def apply(self, record: DoorRecord, partition: int, offset: int) -> None:
        """Notes one record's number, and the numbers that its door states as not written."""
        epoch = self._epochs.setdefault((record.producer, record.epoch), _Epoch())
        self._number(epoch, record, record.sequence, (partition, offset), is_written=True)
        match record:
            case AgentRequest():
                self._settle(epoch, record.sequence, record.accepted_at_ms)
            case ToolOutcome():
                self._settle(epoch, record.sequence, record.reported_at_ms)
            case Enforcement():
                self._settle(epoch, record.sequence, record.reported_at_ms)
                for number in record.sequences or ():
                    if record.code is EnforcementCode.NOT_WRITTEN:
                        self._number(epoch, record, number, (partition, offset), is_written=False)
            case EpochStart() if record.previous_epoch is not None:
                before = self._epochs.setdefault((record.producer, record.previous_epoch), _Epoch())
                before.last = record.previous_last_sequence
            case _:
                pass

    def finish(self) -> None:
        """Reports every gap: as tampering where the door had closed its epoch cleanly."""
        for (producer, number), epoch in sorted(self._epochs.items()):
            is_closed = epoch.last is not None
            end = epoch.newest_settled if epoch.last is None else epoch.last
            end = min(end, self.records_max)
            for start, stop in epoch.numbers.missing(end + 1):
                message = (
                    f"records {start} to {stop - 1} of producer `{producer}`, epoch {number}, "
                    "are not in the trail"
                )
                if is_closed:
                    self.report.tampered("GAP", message, topic=Topic.REQUESTS)
                else:
                    self.report.incomplete("GAP", message, topic=Topic.REQUESTS)
        self.report.counts["door_epochs"] += len(self._epochs)

    def _settle(self, epoch: _Epoch, sequence: int, stamped_ms: int) -> None:
        if stamped_ms + DELIVERY_MS_MAX <= self.heads_ms and sequence <= self.records_max:
            epoch.newest_settled = max(epoch.newest_settled, sequence)

    def _number(
        self,
        epoch: _Epoch,
        record: DoorRecord,
        number: int,
        place: tuple[int, int],
        *,
        is_written: bool,
    ) -> None:
        if not 0 <= number <= self.records_max:
            self.report.note(
                "SEQUENCE",
                f"`{record.producer}` numbers a record {number}",
                topic=Topic.REQUESTS,
                partition=place[0],
                offset=place[1],
            )
        elif not epoch.numbers.add(number) and is_written:
            self.report.note(
                "REPLAYED",
                f"number {number} of `{record.producer}`, epoch {record.epoch}, comes again",
                topic=Topic.REQUESTS,
                partition=place[0],
                offset=place[1],
            )
