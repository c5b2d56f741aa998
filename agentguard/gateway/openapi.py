# SPDX-License-Identifier: Apache-2.0
"""What the gateway says of itself: OpenAPI 3.1, with the callers' shapes taken from the code."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import msgspec

from agentguard import __version__
from agentguard.contracts.codes import Code
from agentguard.contracts.records import Risk, Verdict
from agentguard.gateway.refusals import INTERNAL, PENDING, UNKNOWN_PATH, UNKNOWN_REQUEST
from agentguard.gateway.shapes import Asked, AskedOutcome

_REFERENCE: Final = "#/components/schemas/{name}"
_STATUSES: Final = {
    "400": "the request is malformed, or names another tenant",
    "401": "the caller proved no identity",
    "409": "the idempotency key was used with another body",
    "413": "the request is too large",
    "429": "too many requests are waiting; this one was shed",
    "500": "the gateway failed",
    "503": "the gateway is not ready, or the log cannot be reached",
    "504": "the deadline passed before a decision was made",
}
_TEXT: Final[dict[str, Any]] = {"type": "string"}
_TEXTS: Final[dict[str, Any]] = {"type": "array", "items": _TEXT}
_NUMBER: Final[dict[str, Any]] = {"type": "integer"}


@cache
def openapi_document() -> bytes:
    """Returns the document as JSON."""
    (asked, outcome), parts = msgspec.json.schema_components(
        (Asked, AskedOutcome), ref_template=_REFERENCE
    )
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "AgentGuard gateway",
            "version": __version__,
            "description": "Decides whether an agent's tool call may run. Every answer but an "
            "allow or a transform is a deny; every error body says so.",
        },
        "paths": {
            "/v1/decisions": {"post": _decide(asked)},
            "/v1/decisions/{requestId}": {"get": _look_up()},
            "/v1/outcomes": {"post": _report(outcome)},
            "/healthz": {"get": _plain("whether the process lives")},
            "/readyz": {"get": _plain("whether requests are accepted, and why not")},
            "/metrics": {"get": _plain("numbers in Prometheus' text format")},
            "/openapi.json": {"get": _plain("this document")},
        },
        "components": {
            "schemas": {**parts, "SecurityDecision": _decision(), "ErrorResponse": _error()},
            "securitySchemes": {
                "agentCredential": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "agk_<8>_<43>, made when the agent is registered",
                }
            },
        },
        "security": [{"agentCredential": []}],
    }
    return msgspec.json.encode(document)


def _decide(asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": "decide",
        "summary": "Asks whether a call may run",
        "description": "`deadlineMs` is how long the caller waits, a duration. `trust` of an "
        "earlier output may only lower what the registry says. `onBehalfOf` counts only with a "
        "verified subject token; none is verified yet, so it is recorded nowhere.",
        "requestBody": _json_body(asked),
        "responses": {"200": _answer("what was decided", "SecurityDecision"), **_errors()},
    }


def _look_up() -> dict[str, Any]:
    return {
        "operationId": "lookUp",
        "summary": "Says what was decided; waits up to `waitMs` for it",
        "parameters": [
            {
                "name": "requestId",
                "in": "path",
                "required": True,
                "schema": {"type": "string", "format": "uuid"},
            },
            {"name": "waitMs", "in": "query", "schema": {"type": "integer", "minimum": 0}},
        ],
        "responses": {
            "200": _answer("what was decided", "SecurityDecision"),
            "202": _answer("there is no decision yet", "ErrorResponse"),
            "404": _answer("this gateway holds no such request", "ErrorResponse"),
            **_errors(),
        },
    }


def _report(outcome: dict[str, Any]) -> dict[str, Any]:
    taken = {
        "type": "object",
        "properties": {"requestId": _TEXT, "outcomeId": _TEXT, "trust": _TEXT},
        "required": ["requestId", "outcomeId", "trust"],
    }
    content = {"application/json": {"schema": taken}}
    return {
        "operationId": "reportOutcome",
        "summary": "Reports what came of an allowed call",
        "requestBody": _json_body(outcome),
        "responses": {"202": {"description": "the log has it", "content": content}, **_errors()},
    }


def _json_body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _answer(text: str, name: str) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(name=name)}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _errors() -> dict[str, Any]:
    return {status: _answer(text, "ErrorResponse") for status, text in _STATUSES.items()}


def _plain(text: str) -> dict[str, Any]:
    return {"summary": text, "security": [], "responses": {"200": {"description": text}}}


def _shape(properties: dict[str, Any], *optional: str) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _decision() -> dict[str, Any]:
    verdicts = {"enum": [v.value for v in Verdict if v is not Verdict.UNKNOWN]}
    grant = {
        "accessToken": _TEXT,
        "tokenType": _TEXT,
        "expiresAt": _TEXT,
        "authorizationDetails": {},
    }
    classification = {
        "riskLevel": {"enum": [r.value for r in Risk if r is not Risk.UNKNOWN]},
        "intentCategory": _TEXT,
        "recommendedAction": _TEXT,
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "reasoning": _TEXT,
        "model": _TEXT,
        "source": _TEXT,
    }
    audit = {
        "basis": {"enum": ["decision", "failure", "gateway"]},
        "partition": _NUMBER,
        "offset": _NUMBER,
        "decisionOffset": _NUMBER,
        "controlOffset": _NUMBER,
        "seal": _TEXT,
        "stagesMs": {"type": "object", "additionalProperties": {"type": "number"}},
        "decidedAt": _TEXT,
        "retryOf": {"type": ["integer", "null"]},
    }
    properties = {
        "requestId": _TEXT,
        "action": verdicts,
        "code": {"enum": [code.value for code in Code]},
        "reason": _TEXT,
        "remedy": _TEXT,
        "transformedRequest": {"type": "object"},
        "requiredScopes": _TEXTS,
        "grant": _shape(grant),
        "classification": _shape(classification),
        "policy": _shape({"release": _NUMBER, "digest": _TEXT, "rules": _TEXTS}),
        "auditMetadata": _shape(audit),
        "decided": _shape({"action": verdicts, "code": _TEXT}),
    }
    return _shape(properties, "transformedRequest", "grant", "decided")


def _error() -> dict[str, Any]:
    codes = [*(code.value for code in Code), UNKNOWN_PATH, UNKNOWN_REQUEST, INTERNAL, PENDING]
    error = {
        "code": {"enum": codes},
        "message": _TEXT,
        "retryable": {"type": "boolean"},
        "suggestedAction": _TEXT,
    }
    properties = {
        "action": {"const": "deny"},
        "code": {"enum": codes},
        "reason": _TEXT,
        "remedy": _TEXT,
        "error": _shape(error, "suggestedAction"),
        "requestId": _TEXT,
        "timestamp": _TEXT,
    }
    return _shape(properties)
