# SPDX-License-Identifier: Apache-2.0
"""Applies the safer form of a call that a decision holds: a patch of pointers, checked as a whole."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from agentguard.contracts.errors import UndecodableError, VerificationError
from agentguard.contracts.facts import Json
from agentguard.contracts.hashing import section_commitment
from agentguard.contracts.records import Transform
from agentguard.contracts.sections import open_section
from agentguard.contracts.strict_json import encode_canonical, parse_strict


def transformed(parameters: Mapping[str, Json], transform: Transform) -> bytes | None:
    """Returns the transformed parameters as canonical JSON, or None where the patch does not fit.

    The patch is an object from JSON pointer (RFC 6901) to the new value; it replaces what is
    there and adds nothing. The result must have the commitment that the decision states, under
    the patch section's salt.
    """
    try:
        patch = parse_strict(open_section(transform.patch))
        if not isinstance(patch, dict) or transform.patch.salt is None:
            return None
        made: Json = dict(parameters)
        for pointer, value in patch.items():
            made = _replaced(made, _steps(pointer), value)
    except (UndecodableError, VerificationError):
        return None
    body = encode_canonical(made)
    stated = section_commitment(transform.patch.salt, body)
    return body if hmac.compare_digest(stated, transform.result_commitment) else None


def _steps(pointer: str) -> list[str]:
    if not pointer.startswith("/"):
        raise UndecodableError("a pointer into nothing")
    return [p.replace("~1", "/").replace("~0", "~") for p in pointer[1:].split("/")]


def _replaced(value: Json, steps: list[str], new: Json) -> Json:
    """Returns a copy of a value in which the place named by the steps holds the new value."""
    if not steps:
        return new
    step, rest = steps[0], steps[1:]
    if isinstance(value, dict) and step in value:
        return {**value, step: _replaced(value[step], rest, new)}
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        place = int(step)
        return [*value[:place], _replaced(value[place], rest, new), *value[place + 1 :]]
    raise UndecodableError("a pointer to what is not there")
