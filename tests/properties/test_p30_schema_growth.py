"""Feature: ai-agent-security-platform, Property 30: Schema Growth.

Any schema grows by what growth allows: fields with defaults, enum symbols, at any depth. What the
grown build writes is read by this one, what this one writes is read by the grown one, and nothing
that both know is lost or changed on the way.
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fastavro
import msgspec
from hypothesis import given
from hypothesis import strategies as st

from agentguard.adapters.avro_codec import (
    HEADER_BYTES,
    RECORD_TYPES,
    AvroCodec,
    Schema,
    load_schema,
)
from agentguard.contracts.errors import UnknownSchemaError
from agentguard.contracts.ports import AnyRecord
from agentguard.resources import resource

FOLDER = resource("schemas", "avro")
NAMES = {t.__name__: t for t in RECORD_TYPES}
NEW_FIELDS = (
    {"name": "grown_text", "type": "string", "default": ""},
    {"name": "grown_number", "type": ["null", "long"], "default": None},
    {"name": "grown_list", "type": {"type": "array", "items": "string"}, "default": []},
)
CODEC = AvroCodec()
OURS = {name: load_schema(FOLDER / f"{name}.avsc") for name in NAMES}
TEXTS = {name: json.loads((FOLDER / f"{name}.avsc").read_text(encoding="utf-8")) for name in NAMES}
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "string": st.text(max_size=4),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "bytes": st.binary(max_size=4),
}


def named_in(schema: Any, found: dict[str, Any] | None = None) -> dict[str, Any]:
    """Returns every named type inside a schema: each is written once and then referred to."""
    found = {} if found is None else found
    if isinstance(schema, list):
        for branch in schema:
            named_in(branch, found)
    elif isinstance(schema, dict):
        found[schema.get("name", "")] = schema
        for inner in (schema.get("items"), schema["type"], *schema.get("fields", ())):
            named_in(inner, found)
    return found


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Yields every record and enum inside a schema, outermost first."""
    if isinstance(schema, list):
        for branch in schema:
            yield from parts(branch)
    elif isinstance(schema, dict):
        if schema["type"] in ("record", "enum"):
            yield schema
        for field in schema.get("fields", ()):
            yield from parts(field["type"])
        if schema["type"] == "array":
            yield from parts(schema["items"])


@st.composite
def grown(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """Draws what a later release could make of a schema."""
    schema: dict[str, Any] = copy.deepcopy(TEXTS[name])
    found = list(parts(schema))
    for part in draw(st.lists(st.sampled_from(found), min_size=1, max_size=3, unique_by=id)):
        if part["type"] == "enum":
            part["symbols"] = [*part["symbols"], "grown_symbol"]
        else:
            new = draw(st.lists(st.sampled_from(NEW_FIELDS), min_size=1, unique_by=id))
            part["fields"] = [*part["fields"], *copy.deepcopy(new)]
    return schema


def values(schema: Any, named: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Draws any value that a schema can carry."""
    if isinstance(schema, list):
        return st.one_of(*(values(branch, named) for branch in schema))
    if isinstance(schema, str):
        return values(named[schema], named) if schema in named else SCALARS[schema]
    match schema:
        case {"type": "fixed", "size": size}:
            return st.binary(min_size=size, max_size=size)
        case {"type": "enum", "symbols": symbols}:
            return st.sampled_from(symbols)
        case {"type": "array", "items": items}:
            return st.lists(values(items, named), max_size=2)
        case {"type": "record", "fields": fields}:
            return st.fixed_dictionaries({f["name"]: values(f["type"], named) for f in fields})
    return values(schema["type"], named)


@cache
def own_values(name: str) -> st.SearchStrategy[Any]:
    return values(TEXTS[name], named_in(TEXTS[name]))


def enlarged(value: Any, later: Any, named: dict[str, Any], *, is_new: bool) -> Any:
    """Fills what a grown schema adds: every new field, and with `is_new` every new symbol."""
    if isinstance(later, list):
        return None if value is None else enlarged(value, later[1], named, is_new=is_new)
    if isinstance(later, str):
        later = named.get(later, {"type": later})
    match later:
        case {"type": "enum", "symbols": symbols}:
            return symbols[-1] if is_new else value
        case {"type": "array", "items": items}:
            return [enlarged(v, items, named, is_new=is_new) for v in value]
        case {"type": "record", "fields": fields}:
            return {
                f["name"]: enlarged(value[f["name"]], f["type"], named, is_new=is_new)
                if f["name"] in value
                else {"grown_text": "x", "grown_number": 7, "grown_list": ["y"]}[f["name"]]
                for f in fields
            }
    return value


def common(value: Any, schema: Any, named: dict[str, Any]) -> Any:
    """What a reader of `schema` keeps of a value that a grown writer wrote."""
    if isinstance(schema, list):
        return None if value is None else common(value, schema[1], named)
    if isinstance(schema, str) and schema in named:
        schema = named[schema]
    match schema:
        case {"type": "enum", "symbols": symbols}:
            return value if value in symbols else "unknown"
        case {"type": "array", "items": items}:
            return [common(v, items, named) for v in value]
        case {"type": "record", "fields": fields}:
            return {f["name"]: common(value[f["name"]], f["type"], named) for f in fields}
    return value


def as_schema(name: str, grown_schema: dict[str, Any]) -> Schema:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.grown.avsc"
        path.write_text(json.dumps(grown_schema), encoding="utf-8")
        return load_schema(path)


def frame(schema: Schema, value: Any) -> bytes:
    out = io.BytesIO()
    out.write(schema.header)
    fastavro.schemaless_writer(out, schema.parsed, value)
    return out.getvalue()


@given(data=st.data(), name=st.sampled_from(sorted(NAMES)), is_new=st.booleans())
def test_what_another_build_wrote_is_read(data: st.DataObject, name: str, is_new: bool) -> None:
    later = data.draw(grown(name))
    theirs = as_schema(name, later)
    value = enlarged(data.draw(own_values(name)), later, named_in(later), is_new=is_new)
    written = frame(theirs, value)
    assert theirs.header != OURS[name].header
    assert read_by(CODEC, written) is None, "a schema that this build does not know was read"
    read = read_by(AvroCodec(earlier=[theirs]), written)
    assert type(read) is NAMES[name]
    assert plain(read) == common(value, TEXTS[name], named_in(TEXTS[name]))


@given(data=st.data(), name=st.sampled_from(sorted(NAMES)))
def test_what_this_build_writes_is_read_by_another(data: st.DataObject, name: str) -> None:
    theirs = as_schema(name, data.draw(grown(name)))
    value = data.draw(own_values(name))
    record = msgspec.convert(value, NAMES[name], builtin_types=(bytes,))
    written = CODEC.encode(record)
    assert CODEC.decode(written) == record
    body = io.BytesIO(written[HEADER_BYTES:])
    read = fastavro.schemaless_reader(body, OURS[name].parsed, theirs.parsed)
    assert common(read, TEXTS[name], named_in(TEXTS[name])) == value


def read_by(codec: AvroCodec, written: bytes) -> AnyRecord | None:
    try:
        return codec.decode(written)
    except UnknownSchemaError:
        return None


def plain(record: Any) -> Any:
    return without_tuples(msgspec.to_builtins(record, builtin_types=(bytes,)))


def without_tuples(value: Any) -> Any:
    match value:
        case list() | tuple():
            return [without_tuples(v) for v in value]
        case dict():
            return {k: without_tuples(v) for k, v in value.items()}
    return value


Codec_init = AvroCodec.__init__


def _knows_itself_only(self: AvroCodec, earlier: object = None) -> None:
    Codec_init(self, earlier=())


def _writes_what_it_likes(self: AvroCodec, record: Any) -> bytes:
    header, schema = self._by_type[type(record)]
    value = msgspec.to_builtins(record, builtin_types=(bytes,))
    for key, item in value.items():
        if isinstance(item, str) and item:
            value[key] = item[:-1] if isinstance(item, str) and not item.islower() else item
    return frame(Schema(name="", header=header, sha256=b"", parsed=schema), value)


MUTANTS = (
    ("agentguard.adapters.avro_codec.AvroCodec.__init__", _knows_itself_only),
    ("agentguard.adapters.avro_codec.AvroCodec.encode", _writes_what_it_likes),
)
