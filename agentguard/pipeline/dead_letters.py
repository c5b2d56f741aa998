# SPDX-License-Identifier: Apache-2.0
"""Dead letters: what a stage could not read goes to `ag.dead-letters`, with where it lies and why."""

from __future__ import annotations

from agentguard.bounds import SECTION_INLINE_BYTES_MAX
from agentguard.contracts.errors import QueueFullError
from agentguard.contracts.ports import Clock, Codec, Entropy, LogRecord, LogWriter
from agentguard.contracts.records import DeadLetter, Mode, SectionName
from agentguard.contracts.sections import SALT_BYTES, make_section
from agentguard.contracts.topics import Topic, partition_of


class DeadLetters:
    """Writes dead letters for one stage of one process.

    Never waits and never fails for its caller: a letter is an explanation, the record itself stays
    on the log. Letters that a full queue refuses are counted in `dropped`. Bytes beyond
    `SECTION_INLINE_BYTES_MAX` are left out of a letter; they are on the log under its source.
    """

    def __init__(
        self, writer: LogWriter, codec: Codec, clock: Clock, entropy: Entropy, *, stage: str
    ) -> None:
        self._writer = writer
        self._codec = codec
        self._clock = clock
        self._entropy = entropy
        self._stage = stage
        self.cluster = ""
        self.partitions = 1
        self.dropped = 0

    def note(self, record: LogRecord, *, error: str, fingerprint: bytes) -> None:
        """Reports a record. `error` is a constant name, never a text from outside."""
        body = (record.value or b"")[:SECTION_INLINE_BYTES_MAX]
        letter = DeadLetter(
            cluster=self.cluster,
            mode=Mode.LIVE,
            source_topic=record.topic,
            source_partition=record.partition,
            source_offset=record.offset,
            stage=self._stage,
            error=error,
            fingerprint=fingerprint,
            payload=make_section(SectionName.PAYLOAD, body, self._entropy.token(SALT_BYTES)),
            noted_at_ms=self._clock.now_ms(),
        )
        key = f"{record.topic}|{record.partition}".encode()
        number = partition_of(key, self.partitions)
        try:
            value = self._codec.encode(letter)
            self._writer.append(Topic.DEAD_LETTERS, value, key=key, partition=number)
            self._writer.poll()
        except QueueFullError:
            self.dropped += 1
