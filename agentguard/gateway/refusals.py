# SPDX-License-Identifier: Apache-2.0
"""What the gateway refuses by itself: code, HTTP status, and the error body that says deny."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from agentguard.contracts.codes import Code, reason_text, remedy_text
from agentguard.contracts.errors import AgentGuardError

# 200 for every other code: a decision was made.
STATUS: Final[Mapping[str, int]] = {
    Code.MALFORMED: 400,
    Code.TENANT_MISMATCH: 400,
    Code.UNKNOWN_CALLER: 401,
    Code.IDEMPOTENCY_CONFLICT: 409,
    Code.TOO_LARGE: 413,
    Code.SHED: 429,
    Code.NOT_READY: 503,
    Code.UNREACHABLE: 503,
    Code.CONTROL_STALE: 503,
    Code.DEADLINE: 504,
}
RETRYABLE: Final = frozenset(
    {Code.SHED, Code.NOT_READY, Code.UNREACHABLE, Code.CONTROL_STALE, Code.DEADLINE}
)
# Codes of the door itself, which no decision carries.
UNKNOWN_REQUEST: Final = "unknown_request"
UNKNOWN_PATH: Final = "unknown_path"
INTERNAL: Final = "internal"
PENDING: Final = "pending"
_DOOR_STATUS: Final = {UNKNOWN_REQUEST: 404, UNKNOWN_PATH: 404, INTERNAL: 500, PENDING: 202}
_DOOR_REASONS: Final = {
    UNKNOWN_REQUEST: "this gateway holds no such request of this agent",
    UNKNOWN_PATH: "there is nothing at this path and method",
    INTERNAL: "the gateway failed",
    PENDING: "there is no decision yet; ask again",
}
_encode = msgspec.json.Encoder().encode


class RefusedError(AgentGuardError):
    """The gateway denies by itself. `code` is what the caller gets; `is_closing` ends the line.

    `request_id` is empty where the call never became a request.
    """

    def __init__(
        self, code: str, *arguments: str, is_closing: bool = False, request_id: str = ""
    ) -> None:
        super().__init__(reason_of(code, arguments))
        self.code = code
        self.arguments = arguments
        self.is_closing = is_closing
        self.request_id = request_id


def status_of(code: str) -> int:
    """Returns the HTTP status that goes with a code."""
    return STATUS.get(code) or _DOOR_STATUS.get(code, 200)


def reason_of(code: str, arguments: Sequence[str]) -> str:
    """Returns the reason text of a code, also of the door's own codes."""
    return _DOOR_REASONS.get(code) or reason_text(code, arguments, {})


def error_members(code: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Returns the `error` object of the design document's `ErrorResponse`."""
    error: dict[str, Any] = {
        "code": code,
        "message": reason_of(code, arguments),
        "retryable": code in RETRYABLE,
    }
    remedy = remedy_text(code, arguments, {})
    if remedy:
        error["suggestedAction"] = remedy
    return error


def error_body(code: str, arguments: Sequence[str], *, request_id: str, now_ms: int) -> bytes:
    """Returns an `ErrorResponse` that also says deny, with the members every answer has."""
    error = error_members(code, arguments)
    return _encode(
        {
            "action": "deny",
            "code": code,
            "reason": error["message"],
            "remedy": error.get("suggestedAction", ""),
            "error": error,
            "requestId": request_id,
            "timestamp": iso_time(now_ms),
        }
    )


def iso_time(at_ms: int) -> str:
    """Returns a time as RFC 3339 text in UTC with milliseconds."""
    text = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
