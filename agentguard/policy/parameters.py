# SPDX-License-Identifier: Apache-2.0
"""Whether a call's parameters fit the JSON Schema that the tool was registered with.

A subset of JSON Schema 2020-12, checked without I/O, randomness or regular expressions:

- asserted: `type`, `enum`, `const`, `properties`, `required`, `additionalProperties`, `items`,
  `prefixItems`, bounds of numbers, texts, lists and objects, `uniqueItems`, `multipleOf`,
  `anyOf`, `oneOf`, `allOf`, `not`, and `$ref` into the same schema;
- not asserted: `format` and `pattern` (a pattern on hostile text can run for hours), annotations;
- refused: every other keyword that could change what fits, because ignoring it would widen.

Stricter than the standard in one point: an object takes no member that its schema does not name
unless `additionalProperties` says so. What no schema names, no extractor and no person has seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.facts import Json
from agentguard.contracts.strict_json import parse_strict
from agentguard.policy.assertions import ASSERTIONS

SCHEMAS_CACHED_MAX: Final = 4_096
STEPS_MAX: Final = 20_000
DEPTH_MAX: Final = 128
COMPOSED_DEPTH_MAX: Final = 8

_ANNOTATIONS: Final = frozenset(
    [
        "$schema",
        "$id",
        "$comment",
        "$anchor",
        "$defs",
        "definitions",
        "title",
        "description",
        "default",
        "examples",
        "example",
        "deprecated",
        "readOnly",
        "writeOnly",
        "format",
        "pattern",
        "contentEncoding",
        "contentMediaType",
    ]
)
_STRUCTURE: Final = frozenset(
    [
        "properties",
        "required",
        "additionalProperties",
        "items",
        "prefixItems",
        "$ref",
        "anyOf",
        "oneOf",
        "allOf",
        "not",
    ]
)
_DEFINITIONS: Final = ("$defs", "definitions")
# stands in a place for a name that the schema does not hold
_ANY: Final = "*"
_NAMES_TOLD_MAX: Final = 8


class MisfitError(Exception):
    """A value does not fit its schema; never leaves this module."""


class UnusableError(Exception):
    """A schema cannot judge anything. No `not` or `anyOf` swallows it: that would widen."""


def check(schema_json: str, parameters: Mapping[str, Json]) -> str:
    """Returns an empty text where the parameters fit, else what does not and where.

    The answer names parameters as the schema does and bounds, never a value, nor a name that only
    the caller gave: both may be personal, and the answer lies on the log in the clear. A schema
    that cannot be read or holds a keyword that cannot be judged fits nothing.
    """
    try:
        _check_root(_usable(schema_json), dict(parameters))
    except (MisfitError, UnusableError) as misfit:
        return str(misfit)
    return ""


def unsupported(schema_json: str) -> tuple[str, ...]:
    """Returns the keywords of a schema that `check` refuses, to be told at registration."""
    try:
        schema = parse_strict(schema_json.encode())
    except (UndecodableError, UnicodeEncodeError):
        return ("not JSON",)
    return tuple(sorted(set(_unknown_keywords(schema))))


@lru_cache(maxsize=SCHEMAS_CACHED_MAX)
def _usable(schema_json: str) -> Json:
    unknown = unsupported(schema_json)
    if unknown:
        raise UnusableError(f"the schema uses `{unknown[0]}`, which cannot be checked")
    return parse_strict(schema_json.encode())


def _check_root(schema: Json, parameters: dict[str, Json]) -> None:
    run = _Run(schema)
    if isinstance(schema, dict) and "additionalProperties" not in schema:
        named = run.members(schema)
        if not named.issuperset(parameters):
            raise _unknown_member("", named)
    run.fits(schema, parameters, "", is_open=True)


class _Run:
    """One run over one value: the schema's root for `$ref`, and the steps that are left."""

    __slots__ = ("depth", "root", "steps")

    def __init__(self, root: Json) -> None:
        self.root = root
        self.steps = STEPS_MAX
        self.depth = 0

    def fits(self, schema: Json, value: Json, place: str, *, is_open: bool = False) -> None:
        """Raises `MisfitError` unless the value fits. `is_open` takes members nobody names."""
        self.steps -= 1
        self.depth += 1
        # counted, because an interpreter's own limit depends on who calls: two lanes must agree
        if self.steps < 0 or self.depth > DEPTH_MAX:
            raise UnusableError("the schema takes too long to check")
        try:
            self._judge(schema, value, place, is_open=is_open)
        finally:
            self.depth -= 1

    def _judge(self, schema: Json, value: Json, place: str, *, is_open: bool) -> None:
        if schema is True:
            return
        if not isinstance(schema, dict):
            raise MisfitError(f"`{place}` is not accepted")
        for keyword, wanted in schema.items():
            if keyword in ASSERTIONS:
                wrong = ASSERTIONS[keyword](wanted, value)
                if wrong:
                    raise MisfitError(f"`{place}` {wrong}")
        if isinstance(value, dict):
            self._object(schema, value, place, is_open=is_open)
        elif isinstance(value, list):
            self._list(schema, value, place)
        if not _STRUCTURE.isdisjoint(schema):
            self._composed(schema, value, place, is_open=is_open or "properties" in schema)

    def _object(
        self, schema: Mapping[str, Json], value: Mapping[str, Json], place: str, *, is_open: bool
    ) -> None:
        properties = _mapping(schema.get("properties", {}))
        for name in _list(schema.get("required", [])):
            if name not in value:
                raise MisfitError(f"`{place}/{name}` is missing")
        other = schema.get("additionalProperties", is_open or "properties" not in schema)
        for name, item in value.items():
            if name in properties:
                self.fits(properties[name], item, f"{place}/{name}")
            elif other is False:
                raise _unknown_member(place, properties)
            elif other is not True:
                self.fits(other, item, f"{place}/{_ANY}")

    def _list(self, schema: Mapping[str, Json], value: list[Json], place: str) -> None:
        first = _list(schema.get("prefixItems", []))
        rest = schema.get("items", True)
        for i, item in enumerate(value):
            self.fits(first[i] if i < len(first) else rest, item, f"{place}/{i}")

    def _composed(
        self, schema: Mapping[str, Json], value: Json, place: str, *, is_open: bool
    ) -> None:
        if "$ref" in schema:
            self.fits(self.resolve(schema["$ref"]), value, place, is_open=is_open)
        for part in _list(schema.get("allOf", [])):
            self.fits(part, value, place, is_open=True)
        if "anyOf" in schema and not self._count(schema["anyOf"], value, place, is_open=is_open):
            raise MisfitError(f"`{place}` fits none of the alternatives")
        if "oneOf" in schema and self._count(schema["oneOf"], value, place, is_open=is_open) != 1:
            raise MisfitError(f"`{place}` does not fit exactly one of the alternatives")
        # open inside `not`: there strictness would let more through, not less
        if "not" in schema and self._holds(schema["not"], value, place, is_open=True):
            raise MisfitError(f"`{place}` is not accepted")

    def _count(self, parts: Json, value: Json, place: str, *, is_open: bool) -> int:
        return sum(self._holds(part, value, place, is_open=is_open) for part in _list(parts))

    def _holds(self, schema: Json, value: Json, place: str, *, is_open: bool) -> bool:
        try:
            self.fits(schema, value, place, is_open=is_open)
        except MisfitError:
            return False
        return True

    def resolve(self, reference: Json) -> Json:
        """Returns what a local reference points to; raises `UnusableError` for any other."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise UnusableError("the schema refers to something outside itself")
        node = self.root
        parts = reference[1:].split("/")[1:]
        for part in parts:
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(node, dict) or key not in node:
                raise UnusableError("the schema refers to something that it does not hold")
            node = node[key]
        if parts and parts[0] not in _DEFINITIONS:
            # only where definitions usually lie was it looked through before
            for keyword in _unknown_keywords(node):
                raise UnusableError(f"the schema uses `{keyword}`, which cannot be checked")
        return node

    def members(self, schema: Json, depth: int = 0) -> set[str]:
        """Returns every member that a schema, or a part it is composed of, names."""
        if not isinstance(schema, dict) or depth > COMPOSED_DEPTH_MAX:
            return set()
        self.steps -= 1
        if self.steps < 0:
            raise UnusableError("the schema takes too long to check")
        named = set(_mapping(schema.get("properties", {})))
        parts = [part for k in ("allOf", "anyOf", "oneOf") for part in _list(schema.get(k, []))]
        if "$ref" in schema:
            parts.append(self.resolve(schema["$ref"]))
        return named.union(*(self.members(part, depth + 1) for part in parts))


def _unknown_member(place: str, named: Iterable[str]) -> MisfitError:
    """Returns what is wrong with a member that the schema does not name: the names that it knows."""
    known = ", ".join(f"`{name}`" for name in sorted(named)[:_NAMES_TOLD_MAX]) or "none"
    return MisfitError(f"`{place or '/'}` has a parameter that is not known; known are {known}")


def _unknown_keywords(schema: Json) -> Iterable[str]:
    """Yields the keywords that can be neither judged nor ignored, in every subschema."""
    if not isinstance(schema, dict):
        return
    for keyword, inner in schema.items():
        if keyword in ("properties", *_DEFINITIONS) and isinstance(inner, dict):
            for part in inner.values():
                yield from _unknown_keywords(part)
        elif keyword in ("additionalProperties", "items", "not"):
            yield from _unknown_keywords(inner)
        elif keyword in ("anyOf", "oneOf", "allOf", "prefixItems") and isinstance(inner, list):
            for part in inner:
                yield from _unknown_keywords(part)
        elif not (keyword in ASSERTIONS or keyword in _STRUCTURE or keyword in _ANNOTATIONS):
            yield keyword


def _mapping(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise UnusableError("the schema is not in the documented shape")
    return value


def _list(value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise UnusableError("the schema is not in the documented shape")
    return value
