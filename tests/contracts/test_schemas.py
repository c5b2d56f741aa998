"""Schemas, dataclasses, examples and the frozen list say the same; growth is compatible."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
import types
import typing
from enum import Enum
from pathlib import Path
from typing import Any

import fastavro
import msgspec
import pytest

from agentguard.adapters.avro_codec import RECORD_TYPES, AvroCodec, Schema, load_schema, schemas
from agentguard.contracts.errors import UndecodableError

ROOT = Path(__file__).resolve().parents[2]
AVRO = ROOT / "schemas" / "avro"
BY_NAME = {s.name: s for s in schemas()}
CRC_EMPTY = 0xC15D213AA4D7A795


def crc64_avro(data: bytes) -> bytes:
    """CRC-64-AVRO written from the specification alone, little-endian as single-object wants."""
    table = []
    for i in range(256):
        fp = i
        for _ in range(8):
            fp = (fp >> 1) ^ (CRC_EMPTY & -(fp & 1))
        table.append(fp)
    fp = CRC_EMPTY
    for byte in data:
        fp = (fp >> 8) ^ table[(fp ^ byte) & 0xFF]
    return fp.to_bytes(8, "little")


def shape(hint: Any) -> Any:
    """What a field's annotation means on the wire, sizes of byte strings left out."""
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        inner = [a for a in typing.get_args(hint) if a is not type(None)]
        return ["null", shape(inner[0])]
    if origin is tuple:
        return {"array": shape(typing.get_args(hint)[0])}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"enum": [m.value for m in hint]}
    if dataclasses.is_dataclass(hint):
        return {"record": record_shape(typing.cast(type, hint))}
    return {str: "string", bool: "boolean", int: "number", bytes: "bytes"}[hint]


def record_shape(kind: type) -> list[Any]:
    hints = typing.get_type_hints(kind)
    fields = [(f.name, shape(hints[f.name])) for f in dataclasses.fields(kind)]
    return [list(f) for f in fields]


def wire_shape(schema: Any, named: dict[str, Any]) -> Any:
    match schema:
        case list():
            return ["null", wire_shape(schema[1], named)]
        case str() if schema in named:
            return named[schema]
        case "string" | "boolean" | "bytes":
            return schema
        case "int" | "long":
            return "number"
        case {"type": "fixed"}:
            named[schema["name"]] = "bytes"
            return "bytes"
        case {"type": "enum"}:
            assert schema["default"] == "unknown", schema["name"]
            named[schema["name"]] = {"enum": list(schema["symbols"])}
            return named[schema["name"]]
        case {"type": "array"}:
            return {"array": wire_shape(schema["items"], named)}
        case {"type": "record"}:
            made = [[f["name"], wire_shape(f["type"], named)] for f in schema["fields"]]
            named[schema["name"]] = {"record": made}
            return named[schema["name"]]
    raise TypeError(schema)


@pytest.mark.parametrize("kind", RECORD_TYPES, ids=lambda k: k.__name__)
def test_dataclass_and_schema_have_the_same_fields_in_the_same_order(kind: type) -> None:
    parsed = BY_NAME[kind.__name__].parsed
    assert wire_shape(parsed, {})["record"] == record_shape(kind)


@pytest.mark.parametrize("schema", schemas(), ids=lambda s: s.name)
def test_fingerprint_is_crc64_avro_of_the_canonical_form(schema: Schema) -> None:
    canonical = fastavro.schema.to_parsing_canonical_form(schema.parsed)
    assert schema.fingerprint == crc64_avro(canonical.encode())


@pytest.mark.parametrize("schema", schemas(), ids=lambda s: s.name)
def test_current_schema_is_the_last_frozen_one(schema: Schema) -> None:
    frozen = json.loads((AVRO / "frozen.json").read_text())
    last = frozen[schema.name][-1]
    assert (last["fingerprint"], last["sha256"]) == (schema.fingerprint.hex(), schema.sha256.hex())


def released_versions(name: str) -> list[Schema]:
    """Every released version of a schema, oldest first; old texts lie in `released/`."""
    frozen = json.loads((AVRO / "frozen.json").read_text())[name]
    current = BY_NAME[name]
    made = []
    for entry in frozen:
        if entry["fingerprint"] == current.fingerprint.hex():
            made.append(current)
            continue
        old = load_schema(AVRO / "released" / f"{name}.{entry['fingerprint']}.avsc")
        assert (old.fingerprint.hex(), old.sha256.hex()) == (entry["fingerprint"], entry["sha256"])
        made.append(old)
    return made


@pytest.mark.parametrize("name", sorted(BY_NAME), ids=str)
def test_every_released_version_reads_every_other(name: str) -> None:
    versions = released_versions(name)
    for example in json.loads((AVRO / "examples" / f"{name}.json").read_text()):
        body = bytes.fromhex(example["frame"])[10:]
        for reader in versions:
            out = fastavro.schemaless_reader(io.BytesIO(body), BY_NAME[name].parsed, reader.parsed)
            written = io.BytesIO()
            fastavro.schemaless_writer(written, reader.parsed, typing.cast(Any, out))
            written.seek(0)
            fastavro.schemaless_reader(written, reader.parsed, BY_NAME[name].parsed)


@pytest.mark.parametrize("schema", schemas(), ids=lambda s: s.name)
def test_both_examples_decode_to_records_and_encode_to_the_same_bytes(
    schema: Schema, codec: AvroCodec
) -> None:
    made = json.loads((AVRO / "examples" / f"{schema.name}.json").read_text())
    assert len(made) >= 2
    for example in made:
        frame = bytes.fromhex(example["frame"])
        record = codec.decode(frame)
        assert type(record).__name__ == schema.name
        assert codec.encode(record) == frame


def test_examples_and_frozen_list_come_out_again_from_their_script() -> None:
    path = ROOT / "tests" / "golden" / "make_schema_examples.py"
    spec = importlib.util.spec_from_file_location("make_schema_examples", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for file, text in module.files().items():
        assert file.read_text(encoding="utf-8") == text, file.name


def test_hostile_frames_are_undecodable_and_nothing_else(codec: AvroCodec) -> None:
    frame = bytes.fromhex(
        json.loads((AVRO / "examples" / "AgentRequest.json").read_text())[1]["frame"]
    )
    for cut in range(len(frame)):
        with pytest.raises(UndecodableError):
            codec.decode(frame[:cut])
    for extra in (b"\0", frame):
        with pytest.raises(UndecodableError):
            codec.decode(frame + extra)
    for at in range(len(frame)):
        changed = bytearray(frame)
        changed[at] ^= 0x81
        try:
            codec.decode(bytes(changed))
        except UndecodableError:
            continue


def test_undecodable_names_the_fingerprint_that_it_met(codec: AvroCodec) -> None:
    with pytest.raises(UndecodableError) as caught:
        codec.decode(b"\xc3\x01" + b"unlisted" + b"body")
    assert caught.value.fingerprint == b"unlisted"


def test_records_are_plain_dataclasses() -> None:
    for kind in RECORD_TYPES:
        assert dataclasses.is_dataclass(kind)
        assert not issubclass(kind, msgspec.Struct)
