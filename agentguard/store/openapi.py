# SPDX-License-Identifier: Apache-2.0
"""Store: the OpenAPI 3.1 document of the read-only door."""

from __future__ import annotations

from agentguard.contracts.facts import Json

_TEXT: Json = {"text/plain": {"schema": {"type": "string"}}}
_FAULTS: dict[str, Json] = {
    "400": {"description": "the engine cannot read the question", "content": _TEXT},
    "403": {"description": "not authenticated, or not one statement that reads", "content": _TEXT},
    "404": {"description": "no such table or column", "content": _TEXT},
    "500": {"description": "the engine failed or a limit was reached", "content": _TEXT},
    "503": {"description": "too many questions at once, or the door is shut", "content": _TEXT},
}
_ANSWER: Json = {
    "description": "the rows, in the format asked for",
    "headers": {"X-ClickHouse-Format": {"schema": {"type": "string"}}},
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}


def _parameter(name: str, text: str) -> Json:
    return {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}


def _plain(summary: str, *, may_fail: bool) -> Json:
    responses: dict[str, Json] = {"200": {"description": summary}}
    if may_fail:
        responses["503"] = {"description": "not ready; the body says why"}
    return {"get": {"summary": summary, "security": [], "responses": responses}}


_PARAMETERS: list[Json] = [
    _parameter("query", "the statement, or its first part before the body's"),
    _parameter("database", "`agentguard` unless set"),
    _parameter("default_format", "format of the answer where the statement names none"),
]

OPENAPI: dict[str, Json] = {
    "openapi": "3.1.0",
    "info": {
        "title": "AgentGuard store",
        "version": "1",
        "description": "ClickHouse's HTTP protocol, read-only: one statement that reads. "
        "`{name:Type}` in a statement is filled from `param_name`.",
    },
    "components": {
        "securitySchemes": {
            "basic": {"type": "http", "scheme": "basic"},
            "header": {"type": "apiKey", "in": "header", "name": "X-ClickHouse-Key"},
        }
    },
    "security": [{"basic": []}, {"header": []}],
    "paths": {
        "/": {
            "get": {"parameters": _PARAMETERS, "responses": {"200": _ANSWER, **_FAULTS}},
            "post": {
                "parameters": _PARAMETERS,
                "requestBody": {
                    "content": {
                        "text/plain": {"schema": {"type": "string"}},
                        "multipart/form-data": {
                            "schema": {
                                "type": "object",
                                "properties": {"query": {"type": "string"}},
                            }
                        },
                    }
                },
                "responses": {"200": _ANSWER, **_FAULTS},
            },
        },
        "/ping": _plain("the process answers", may_fail=False),
        "/replicas_status": _plain("the process answers", may_fail=False),
        "/healthz": _plain("the process answers", may_fail=False),
        "/readyz": _plain("the store follows the log", may_fail=True),
        "/metrics": _plain("Prometheus metrics", may_fail=False),
        "/openapi.json": _plain("this document", may_fail=False),
    },
}
