# SPDX-License-Identifier: Apache-2.0
"""`PolicyEngine` for Cedar by cedarpy: prepared policies and schema, one call per document."""

from __future__ import annotations

import importlib.metadata
from typing import Final

import cedarpy
import msgspec

from agentguard.contracts.errors import EngineError, ReleaseError, UndecodableError
from agentguard.contracts.facts import EngineResult
from agentguard.policy import golden
from agentguard.policy.cedar_rules import CedarRules, read_rules, result_of
from agentguard.policy.cedar_schema import cedar_schema, project
from agentguard.policy.document import read_document
from agentguard.policy.release import Release

ERROR_CHARS_MAX: Final = 200
_STOPS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit)


class _Context(msgspec.Struct, frozen=True):
    """The document's own context, byte for byte."""

    context: msgspec.Raw


_CONTEXT: Final = msgspec.json.Decoder(_Context)


class CedarpyEngine:
    """The Cedar part of one release. Its handles are immutable, so threads may share it."""

    def __init__(self, release: Release) -> None:
        """Parses, validates and proves the release; raises `ReleaseError` where it cannot be."""
        texts = release.texts(release.manifest.metadata.cedar)
        if not texts:
            raise ReleaseError("the release holds no Cedar")
        self._identity = f"cedarpy/{importlib.metadata.version('cedarpy')}"
        try:
            schema = cedarpy.Schema.from_str(cedar_schema())
            self._rules = _rules("\n".join(text for _, text in texts), schema)
            # the schema's own action groups; a document adds its agent and its tool
            self._actions = cedarpy.Entities.from_json_str("[]", schema)
            self._policies = cedarpy.PolicySet.from_json_str(self._rules.evaluated)
        except (*_STOPS, ReleaseError):
            raise
        except BaseException as error:  # a Rust panic is no Exception
            raise ReleaseError(f"the Cedar does not compile: {_cut(error)}") from error
        if not golden.is_sound(self, golden.golden_inputs(release)):
            raise ReleaseError("the release decides one of its golden inputs otherwise")

    @property
    def identity(self) -> str:
        """Engine and version."""
        return self._identity

    def evaluate(self, document: bytes) -> EngineResult | None:
        """Returns what the release says about a policy input; Cedar has no undefined.

        Raises `EngineError` where the input is not one, and for every diagnostic, missing
        decision and panic: Cedar skips a policy that errs, and a skipped forbid would allow.
        """
        try:
            read = read_document(document)
        except UndecodableError as error:
            raise EngineError("the policy input is not valid") from error
        question = project(read)
        request: dict[str, object] = {
            "principal": {"type": "Agent", "id": question.agent},
            "action": {"type": "Action", "id": question.effect},
            "resource": {"type": "Tool", "id": question.tool},
            "context": bytes(_CONTEXT.decode(document).context).decode(),
        }
        matched = self._ask(request, question.entities)
        operation = read.action.properties.operation
        try:
            return result_of(self._rules, matched, tool=question.tool, operation=operation)
        except KeyError as error:
            raise EngineError("the engine named a policy that the release does not hold") from error

    def _ask(self, request: dict[str, object], entities: str) -> list[str]:
        try:
            # Policies are validated against the schema once, and a document cannot break it: both
            # are made from the same types. Checking it again here doubles the time.
            answer = cedarpy.is_authorized(
                request, self._policies, self._actions.with_added_json_str(entities)
            )
        except _STOPS:
            raise
        except BaseException as error:
            raise EngineError(f"the policy engine failed: {_cut(error)}") from error
        if answer.diagnostics.errors or answer.decision is cedarpy.Decision.NoDecision:
            raise EngineError(f"the policy engine errs: {_cut(answer.diagnostics.errors)}")
        matched: list[str] = answer.diagnostics.reasons
        if bool(matched) is not (answer.decision is cedarpy.Decision.Allow):
            raise EngineError("the policy engine contradicts itself")
        return matched


def _rules(text: str, schema: cedarpy.Schema) -> CedarRules:
    verdict = cedarpy.validate_policies(text, schema)
    if not verdict.validation_passed:
        raise ReleaseError(f"the Cedar does not fit its schema: {_cut(verdict.errors[0])}")
    return read_rules(cedarpy.policies_to_json_str(text))


def _cut(error: object) -> str:
    return str(error)[:ERROR_CHARS_MAX]
