# SPDX-License-Identifier: Apache-2.0
"""Reads a closed range of a partition: what auditors and restarts ask of the log."""

from __future__ import annotations

from collections.abc import Iterator

from agentguard.contracts.errors import LogError
from agentguard.contracts.ports import Clock, Log, LogRecord, TopicPartition

SILENCE_MS_MAX = 15_000
_BATCH = 1_000
_WAIT_MS = 250


def read_range(
    log: Log, at: TopicPartition, start: int, end: int, *, clock: Clock
) -> Iterator[LogRecord]:
    """Yields the records of [start, end) in offset order.

    Raises `LogError` where an offset is missing, or where the log gives nothing for 15 s.
    """
    if start >= end:
        return
    reader = log.reader({at: start})
    try:
        expected = start
        heard_ms = clock.monotonic_ms()
        while expected < end:
            records = reader.read(timeout_ms=_WAIT_MS, records_max=_BATCH)
            if records:
                heard_ms = clock.monotonic_ms()
            elif clock.monotonic_ms() - heard_ms > SILENCE_MS_MAX:
                raise LogError(f"`{at.topic}/{at.partition}` gave no record {expected}")
            for record in records:
                if record.offset != expected:
                    raise LogError(f"`{at.topic}/{at.partition}` has no record {expected}")
                if expected >= end:
                    return
                expected += 1
                yield record
    finally:
        reader.close()
