# SPDX-License-Identifier: Apache-2.0
"""The JSON that callers send, read strictly into closed shapes."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from agentguard.bounds import HISTORY_ITEMS_MAX, NAME_CHARS_MAX, REQUEST_TIMEOUT_MS_MAX
from agentguard.contracts.codes import Code
from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.strict_json import encode_canonical, parse_strict
from agentguard.gateway.refusals import RefusedError

_Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARS_MAX)]
_Text = Annotated[str, Meta(max_length=NAME_CHARS_MAX)]
_Id = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
_OFFSET_MAX: Final = 2**63 - 1  # what a record can hold
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_T = TypeVar("_T")


class AskedOutput(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename="camel"):
    """One earlier output in `context.history`.

    `trust` may only lower what the registry says; left out, it lowers nothing. `outcome_id` names
    an output that is on the log already.
    """

    tool: _Name
    arguments: dict[str, Any] = {}
    output: Any | UnsetType = UNSET
    trust: Literal["trusted", "untrusted"] | None = None
    outcome_id: _Id | None = None


class AskedContext(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename="camel"):
    """`context` of a request."""

    user_task: str
    session_id: _Name
    on_behalf_of: _Text | None = None
    history: Annotated[tuple[AskedOutput, ...], Meta(max_length=HISTORY_ITEMS_MAX)] = ()
    environment: _Name = "production"
    tenant: _Text | None = None
    traceparent: _Text | None = None


class Asked(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename="camel"):
    """Body of `POST /v1/decisions`. `deadline_ms` is how long the caller waits, a duration."""

    agent_id: _Name
    tool_name: _Name
    parameters: dict[str, Any]
    context: AskedContext
    idempotency_key: _Name | None = None
    deadline_ms: Annotated[int, Meta(ge=1, le=REQUEST_TIMEOUT_MS_MAX)] | None = None
    approval_id: _Name | None = None
    dry_run: bool = False

    @property
    def trace(self) -> str | None:
        """W3C trace context of the caller; one that is not well formed is dropped, as it asks."""
        given = self.context.traceparent
        return given if given is not None and _TRACEPARENT.fullmatch(given) else None


class AskedOutcome(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename="camel"):
    """Body of `POST /v1/outcomes`: what came of an allowed call.

    `digest` (SHA-256) stands for an output that the caller keeps. Tool, session and the request's
    offset are needed where another gateway decided.
    """

    request_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    status: Literal["ok", "error"]
    output: Any | UnsetType = UNSET
    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")] | None = None
    trust: Literal["trusted", "untrusted"] | None = None
    tool_name: _Name | None = None
    session_id: _Name | None = None
    request_offset: Annotated[int, Meta(ge=0, le=_OFFSET_MAX)] | None = None


def read_asked(body: bytes) -> Asked:
    """Returns a request for a decision. Raises `RefusedError` (malformed)."""
    asked = _read(body, Asked)
    for item in asked.context.history:
        if item.output is UNSET and item.outcome_id is None:
            raise RefusedError(Code.MALFORMED, "an item of `history` has no output")
    return asked


def read_outcome(body: bytes) -> AskedOutcome:
    """Returns a report of an outcome. Raises `RefusedError` (malformed)."""
    outcome = _read(body, AskedOutcome)
    if (outcome.output is UNSET) == (outcome.digest is None):
        raise RefusedError(Code.MALFORMED, "give either `output` or `digest`")
    return outcome


def output_text(output: Any) -> bytes:
    """Returns the bytes of an output: a text as it is, any other JSON value canonically."""
    return output.encode() if isinstance(output, str) else encode_canonical(output)


def _read(body: bytes, shape: type[_T]) -> _T:
    try:
        return msgspec.convert(parse_strict(body), shape)
    except (UndecodableError, msgspec.ValidationError) as error:
        raise RefusedError(Code.MALFORMED, str(error)) from error
