# SPDX-License-Identifier: Apache-2.0
"""Avro single-object frames by fastavro and msgspec.

Avro 1.12, "Single-object encoding": two marker bytes C3 01, the CRC-64-AVRO fingerprint of the
writer's schema in little-endian, the body.
"""

from __future__ import annotations

import hashlib
import io
import json
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import fastavro
import msgspec
from fastavro.schema import fingerprint, to_parsing_canonical_form

from agentguard.contracts import commands, records
from agentguard.contracts.errors import UndecodableError, UnknownSchemaError
from agentguard.contracts.ports import AnyRecord
from agentguard.resources import resource

MARKER = b"\xc3\x01"
HEADER_BYTES = 10

RECORD_TYPES: tuple[type, ...] = (
    *typing.get_args(records.Record),
    commands.SignedCommand,
    *typing.get_args(commands.CommandBody),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """One schema file: its name, the frame header it writes, the digest of its text."""

    name: str
    header: bytes
    sha256: bytes
    parsed: typing.Any

    @property
    def fingerprint(self) -> bytes:
        """The 8 bytes that name this schema in a frame."""
        return self.header[2:]


def load_schema(path: Path) -> Schema:
    """Returns a schema file. Its canonical form ignores defaults and docs, its digest does not."""
    text = path.read_bytes()
    parsed = fastavro.parse_schema(json.loads(text))
    # `fingerprint` prints the checksum's bytes in the little-endian order that the frame carries
    mark = bytes.fromhex(fingerprint(to_parsing_canonical_form(parsed), "CRC-64-AVRO"))
    return Schema(
        name=path.stem,
        header=MARKER + mark,
        sha256=hashlib.sha256(text).digest(),
        parsed=parsed,
    )


@cache
def schemas() -> tuple[Schema, ...]:
    """Returns every schema of this build, in the order of `RECORD_TYPES`."""
    folder = resource("schemas", "avro")
    return tuple(load_schema(folder / f"{t.__name__}.avsc") for t in RECORD_TYPES)


@cache
def earlier_schemas() -> tuple[Schema, ...]:
    """Returns the schemas of released builds that this one reads and no longer writes.

    They lie in `schemas/avro/earlier/NAME.FINGERPRINT.avsc`; a build that grows a schema moves the
    released text there.
    """
    folder = resource("schemas", "avro") / "earlier"
    return tuple(load_schema(path) for path in sorted(folder.glob("*.avsc")))


class AvroCodec:
    """`Codec` over the schemas of this build, reading those of `earlier` ones too.

    Fields that the writer did not know get their defaults, fields and enum symbols that this build
    does not know are left out or become `unknown`. Safe to share between threads.
    """

    def __init__(self, earlier: Sequence[Schema] | None = None) -> None:
        pairs = list(zip(RECORD_TYPES, schemas(), strict=True))
        self._by_type = {t: (s.header, s.parsed) for t, s in pairs}
        self._by_header: dict[bytes, tuple[type, typing.Any, typing.Any]] = {}
        by_name = {t.__name__: (t, s.parsed) for t, s in pairs}
        for schema in earlier_schemas() if earlier is None else earlier:
            kind, reader = by_name[schema.name.split(".", 1)[0]]
            self._by_header[schema.header] = (kind, schema.parsed, reader)
        for kind, schema in pairs:
            self._by_header[schema.header] = (kind, schema.parsed, None)

    def encode(self, record: AnyRecord) -> bytes:
        """Returns the frame of a record."""
        header, schema = self._by_type[type(record)]
        out = io.BytesIO()
        out.write(header)
        plain = msgspec.to_builtins(record, builtin_types=(bytes,))
        fastavro.schemaless_writer(out, schema, plain)
        return out.getvalue()

    def decode(self, frame: bytes) -> AnyRecord:
        """Returns the record of a frame. Raises `UndecodableError`, `UnknownSchemaError`."""
        header = frame[:HEADER_BYTES]
        known = self._by_header.get(header)
        if known is None:
            if header[:2] == MARKER and len(header) == HEADER_BYTES:
                raise UnknownSchemaError("unknown schema fingerprint", fingerprint=header[2:])
            raise UndecodableError("not a single-object frame")
        kind, schema, reader = known
        body = io.BytesIO(frame)
        body.seek(HEADER_BYTES)
        try:
            plain = fastavro.schemaless_reader(body, schema, reader)
            record: typing.Any = msgspec.convert(plain, kind, builtin_types=(bytes,))
        except Exception as error:  # fastavro raises many types on hostile bytes
            raise UndecodableError(
                "body does not fit its schema", fingerprint=header[2:]
            ) from error
        if body.tell() != len(frame):
            raise UndecodableError("bytes after the record", fingerprint=header[2:])
        return typing.cast(AnyRecord, record)
