# SPDX-License-Identifier: Apache-2.0
"""Golden inputs of a release: they tell a sick engine from a hostile request."""

from __future__ import annotations

import msgspec

from agentguard.contracts.errors import EngineError, ReleaseError, UndecodableError
from agentguard.contracts.ports import PolicyEngine
from agentguard.contracts.records import Verdict
from agentguard.policy.combine import combine
from agentguard.policy.document import Document, encode_document
from agentguard.policy.release import Release


class GoldenCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One golden file: an input and the verdict that every engine must come to."""

    description: str
    document: Document
    verdict: Verdict


def golden_inputs(release: Release) -> tuple[tuple[bytes, Verdict], ...]:
    """Returns (canonical document, expected verdict) for each golden file of a release.

    Raises `ReleaseError` where one is not a valid policy input.
    """
    return tuple(_golden(name, release.files[name]) for name in release.manifest.metadata.golden)


def _golden(name: str, body: bytes) -> tuple[bytes, Verdict]:
    try:
        case = msgspec.json.decode(body, type=GoldenCase)
        return encode_document(case.document), case.verdict
    except (msgspec.MsgspecError, UnicodeDecodeError, UndecodableError) as error:
        raise ReleaseError(f"golden input `{name}` does not fit: {error}") from error


def is_sound(engine: PolicyEngine, inputs: tuple[tuple[bytes, Verdict], ...]) -> bool:
    """Returns whether an engine decides every golden input as the release says; errors are no."""
    try:
        return all(combine(engine.evaluate(body)).verdict is verdict for body, verdict in inputs)
    except EngineError:
        return False
