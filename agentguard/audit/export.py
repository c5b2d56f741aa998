# SPDX-License-Identifier: Apache-2.0
"""The form of an exported trail: file names, length-prefixed leaves, the manifest.

| file | holds |
|---|---|
| `manifest.json` | canonical JSON: what the export claims to hold |
| `leaves/<topic>/<partition>.bin` | every record value from offset 0: length (4 bytes, big-endian), value; a null value is the length 0xFFFFFFFF |
| `hashes/<topic>/<partition>.bin` | their leaf hashes, 32 bytes each: they name the record that was changed |
| `checkpoints.bin`, `anchors.bin` | `Checkpoint` and `Anchor` frames with the same length prefix |
| `schemas/*.avsc`, `policy.txt` | schemas of the records; the key as a C2SP policy (trust must come from outside) |

Nothing in an export is trusted: the manifest is compared with what the evidence says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from agentguard.contracts.errors import UndecodableError, VerificationError
from agentguard.contracts.facts import Json
from agentguard.contracts.strict_json import encode_canonical, parse_strict

FORMAT = "agentguard/export/v1"
MANIFEST = "manifest.json"
CHECKPOINTS = "checkpoints.bin"
ANCHORS = "anchors.bin"
POLICY = "policy.txt"
SCHEMAS = "schemas/"
MANIFEST_BYTES_MAX = 16_777_216
LEAF_BYTES_MAX = 1_048_576
_LENGTH_BYTES = 4
_NULL = 0xFFFFFFFF


class Trail(Protocol):
    """An exported trail to read from."""

    def names(self) -> Sequence[str]:
        """Returns every file's name relative to the export, with `/`."""

    def open(self, name: str) -> BinaryIO:
        """Returns a file to read; raises `VerificationError` (MISSING_FILE)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionEntry:
    """What the manifest claims of one sealed partition."""

    origin: str
    topic: str
    partition: int
    size: int
    root: bytes
    sealed_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an export claims to hold. `files` are SHA-256 of all files but leaves and hashes."""

    cluster: str
    domain: str
    genesis_digest: bytes
    assurance: str
    partitions: tuple[PartitionEntry, ...]
    anchors: int
    files: Mapping[str, bytes]


def leaves_name(topic: str, partition: int) -> str:
    """Returns the file of a partition's record values."""
    return f"leaves/{topic}/{partition}.bin"


def hashes_name(topic: str, partition: int) -> str:
    """Returns the file of a partition's leaf hashes."""
    return f"hashes/{topic}/{partition}.bin"


def frame_value(value: bytes | None) -> bytes:
    """Returns a value with its length before it."""
    if value is None:
        return _NULL.to_bytes(_LENGTH_BYTES, "big")
    return len(value).to_bytes(_LENGTH_BYTES, "big") + value


def read_values(stream: BinaryIO) -> Iterator[bytes | None]:
    """Yields the values of a length-prefixed file. Raises `VerificationError` (FRAME)."""
    while head := stream.read(_LENGTH_BYTES):
        if len(head) != _LENGTH_BYTES:
            raise VerificationError("a file ends within a length", finding="FRAME")
        length = int.from_bytes(head, "big")
        if length == _NULL:
            yield None
            continue
        if length > LEAF_BYTES_MAX:
            raise VerificationError(f"a record of {length} bytes", finding="FRAME")
        value = stream.read(length)
        if len(value) != length:
            raise VerificationError("a file ends within a record", finding="FRAME")
        yield value


def encode_manifest(manifest: Manifest) -> bytes:
    """Returns the manifest as canonical JSON with a newline at its end."""
    partitions: list[Json] = [
        {
            "origin": p.origin,
            "topic": p.topic,
            "partition": p.partition,
            "size": p.size,
            "root": p.root.hex(),
            "sealedAtMs": p.sealed_at_ms,
        }
        for p in manifest.partitions
    ]
    body: dict[str, Json] = {
        "format": FORMAT,
        "cluster": manifest.cluster,
        "domain": manifest.domain,
        "genesisDigest": manifest.genesis_digest.hex(),
        "assurance": manifest.assurance,
        "partitions": partitions,
        "anchors": manifest.anchors,
        "files": {name: digest.hex() for name, digest in manifest.files.items()},
    }
    return encode_canonical(body) + b"\n"


def parse_manifest(body: bytes) -> Manifest:
    """Returns the manifest of an export. Raises `VerificationError` (MANIFEST)."""
    try:
        value = parse_strict(body)
        manifest = _manifest(value)
    except (UndecodableError, ValueError, TypeError, KeyError) as error:
        raise VerificationError("the manifest is malformed", finding="MANIFEST") from error
    if encode_manifest(manifest) != body:
        raise VerificationError("the manifest is not in its canonical form", finding="MANIFEST")
    return manifest


def _manifest(value: Json) -> Manifest:
    if not isinstance(value, dict) or value["format"] != FORMAT:
        raise ValueError("another format")
    partitions, files = value["partitions"], value["files"]
    if not isinstance(partitions, list) or not isinstance(files, dict):
        raise TypeError("a list and an object")
    return Manifest(
        cluster=_text(value["cluster"]),
        domain=_text(value["domain"]),
        genesis_digest=bytes.fromhex(_text(value["genesisDigest"])),
        assurance=_text(value["assurance"]),
        partitions=tuple(_entry(p) for p in partitions),
        anchors=_number(value["anchors"]),
        files={name: bytes.fromhex(_text(digest)) for name, digest in files.items()},
    )


def _entry(value: Json) -> PartitionEntry:
    if not isinstance(value, dict):
        raise TypeError("an object")
    return PartitionEntry(
        origin=_text(value["origin"]),
        topic=_text(value["topic"]),
        partition=_number(value["partition"]),
        size=_number(value["size"]),
        root=bytes.fromhex(_text(value["root"])),
        sealed_at_ms=_number(value["sealedAtMs"]),
    )


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise TypeError("a text")
    return value


def _number(value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError("a number")
    return value
