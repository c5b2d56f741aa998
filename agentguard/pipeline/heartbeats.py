# SPDX-License-Identifier: Apache-2.0
"""Every process says once a second that it lives, what it runs and how far it has read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentguard.contracts.ports import Clock, Codec, LogWriter, TopicPartition
from agentguard.contracts.records import FoldedOffset, Heartbeat, Mode, Role
from agentguard.contracts.topics import Topic

BEAT_EVERY_MS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """Who writes the heartbeats: fixed for the life of a process."""

    cluster: str
    process: str
    role: Role
    build: str
    config_digest: bytes


class Heartbeats:
    """Writes at most one heartbeat a second; `ag.heartbeats` has one partition, key = process."""

    def __init__(
        self, writer: LogWriter, codec: Codec, clock: Clock, identity: ProcessIdentity
    ) -> None:
        self._writer = writer
        self._codec = codec
        self._clock = clock
        self._identity = identity
        self._next_ms = 0.0

    def is_due(self) -> bool:
        """Returns whether a second has passed since the last one; costs one clock read."""
        return self._clock.monotonic_ms() >= self._next_ms

    def beat(
        self,
        *,
        folded: Mapping[TopicPartition, int],
        releases: Sequence[str],
        ready: bool,
        reason: str,
    ) -> None:
        """Appends a heartbeat now. `reason` says why a process is not ready."""
        self._next_ms = self._clock.monotonic_ms() + BEAT_EVERY_MS
        who = self._identity
        record = Heartbeat(
            cluster=who.cluster,
            mode=Mode.LIVE,
            process=who.process,
            role=who.role,
            build=who.build,
            config_digest=who.config_digest,
            folded=tuple(
                FoldedOffset(topic=at.topic, partition=at.partition, offset=offset)
                for at, offset in sorted(folded.items())
            ),
            releases=tuple(releases),
            ready=ready,
            reason=reason,
            clock_ms=self._clock.now_ms(),
        )
        value = self._codec.encode(record)
        self._writer.append(Topic.HEARTBEATS, value, key=who.process.encode(), partition=0)
