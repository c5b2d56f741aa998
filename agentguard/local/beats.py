# SPDX-License-Identifier: Apache-2.0
"""Reads what the platform's processes say about themselves on `ag.heartbeats`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.kafka_log import KafkaLog
from agentguard.contracts.errors import ConfigError, UndecodableError
from agentguard.contracts.ports import Clock, LogRecord, TopicPartition
from agentguard.contracts.records import Heartbeat, Role
from agentguard.contracts.topics import Topic
from agentguard.local.platform_files import Platform

READ_MS = 100


class Beat(NamedTuple):
    """A process's newest heartbeat, and when the log says that it was appended."""

    said: Heartbeat
    appended_ms: int


class BeatWatch:
    """Follows the heartbeats from now on, so that what an earlier life said does not count."""

    def __init__(self, log: KafkaLog) -> None:
        at = TopicPartition(Topic.HEARTBEATS, 0)
        self._reader = log.reader({at: log.bounds(at)[1]})
        self._codec = AvroCodec()
        self._said: dict[Role, Heartbeat] = {}

    def wait_ready(self, roles: Iterable[Role], *, clock: Clock, timeout_ms: float) -> str:
        """Returns an empty text once each role is ready, else which is not and why."""
        wanted = tuple(roles)
        deadline_ms = clock.monotonic_ms() + timeout_ms
        while True:
            waiting = [r for r in wanted if r not in self._said or not self._said[r].ready]
            if not waiting:
                return ""
            if clock.monotonic_ms() >= deadline_ms:
                said = self._said.get(waiting[0])
                return f"`{waiting[0].value}`: {said.reason if said else 'no heartbeat'}"
            for record in self._reader.read(timeout_ms=READ_MS, records_max=100):
                beat = read_beat(self._codec, record)
                if beat is not None:
                    self._said[beat.role] = beat

    def close(self) -> None:
        """Closes the reader."""
        self._reader.close()


def read_beat(codec: AvroCodec, record: LogRecord) -> Heartbeat | None:
    """Returns the heartbeat of a record, or None where it is none."""
    try:
        beat = codec.decode(record.value or b"")
    except UndecodableError:
        return None
    return beat if isinstance(beat, Heartbeat) else None


def last_heartbeats(platform: Platform) -> list[Beat]:
    """Returns the newest heartbeat of every process, by name."""
    auditor = platform.principals.get("auditor")
    if auditor is None:
        raise ConfigError("this platform has no auditor", next_step="agentguard up")
    log = KafkaLog(
        platform.bootstrap,
        username=auditor.username,
        password=auditor.password,
        client_id="status",
    )
    newest: dict[str, Beat] = {}
    codec = AvroCodec()
    try:
        for number in range(log.partitions(Topic.HEARTBEATS)):
            at = TopicPartition(Topic.HEARTBEATS, number)
            first, end = log.bounds(at)
            if first < end:
                _read_into(newest, log, codec, at, (first, end))
    finally:
        log.close()
    return sorted(newest.values(), key=lambda b: b.said.process)


def _read_into(
    newest: dict[str, Beat],
    log: KafkaLog,
    codec: AvroCodec,
    at: TopicPartition,
    span: tuple[int, int],
) -> None:
    reader = log.reader({at: span[0]})
    try:
        position = span[0]
        while position < span[1]:
            records = reader.read(timeout_ms=1_000, records_max=500)
            if not records:
                return
            for record in records:
                position = record.offset + 1
                beat = read_beat(codec, record)
                if beat is not None:
                    newest[beat.process] = Beat(beat, record.timestamp_ms)
    finally:
        reader.close()
