# SPDX-License-Identifier: Apache-2.0
"""What the pure layers and the pipeline ask of the outside, three methods or fewer each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from agentguard.contracts.commands import CommandBody, SignedCommand
from agentguard.contracts.facts import EngineResult
from agentguard.contracts.records import Record

AnyRecord: TypeAlias = Record | SignedCommand | CommandBody


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class LogRecord(NamedTuple):
    """One record as it lies on the log. Only `value` is trusted; it may be None (a null value)."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int


class Delivery(NamedTuple):
    """What became of an append: the offset, or -1 and why not."""

    partition: int
    offset: int
    error: str


OnDelivery: TypeAlias = Callable[[Delivery], None]


class LogWriter(Protocol):
    """Appends records. Not safe to share between threads unless the adapter says so."""

    def append(
        self,
        topic: str,
        value: bytes,
        *,
        key: bytes | None,
        partition: int,
        on_delivery: OnDelivery | None = None,
    ) -> None:
        """Queues a record for exactly this partition; returns at once.

        `on_delivery` is called from `poll` or `flush`, once. Raises `QueueFullError`,
        `FatalLogError`.
        """

    def poll(self) -> None:
        """Calls delivery callbacks that are due; never blocks. Raises `FatalLogError`."""

    def flush(self, timeout_ms: int) -> int:
        """Waits until all is delivered or the time is over; returns how many are left."""


class LogReader(Protocol):
    """Reads records of the partitions it was opened on, each partition in offset order."""

    def read(self, *, timeout_ms: int, records_max: int) -> Sequence[LogRecord]:
        """Returns what is there, waiting up to `timeout_ms` for the first record.

        Raises `FatalLogError` where only a new process helps, `LogError` where the position is
        gone (deleted records).
        """

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Stores next offsets for the group; does nothing for a reader without a group."""

    def close(self) -> None:
        """Leaves; the reader is unusable afterwards."""


class LogIndex(Protocol):
    """What a log knows about itself."""

    def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """Returns the first offset and the end (the next offset to be written), asked now."""

    def topic_id(self, topic: str) -> str:
        """Returns the id that a topic was created with: a recreated topic has another."""

    def partitions(self, topic: str) -> int:
        """Returns how many partitions a topic has."""


class Log(Protocol):
    """Opens readers and writers on one log. `LogIndex` is the same object in every adapter."""

    def writer(self, name: str) -> LogWriter:
        """Returns a new writer; `name` is for the client's own logs."""

    def reader(self, positions: Mapping[TopicPartition, int]) -> LogReader:
        """Returns a reader of exactly these partitions from exactly these offsets, no group."""

    def member(
        self, *, group: str, instance: str, topics: Sequence[str], start: StartPositions
    ) -> LogReader:
        """Returns a static member of a consumer group that reads `topics` co-partitioned.

        On every assignment `start` is called with the partitions gained and returns where to read
        each from; a revocation calls it with none.
        """


StartPositions: TypeAlias = Callable[[Sequence[TopicPartition]], Mapping[TopicPartition, int]]


class Codec(Protocol):
    """Avro single-object frames: `C3 01`, 8-byte CRC-64-AVRO fingerprint, body."""

    def encode(self, record: AnyRecord) -> bytes:
        """Returns the frame of a record."""

    def decode(self, frame: bytes) -> AnyRecord:
        """Returns the record of a frame. Raises `UndecodableError`, also on trailing bytes.

        `UnknownSchemaError` where the fingerprint is one that this build does not know.
        """


class Signer(Protocol):
    """Holds one private key. Signing may block: call it off an event loop."""

    @property
    def public_key(self) -> bytes:
        """Raw public key bytes."""

    def sign(self, message: bytes) -> bytes:
        """Returns the signature over the message, empty context string."""


class Verifier(Protocol):
    """Checks signatures by scheme."""

    def verify(self, *, scheme: str, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Returns whether the signature is right; every malformed input is False."""


class PolicyEngine(Protocol):
    """One policy language behind one interface. One instance belongs to one thread."""

    @property
    def identity(self) -> str:
        """Engine and version, for example `regorus/0.13.0`."""

    def evaluate(self, document: bytes) -> EngineResult | None:
        """Returns the result for one input document (JSON), or None for undefined.

        Raises `EngineError` on any engine error, diagnostic or panic.
        """


class Clock(Protocol):
    """Time, injected."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""

    def monotonic_ms(self) -> float:
        """Milliseconds of a clock that never goes back."""


class Entropy(Protocol):
    """Randomness, injected."""

    def token(self, size: int) -> bytes:
        """Returns that many unpredictable bytes."""
