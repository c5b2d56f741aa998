# SPDX-License-Identifier: Apache-2.0
"""The door's pen: appends this gateway's records, numbered without a gap, and hears what became.

Belongs to one thread: the numbers follow the order of the appends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypedDict

from agentguard.bounds import RECORD_BYTES_MAX
from agentguard.contracts.errors import (
    AgentGuardError,
    FatalLogError,
    LogError,
    QueueFullError,
)
from agentguard.contracts.ports import Codec, Delivery, LogWriter
from agentguard.contracts.records import DoorRecord, EpochStart, Mode
from agentguard.contracts.topics import Topic
from agentguard.control.fold import ControlFold
from agentguard.gateway.parts import DoorIdentity
from agentguard.telemetry import GATEWAY_NOT_WRITTEN, GATEWAY_RECORDS, Metrics

# What an append may raise: the log is away, its queue is full, its client is dead.
APPEND_ERRORS: Final = (LogError, QueueFullError, FatalLogError)


class Stamp(TypedDict):
    """The fields that every record of a door begins with."""

    cluster: str
    mode: Mode
    producer: str
    epoch: int
    sequence: int
    control_offset: int


class Door:
    """Appends records to `ag.requests`.

    `on_not_written` hears the partition, the record and its sequence when an append fails.
    """

    def __init__(
        self,
        *,
        cluster: str,
        identity: DoorIdentity,
        codec: Codec,
        writer: LogWriter,
        fold: ControlFold,
        metrics: Metrics,
    ) -> None:
        self._cluster = cluster
        self._identity = identity
        self._codec = codec
        self._writer = writer
        self._fold = fold
        self._metrics = metrics
        self._sequence = 0
        self.on_not_written: Callable[[int, DoorRecord], None] = _nobody

    @property
    def last_sequence(self) -> int:
        """The number of the last record appended, -1 before the first."""
        return self._sequence - 1

    def stamp(self) -> Stamp:
        """Returns the next record's first fields; the number is used up only by its append."""
        return Stamp(
            cluster=self._cluster,
            mode=Mode.LIVE,
            producer=self._identity.producer,
            epoch=self._identity.epoch,
            sequence=self._sequence,
            control_offset=self._fold.folded,
        )

    def append(
        self,
        record: DoorRecord,
        *,
        key: bytes | None,
        partition: int,
        on_delivery: Callable[[Delivery], None] | None = None,
        value: bytes | None = None,
    ) -> None:
        """Queues a record made with the latest `stamp`; `value` is its frame, if made already.

        Raises one of `APPEND_ERRORS`; then the number is not used.
        """
        frame = self._codec.encode(record) if value is None else value
        if len(frame) > RECORD_BYTES_MAX:
            raise AgentGuardError("a record is larger than the log takes")

        def report(delivery: Delivery) -> None:
            if delivery.error:
                self._metrics.count(GATEWAY_NOT_WRITTEN, type(record).__name__)
                self.on_not_written(partition, record)
            if on_delivery is not None:
                on_delivery(delivery)

        self._writer.append(Topic.REQUESTS, frame, key=key, partition=partition, on_delivery=report)
        self._sequence += 1
        self._metrics.count(GATEWAY_RECORDS, type(record).__name__)

    def start_epoch(self, partition: int, on_delivery: Callable[[Delivery], None]) -> None:
        """Appends this life's first record of a partition. Raises `APPEND_ERRORS`."""
        record = EpochStart(
            **self.stamp(),
            previous_epoch=self._identity.previous_epoch,
            previous_last_sequence=self._identity.previous_last_sequence,
        )
        self.append(record, key=None, partition=partition, on_delivery=on_delivery)

    def poll(self) -> None:
        """Calls delivery reports that are due. Raises `FatalLogError`."""
        self._writer.poll()

    def flush(self, timeout_ms: int) -> int:
        """Waits for every append; returns how many are left. Blocks: call it off the loop."""
        return self._writer.flush(timeout_ms)


def _nobody(_partition: int, _record: DoorRecord) -> None:
    """Stands until somebody wants to hear of failed appends."""
