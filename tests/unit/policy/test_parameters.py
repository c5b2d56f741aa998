# SPDX-License-Identifier: Apache-2.0
"""Parameters against their registered schema: what fits, what does not, what cannot be judged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.contracts.strict_json import parse_strict
from agentguard.policy.parameters import check, unsupported

X = {"type": "object", "properties": {"x": None}}


def judged(x_schema: Any, body: str, **root: Any) -> str:
    """Returns what is wrong with parameters whose member `x` has this schema."""
    schema = {"type": "object", "properties": {"x": x_schema}} | root
    parameters = parse_strict(body.encode())
    assert isinstance(parameters, dict)
    return check(json.dumps(schema), parameters)


FITS: list[tuple[Any, str]] = [
    ({"type": "string"}, '"a"'),
    ({"type": "integer"}, "3"),
    ({"type": "integer"}, "3.0"),
    ({"type": "integer"}, "123456789012345678901234567890"),
    ({"type": "number"}, "1.5"),
    ({"type": "boolean"}, "true"),
    ({"type": "null"}, "null"),
    ({"type": ["string", "null"]}, "null"),
    ({"type": "array", "items": {"type": "integer"}}, "[1,2]"),
    ({"type": "array"}, '[1,"a"]'),
    ({"prefixItems": [{"type": "integer"}], "items": {"type": "string"}}, '[1,"a"]'),
    ({"type": "object"}, '{"free": 1}'),
    ({"properties": {"a": {}}, "required": ["a"]}, '{"a": 1}'),
    ({"properties": {"a": {}}, "additionalProperties": True}, '{"b": 1}'),
    ({"additionalProperties": {"type": "integer"}}, '{"b": 1}'),
    ({"enum": ["a", 1, None]}, "1.0"),
    ({"enum": [{"a": [1]}]}, '{"a": [1.0]}'),
    ({"const": "a"}, '"a"'),
    ({"minimum": 1, "maximum": 2}, "2"),
    ({"exclusiveMinimum": 1, "exclusiveMaximum": 2}, "1.5"),
    ({"minimum": 1}, '"a text has no minimum"'),
    ({"multipleOf": 0.1}, "0.3"),
    ({"multipleOf": 2}, '"a"'),
    ({"minLength": 1, "maxLength": 2}, '"ab"'),
    ({"minLength": 3}, "1"),
    ({"minItems": 1, "maxItems": 2, "uniqueItems": True}, "[1, true]"),
    ({"uniqueItems": False}, "[1, 1]"),
    ({"minProperties": 1, "maxProperties": 1}, '{"a": 1}'),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "null"),
    ({"oneOf": [{"type": "integer"}, {"minimum": 5}]}, "4"),
    ({"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]}, '{"a": 1, "b": 2}'),
    ({"properties": {"a": {}, "b": {}}, "anyOf": [{"required": ["a"]}]}, '{"a": 1, "b": 2}'),
    ({"not": {"type": "string"}}, "1"),
    ({"not": {"properties": {"a": {"const": 1}}, "required": ["a"]}}, '{"a": 2}'),
    (
        {"format": "email", "pattern": "^(a+)+$", "title": "t", "default": {"odd": 1}},
        '"aaaaaaaaaa!"',
    ),
    (True, "1"),
    ({}, "1"),
]
DOES_NOT: list[tuple[Any, str, str]] = [
    ({"type": "string"}, "1", "`/x` is not of type `string`"),
    ({"type": ["string", "null"]}, "1", "`/x` is not of type `string` or `null`"),
    ({"type": "integer"}, "true", "`/x` is not of type `integer`"),
    ({"type": "integer"}, "1.5", "`/x` is not of type `integer`"),
    ({"type": "boolean"}, "1", "`/x` is not of type `boolean`"),
    ({"type": "magic"}, "1", "`/x` is not of type `magic`"),
    ({"type": 3}, "1", "`/x` is not of type `3`"),
    ({"items": {"type": "integer"}}, '[1,"a"]', "`/x/1` is not of type `integer`"),
    ({"prefixItems": [{"type": "string"}]}, "[1]", "`/x/0` is not of type `string`"),
    ({"items": False}, "[1]", "`/x/0` is not accepted"),
    ({"properties": {"a": {}}, "required": ["a"]}, "{}", "`/x/a` is missing"),
    (
        {"properties": {"a": {}}},
        '{"b": 1}',
        "`/x` has a parameter that is not known; known are `a`",
    ),
    (
        {"additionalProperties": False},
        '{"b": 1}',
        "`/x` has a parameter that is not known; known are none",
    ),
    (
        {"additionalProperties": {"type": "integer"}},
        '{"b": "c"}',
        "`/x/*` is not of type `integer`",
    ),
    ({"enum": ["a", 1]}, "true", "`/x` is none of the listed values"),
    ({"enum": "a"}, '"a"', "`/x` is none of the listed values"),
    ({"enum": [[1], {"a": 1}]}, '{"a": 2}', "`/x` is none of the listed values"),
    ({"enum": [[1], [1, 2]]}, "[2]", "`/x` is none of the listed values"),
    ({"enum": [{"b": 1}]}, '{"a": 1}', "`/x` is none of the listed values"),
    ({"const": 1}, "2", "`/x` is not the one accepted value"),
    ({"minimum": 1}, "0", "`/x` must be at least 1"),
    ({"maximum": 1.5}, "1.6", "`/x` must be at most 1.5"),
    ({"exclusiveMinimum": 1}, "1", "`/x` must be above 1"),
    ({"exclusiveMaximum": 1}, "1", "`/x` must be below 1"),
    ({"minimum": "1"}, "1", "`/x` is bounded by what is no number"),
    ({"minLength": True}, '"a"', "`/x` is bounded by what is no number"),
    ({"minLength": "1"}, '"a"', "`/x` is bounded by what is no number"),
    ({"multipleOf": 0.1}, "0.35", "`/x` is no multiple of 0.1"),
    ({"multipleOf": 0}, "1", "`/x` is no multiple of 0"),
    ({"multipleOf": 1}, "1e99", "`/x` is no multiple of 1"),
    ({"maxLength": 1}, '"ab"', "`/x` must hold at most 1 items"),
    ({"minItems": 1}, "[]", "`/x` must hold at least 1 items"),
    ({"maxProperties": 0}, '{"a": 1}', "`/x` must hold at most 0 items"),
    ({"uniqueItems": True}, "[1, 2, 1.0]", "`/x` holds a value twice"),
    ({"uniqueItems": True}, json.dumps(list(range(200))), "`/x` holds too many items to compare"),
    ({"anyOf": [{"type": "integer"}]}, '"a"', "`/x` fits none of the alternatives"),
    ({"oneOf": [{}, {}]}, "1", "`/x` does not fit exactly one of the alternatives"),
    ({"allOf": [{"minimum": 2}]}, "1", "`/x` must be at least 2"),
    ({"not": {}}, "1", "`/x` is not accepted"),
    ({"not": {"properties": {"a": {"const": 1}}}}, '{"b": 2}', "`/x` is not accepted"),
    (False, "1", "`/x` is not accepted"),
    (None, "1", "`/x` is not accepted"),
]
UNUSABLE: list[tuple[Any, str]] = [
    ({"if": {}, "then": False}, "the schema uses `if`, which cannot be checked"),
    ({"not": {"patternProperties": {}}}, "the schema uses `patternProperties`"),
    ({"anyOf": [{"contains": {}}, {}]}, "the schema uses `contains`"),
    ({"properties": {"a": {"dependentRequired": {}}}}, "the schema uses `dependentRequired`"),
    ({"not": {"$ref": "https://elsewhere.example/s"}}, "the schema refers to something outside"),
    ({"$ref": "#/properties/x/default", "default": {"if": {}}}, "the schema uses `if`"),
    ({"$ref": 3}, "the schema refers to something outside"),
    ({"$ref": "#/$defs/nothing"}, "the schema refers to something that it does not hold"),
    ({"not": {"$ref": "#/properties/x/title/y"}}, "the schema refers to something that it does"),
    ({"$ref": "#/properties/x"}, "the schema takes too long to check"),
    ({"required": "a"}, "the schema is not in the documented shape"),
    ({"properties": ["a"]}, "the schema is not in the documented shape"),
    ({"anyOf": {"type": "object"}}, "the schema is not in the documented shape"),
]


@pytest.mark.parametrize(("schema", "value"), FITS)
def test_value_fits(schema: Any, value: str) -> None:
    assert judged(schema, f'{{"x": {value}}}') == ""


@pytest.mark.parametrize(("schema", "value", "why"), DOES_NOT)
def test_value_does_not_fit_and_the_place_is_named(schema: Any, value: str, why: str) -> None:
    assert judged(schema, f'{{"x": {value}}}') == why


@pytest.mark.parametrize(("schema", "why"), UNUSABLE)
def test_schema_that_cannot_be_judged_fits_nothing(schema: Any, why: str) -> None:
    assert judged(schema, '{"x": {"a": 1}}').startswith(why)


def test_reference_into_the_same_schema_is_followed() -> None:
    defs = {"a/b~c": {"type": "object", "properties": {"n": {"$ref": "#/$defs/a~1b~0c"}}}}
    schema = {"$ref": "#/$defs/a~1b~0c"}
    assert judged(schema, '{"x": {"n": {"n": {}}}}', **{"$defs": defs}) == ""
    wrong = judged(schema, '{"x": {"n": {"m": {}}}}', **{"$defs": defs})
    assert wrong == "`/x/n` has a parameter that is not known; known are `n`"


def test_unknown_parameter_is_refused_unless_the_schema_takes_any() -> None:
    assert judged({}, '{"y": 1}') == "`/` has a parameter that is not known; known are `x`"
    assert judged({}, '{"y": 1}', additionalProperties=True) == ""
    assert judged({}, '{"y": 1}', additionalProperties={"type": "string"}) != ""
    assert check("{}", {"y": 1}) == "`/` has a parameter that is not known; known are none"
    assert check("{}", {}) == ""


def test_parameters_named_by_a_part_of_the_schema_are_known() -> None:
    parts = [{"properties": {"y": {"type": "integer"}}}, {"$ref": "#/$defs/z"}, True]
    more = {"allOf": parts, "$defs": {"z": {"properties": {"z": {}}}}}
    assert judged({}, '{"x": 0, "y": 1, "z": 2}', **more) == ""
    assert judged({}, '{"y": "a"}', **more) == "`/y` is not of type `integer`"
    wrong = judged({}, '{"w": 1}', **more)
    assert wrong == "`/` has a parameter that is not known; known are `x`, `y`, `z`"


def test_name_that_only_the_caller_gave_is_never_told() -> None:
    inner = {"type": "object", "additionalProperties": {"type": "integer"}}
    for schema in (inner, {"type": "object", "properties": {"a": {}}}, {"maxProperties": 0}):
        assert "anna" not in judged(schema, '{"x": {"anna@example.org": "b"}}')
        assert judged(schema, '{"x": {"anna@example.org": "b"}}') != ""


def test_parts_composed_in_a_circle_end() -> None:
    schema = {"allOf": [{"$ref": "#"}]}
    assert check(json.dumps(schema), {}) == "the schema takes too long to check"


def test_members_named_by_parts_that_multiply_end() -> None:
    schema = {"anyOf": [{"$ref": "#"}] * 30}
    assert check(json.dumps(schema), {"x": 1}) == "the schema takes too long to check"


def test_alternatives_that_multiply_end() -> None:
    names = [f"n{i}" for i in range(16)]
    defs: dict[str, Any] = {
        name: {"anyOf": [{"$ref": f"#/$defs/{after}"}] * 2}
        for name, after in zip(names, [*names[1:], "end"], strict=True)
    }
    node = {"$ref": "#/$defs/n0"}
    defs["end"] = {"type": "string"}
    assert judged(node, '{"x": 1}', **{"$defs": defs}) == "the schema takes too long to check"


def test_schema_that_nests_too_deep_fits_nothing() -> None:
    deep: Any = {}
    for _ in range(40):
        deep = {"items": deep}
    assert check(json.dumps(deep), {}) == "the schema uses `not JSON`, which cannot be checked"


@pytest.mark.parametrize("broken", ["", "{", '{"a":1,"a":2}', "\ud800", "NaN"])
def test_schema_that_is_not_json_fits_nothing(broken: str) -> None:
    assert unsupported(broken) == ("not JSON",)
    assert check(broken, {}) != ""


def test_schema_that_is_no_object_fits_nothing() -> None:
    assert check("[]", {}) == "`` is not accepted"
    assert check("false", {}) == "`` is not accepted"


def test_keywords_that_cannot_be_judged_are_listed_for_whoever_registers() -> None:
    schema = {"properties": {"a": {"if": {}}}, "$defs": {"b": {"contains": {}}}, "then": {}}
    assert unsupported(json.dumps(schema)) == ("contains", "if", "then")
    assert unsupported('{"properties": {"if": {"type": "string"}}, "anyOf": 3}') == ()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=5,
)


@given(VALUES, VALUES)
def test_answer_never_holds_a_value(value: Any, listed: Any) -> None:
    marked = {"x": [value, "s3cret"]}
    wrong = check(json.dumps({"properties": {"x": {"enum": [listed]}}}), marked)
    assert wrong == "`/x` is none of the listed values"
