# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema keywords that judge one value alone (policy.parameters judges the rest)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from decimal import Context, Decimal, InvalidOperation
from typing import Final, TypeAlias

from agentguard.contracts.facts import Json
from agentguard.contracts.strict_json import JsonNumber

EXPONENT_MAX: Final = 60
UNIQUE_PAIRS_MAX: Final = 10_000
_EXACT: Final = Context(prec=4 * EXPONENT_MAX)

# returns what is wrong, or an empty text
Assertion: TypeAlias = Callable[[Json, Json], str]


def is_number(value: Json) -> bool:
    """Returns whether a JSON value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def decimal_of(value: Json) -> Decimal:
    """Returns the exact value of a JSON number; 0 for anything else."""
    if isinstance(value, JsonNumber):
        return Decimal(value.text)
    return Decimal(repr(value)) if is_number(value) else Decimal(0)


def is_same(one: Json, other: Json) -> bool:
    """Returns whether two JSON values are equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[k], other[k]) for k in one)
    if is_number(one) and is_number(other):
        return decimal_of(one) == decimal_of(other)
    return type(one) is type(other) and one == other


def _is_integer(value: Json) -> bool:
    return is_number(value) and decimal_of(value) == decimal_of(value).to_integral_value()


_TYPES: Final[Mapping[str, Callable[[Json], bool]]] = {
    "string": lambda v: isinstance(v, str),
    "integer": _is_integer,
    "number": is_number,
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "array": lambda v: isinstance(v, list),
    "object": lambda v: isinstance(v, dict),
}


def _type(wanted: Json, value: Json) -> str:
    names = wanted if isinstance(wanted, list) else [wanted]
    for name in names:
        if isinstance(name, str) and name in _TYPES and _TYPES[name](value):
            return ""
    return f"is not of type {' or '.join(f'`{n}`' for n in names)}"


def _enum(wanted: Json, value: Json) -> str:
    listed = wanted if isinstance(wanted, list) else []
    return "" if any(is_same(item, value) for item in listed) else "is none of the listed values"


def _const(wanted: Json, value: Json) -> str:
    return "" if is_same(wanted, value) else "is not the one accepted value"


def _unique(wanted: Json, value: Json) -> str:
    if wanted is not True or not isinstance(value, list):
        return ""
    if len(value) * (len(value) - 1) // 2 > UNIQUE_PAIRS_MAX:
        return "holds too many items to compare"
    for i, item in enumerate(value):
        if any(is_same(item, other) for other in value[:i]):
            return "holds a value twice"
    return ""


def _multiple(wanted: Json, value: Json) -> str:
    if not is_number(value):
        return ""
    step, number = decimal_of(wanted), decimal_of(value)
    try:
        # a remainder of huge exponents would cost memory, and no tool means such a number
        if abs(number.adjusted()) <= EXPONENT_MAX and not _EXACT.remainder(number, step):
            return ""
    except InvalidOperation:
        pass
    return f"is no multiple of {step}"


def _number_bound(compare: Callable[[Decimal, Decimal], bool], sign: str) -> Assertion:
    def rule(wanted: Json, value: Json) -> str:
        if not is_number(value):
            return ""
        if not is_number(wanted):
            return "is bounded by what is no number"
        return "" if compare(decimal_of(value), decimal_of(wanted)) else f"must be {sign} {wanted}"

    return rule


def _size_bound(kind: type, compare: Callable[[int, int], bool], sign: str) -> Assertion:
    def rule(wanted: Json, value: Json) -> str:
        if not isinstance(value, kind) or not isinstance(value, str | list | dict):
            return ""
        if not isinstance(wanted, int) or isinstance(wanted, bool):
            return "is bounded by what is no number"
        return "" if compare(len(value), wanted) else f"must hold {sign} {wanted} items"

    return rule


ASSERTIONS: Final[Mapping[str, Assertion]] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "uniqueItems": _unique,
    "multipleOf": _multiple,
    "minimum": _number_bound(operator.ge, "at least"),
    "maximum": _number_bound(operator.le, "at most"),
    "exclusiveMinimum": _number_bound(operator.gt, "above"),
    "exclusiveMaximum": _number_bound(operator.lt, "below"),
    "minLength": _size_bound(str, operator.ge, "at least"),
    "maxLength": _size_bound(str, operator.le, "at most"),
    "minItems": _size_bound(list, operator.ge, "at least"),
    "maxItems": _size_bound(list, operator.le, "at most"),
    "minProperties": _size_bound(dict, operator.ge, "at least"),
    "maxProperties": _size_bound(dict, operator.le, "at most"),
}
