# SPDX-License-Identifier: Apache-2.0
"""JSON read strictly and written canonically: what a policy reads is what a tool would read.

Refused: duplicate keys, NaN and infinities, lone surrogates, bytes that are not UTF-8, depth
above 32, numbers of more than 64 characters. Numbers keep their text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import cast

from agentguard.bounds import JSON_DEPTH_MAX
from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.facts import Json

NUMBER_CHARS_MAX = 64
# Possessive: a hostile text of quotes and backslashes costs one pass, never a backtrack.
_STRINGS = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_BRACKETS = re.compile(r"[\[\]{}]")


class JsonNumber(float):
    """A number that remembers how it was written."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> JsonNumber:
        """Returns the number; raises `UndecodableError` where it is too long or not finite."""
        if len(text) > NUMBER_CHARS_MAX:
            raise UndecodableError("a number is too long")
        number = super().__new__(cls, text)
        if number in (float("inf"), float("-inf")):
            raise UndecodableError("a number is out of range")
        number.text = text
        return number


def _integer(text: str) -> int | JsonNumber:
    if len(text) > NUMBER_CHARS_MAX:
        raise UndecodableError("a number is too long")
    return JsonNumber(text) if text == "-0" else int(text)


def _no_constant(text: str) -> float:
    raise UndecodableError(f"`{text}` is not JSON")


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise UndecodableError("a key appears twice in one object")
    return made


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_float=JsonNumber,
    parse_int=_integer,
    parse_constant=_no_constant,
)


def _check_depth(text: str) -> None:
    """Raises where brackets outside strings nest too deep, before any recursion happens."""
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub("", text)):
        if bracket in "[{":
            depth += 1
            if depth > JSON_DEPTH_MAX:
                raise UndecodableError("nested too deep")
        else:
            depth -= 1


def parse_strict(body: bytes) -> Json:
    """Returns the value of a JSON text. Raises `UndecodableError` with what is wrong."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UndecodableError("not UTF-8") from error
    if text.count("[") + text.count("{") > JSON_DEPTH_MAX:
        _check_depth(text)
    try:
        value = cast(Json, _DECODER.decode(text))
    except (ValueError, RecursionError) as error:
        raise UndecodableError("not JSON") from error
    if "\\u" in text:
        _check_surrogates(value)
    return value


def _check_surrogates(value: Json) -> None:
    match value:
        case str():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise UndecodableError("a lone surrogate") from error
        case dict():
            for key, item in value.items():
                _check_surrogates(key)
                _check_surrogates(item)
        case list():
            for item in value:
                _check_surrogates(item)
        case _:
            return


def encode_canonical(value: Json) -> bytes:
    """Returns key-sorted JSON without spaces, numbers as they were written, UTF-8."""
    out: list[str] = []
    _write(value, out)
    return "".join(out).encode()


def _write(value: Json, out: list[str]) -> None:
    match value:
        case str():
            out.append(encode_basestring(value))
        case None:
            out.append("null")
        case bool():
            out.append("true" if value else "false")
        case JsonNumber():
            out.append(value.text)
        case int() | float():
            out.append(repr(value))
        case Mapping():
            lead = "{"
            for key in sorted(value):
                out.append(lead + encode_basestring(key) + ":")
                _write(value[key], out)
                lead = ","
            out.append("}" if value else "{}")
        case _:
            lead = "["
            for item in value:
                out.append(lead)
                _write(item, out)
                lead = ","
            out.append("]" if value else "[]")
