# SPDX-License-Identifier: Apache-2.0
"""Copies the sealed topics up to their last checkpoints into a trail that verifies offline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import BinaryIO, Protocol

from agentguard.audit.export import (
    ANCHORS,
    CHECKPOINTS,
    MANIFEST,
    POLICY,
    SCHEMAS,
    Manifest,
    PartitionEntry,
    encode_manifest,
    frame_value,
    hashes_name,
    leaves_name,
)
from agentguard.audit.note import NoteKey
from agentguard.audit.origins import Origin, parse_origin
from agentguard.audit.seal import open_checkpoint
from agentguard.audit.trust import policy_text
from agentguard.bounds import ANCHOR_EVERY_MS
from agentguard.contracts.commands import Genesis, KeyPurpose, SignedCommand
from agentguard.contracts.errors import LogError, UndecodableError, VerificationError
from agentguard.contracts.hashing import command_digest, leaf_hash
from agentguard.contracts.ports import (
    Clock,
    Codec,
    Log,
    LogIndex,
    LogRecord,
    TopicPartition,
    Verifier,
)
from agentguard.contracts.records import Checkpoint, ControlCommand
from agentguard.contracts.topics import SEALED_TOPICS, Topic
from agentguard.pipeline.ranges import read_range

_CHECKPOINTS = TopicPartition(Topic.CHECKPOINTS, 0)
_ANCHORS = TopicPartition(Topic.ANCHORS, 0)
_CONTROL = TopicPartition(Topic.CONTROL, 0)

Progress = Callable[[str, int, int], None]


class TrailSink(Protocol):
    """Where an export is written."""

    def create_file(self, name: str) -> BinaryIO:
        """Returns a new file to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """What the first control command says about the seal."""

    cluster: str
    digest: bytes
    genesis: Genesis

    @property
    def sealing_key(self) -> bytes:
        """The public key that Genesis names for sealing. Raises `VerificationError` (KEY)."""
        for key in self.genesis.keys:
            if key.purpose is KeyPurpose.SEALING:
                return key.public_key
        raise VerificationError("Genesis names no sealing key", finding="KEY")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPorts:
    """What an auditor asks of the outside."""

    log: Log
    index: LogIndex
    codec: Codec
    clock: Clock
    verifier: Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSummary:
    """What an export holds."""

    records: int
    partitions: int
    checkpoints: int
    anchors: int


def founding_of(codec: Codec, value: bytes | None) -> Founding:
    """Returns what a Genesis record says. Raises `VerificationError` (GENESIS)."""
    try:
        command = codec.decode(value or b"")
        signed = codec.decode(command.signed) if isinstance(command, ControlCommand) else None
        body = codec.decode(signed.body) if isinstance(signed, SignedCommand) else None
    except UndecodableError as error:
        raise VerificationError(
            "the first control record is unreadable", finding="GENESIS"
        ) from error
    if not isinstance(command, ControlCommand) or not isinstance(body, Genesis):
        raise VerificationError("the first control record is no Genesis", finding="GENESIS")
    return Founding(cluster=command.cluster, digest=command_digest(command.signed), genesis=body)


def read_founding(ports: AuditPorts) -> Founding:
    """Returns what the log's own first control command says; trusted only by its digest."""
    for record in read_range(ports.log, _CONTROL, 0, 1, clock=ports.clock):
        return founding_of(ports.codec, record.value)
    raise LogError("the control log is empty")


class Exporter:
    """One export: sealed topics, their checkpoints, all anchors, schemas, the key."""

    def __init__(
        self,
        ports: AuditPorts,
        sink: TrailSink,
        *,
        schemas: Mapping[str, bytes],
        progress: Progress = lambda _name, _done, _all: None,
    ) -> None:
        self._ports = ports
        self._sink = sink
        self._schemas = schemas
        self._progress = progress
        self._files: dict[str, bytes] = {}

    def run(self) -> ExportSummary:
        """Writes the export. Raises `LogError`, `VerificationError` where nothing is sealed yet."""
        founding = read_founding(self._ports)
        domain = founding.genesis.audit_domain
        # before the checkpoints: then no anchor lists more than the export's heads cover
        first, end = self._ports.index.bounds(_ANCHORS)
        heads, checkpoints = self._write_checkpoints(founding)
        if not heads:
            raise VerificationError(
                "nothing is sealed yet: no checkpoint of this cluster", finding="UNSEALED_TAIL"
            )
        records = sum(self._write_leaves(at, head.size) for at, head in sorted(heads.items()))
        anchors = self._write_frames(ANCHORS, self._values(_ANCHORS, first, end))
        policy = policy_text(domain, founding.cluster, founding.sealing_key)
        self._write_file(POLICY, policy.encode())
        for name, text in sorted(self._schemas.items()):
            self._write_file(SCHEMAS + name, text)
        manifest = Manifest(
            cluster=founding.cluster,
            domain=domain,
            genesis_digest=founding.digest,
            assurance=founding.genesis.assurance.value,
            partitions=tuple(_entry(head) for _, head in sorted(heads.items())),
            anchors=anchors,
            files=self._files,
        )
        with self._sink.create_file(MANIFEST) as stream:
            stream.write(encode_manifest(manifest))
        return ExportSummary(
            records=records, partitions=len(heads), checkpoints=checkpoints, anchors=anchors
        )

    # checkpoints

    def _write_checkpoints(
        self, founding: Founding
    ) -> tuple[dict[TopicPartition, Checkpoint], int]:
        """Writes the first checkpoint of each tree and minute, and each tree's last one.

        At 4 a second and tree the rest would be most of the export; the next one kept covers them.
        """
        origins = self._origins(founding)
        first, end = self._ports.index.bounds(_CHECKPOINTS)
        newest: dict[bytes | None, bytes | None] = {}
        minutes: dict[bytes | None, int] = {}
        heads: dict[TopicPartition, Checkpoint] = {}
        written = 0
        digest = sha256()
        with self._sink.create_file(CHECKPOINTS) as stream:
            for record in self._records(_CHECKPOINTS, first, end):
                newest[record.key] = record.value
                minute = record.timestamp_ms // ANCHOR_EVERY_MS  # only thins out: trust needs none
                if minutes.get(record.key) == minute:
                    continue
                if self._note_head(heads, record.value, founding, origins):
                    minutes[record.key] = minute
                    written += _put(stream, digest.update, record.value)
            for value in newest.values():
                if self._note_head(heads, value, founding, origins):
                    written += _put(stream, digest.update, value)
        self._files[CHECKPOINTS] = digest.digest()
        return heads, written

    def _note_head(
        self,
        heads: dict[TopicPartition, Checkpoint],
        value: bytes | None,
        founding: Founding,
        origins: set[str],
    ) -> bool:
        record = self._checkpoint(value, founding, origins)
        if record is None:
            return False
        at = TopicPartition(record.topic, record.partition)
        if at not in heads or record.sealed_at_ms >= heads[at].sealed_at_ms:
            heads[at] = record
        return True

    def _origins(self, founding: Founding) -> set[str]:
        index = self._ports.index
        domain, cluster = founding.genesis.audit_domain, founding.cluster
        return {
            str(Origin(domain, cluster, topic, index.topic_id(topic), number))
            for topic in SEALED_TOPICS
            for number in range(index.partitions(topic))
        }

    def _checkpoint(
        self, value: bytes | None, founding: Founding, origins: set[str]
    ) -> Checkpoint | None:
        try:
            record = self._ports.codec.decode(value or b"")
            if not isinstance(record, Checkpoint):
                return None
            origin = parse_origin(record.origin)
            if str(origin._replace(generation=0)) not in origins:
                return None
            key = NoteKey(name=record.origin, public_key=founding.sealing_key)
            open_checkpoint(record, origin, key, self._ports.verifier)
        except (UndecodableError, VerificationError):
            return None  # whatever lies there, it is no evidence
        return record

    # the rest

    def _write_leaves(self, at: TopicPartition, size: int) -> int:
        label = f"{at.topic}/{at.partition}"
        with (
            self._sink.create_file(leaves_name(at.topic, at.partition)) as leaves,
            self._sink.create_file(hashes_name(at.topic, at.partition)) as hashes,
        ):
            for done, value in enumerate(self._values(at, 0, size), start=1):
                leaves.write(frame_value(value))
                hashes.write(leaf_hash(value))
                if done % 1_000 == 0 or done == size:
                    self._progress(label, done, size)
        return size

    def _write_frames(self, name: str, values: Iterator[bytes | None]) -> int:
        digest = sha256()
        written = 0
        with self._sink.create_file(name) as stream:
            for value in values:
                written += _put(stream, digest.update, value)
        self._files[name] = digest.digest()
        return written

    def _write_file(self, name: str, body: bytes) -> None:
        with self._sink.create_file(name) as stream:
            stream.write(body)
        self._files[name] = sha256(body).digest()

    def _records(self, at: TopicPartition, start: int, end: int) -> Iterator[LogRecord]:
        return read_range(self._ports.log, at, start, end, clock=self._ports.clock)

    def _values(self, at: TopicPartition, start: int, end: int) -> Iterator[bytes | None]:
        return (record.value for record in self._records(at, start, end))


def _put(stream: BinaryIO, update: Callable[[bytes], None], value: bytes | None) -> int:
    framed = frame_value(value)
    stream.write(framed)
    update(framed)
    return 1


def _entry(head: Checkpoint) -> PartitionEntry:
    return PartitionEntry(
        origin=head.origin,
        topic=head.topic,
        partition=head.partition,
        size=head.size,
        root=head.root,
        sealed_at_ms=head.sealed_at_ms // 1000 * 1000,
    )
