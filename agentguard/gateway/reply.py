# SPDX-License-Identifier: Apache-2.0
"""Turns an effective decision into the `SecurityDecision` that the caller gets."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from agentguard.audit.origins import Origin
from agentguard.contracts.codes import Code, reason_text, remedy_text
from agentguard.contracts.errors import VerificationError
from agentguard.contracts.records import DecisionCore, Failure, Risk, Section, Verdict
from agentguard.contracts.sections import open_section
from agentguard.contracts.topics import Topic
from agentguard.gateway.compose import id_text
from agentguard.gateway.refusals import error_members, iso_time, status_of
from agentguard.gateway.transforming import transformed
from agentguard.gateway.waiting import SeenDecision, Wait

PERMITTING: Final = frozenset({Verdict.ALLOW, Verdict.TRANSFORM})
_HANDLE_KIND: Final = "agg"
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one caller gets: the status and body, and what they say."""

    status: int
    body: bytes
    action: Verdict
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeback:
    """Why the gateway tells a caller deny although an allow was decided."""

    code: str
    arguments: tuple[str, ...] = ()


class Replies:
    """Writes answers. `origin` of a decision is that of the tree it will be sealed in."""

    def __init__(self, *, domain: str, cluster: str, topic_id: str) -> None:
        self._domain = domain
        self._cluster = cluster
        self._topic_id = topic_id

    def decided(
        self, wait: Wait, seen: SeenDecision, *, takeback: Takeback | None, total_ms: float
    ) -> Answer:
        """Returns the answer that hands out a decision, or takes its allow back.

        A grant or a transform that is not for exactly this caller and call is taken back too.
        """
        core = seen.core
        extra: dict[str, Any] = {}
        if takeback is None and core.verdict in PERMITTING:
            made = self._permission(wait, core)
            if made is None:
                takeback = Takeback(
                    code=Code.RECORD_MISMATCH, arguments=("the permission is for another call",)
                )
            else:
                extra = made
        body = self._members(wait, seen, total_ms)
        if takeback is None:
            told = Verdict.DENY if core.verdict is Verdict.UNKNOWN else core.verdict
            code = first_code(core)
            quotes = _quotes(core.evidence)
            body |= {
                "action": told.value,
                "code": code,
                "reason": reason_text(core.reason.template, core.reason.arguments, quotes),
                "remedy": core.remedy
                or remedy_text(core.reason.template, core.reason.arguments, quotes),
                "requiredScopes": core.scopes if told is not Verdict.DENY else (),
            }
            body |= extra
        else:
            told, code = Verdict.DENY, takeback.code
            body |= _denial(code, takeback.arguments)
            body["auditMetadata"]["basis"] = "gateway"
            body["decided"] = {"action": core.verdict.value, "code": first_code(core)}
        status = status_of(code)
        if status != 200:
            body["error"] = error_members(code, _arguments(core, takeback))
            body["timestamp"] = iso_time(core.observations.decided_at_ms)
        return Answer(status=status, body=_encode(body), action=told, code=code)

    def _members(self, wait: Wait, seen: SeenDecision, total_ms: float) -> dict[str, Any]:
        """Returns what every answer says about the decision behind it."""
        core = seen.core
        observed = core.observations
        stages: dict[str, float] = {s.stage: s.us / 1000 for s in seen.decision.measured.stages}
        stages["total"] = round(total_ms, 3)
        origin = Origin(
            self._domain, self._cluster, Topic.DECISIONS.value, self._topic_id, seen.partition
        )
        failed = observed.failure is not Failure.NONE
        return {
            "requestId": id_text(wait.request.request_id),
            "classification": _classification(core),
            "policy": {
                "release": core.versions.release,
                "digest": core.versions.bundle_digest.hex(),
                "rules": core.rules,
            },
            "auditMetadata": {
                "basis": "failure" if failed else "decision",
                "partition": seen.partition,
                "offset": wait.offset,
                "decisionOffset": seen.offset,
                "controlOffset": core.versions.control_offset,
                "seal": f"{origin}#{seen.offset}",
                "stagesMs": stages,
                "decidedAt": iso_time(observed.decided_at_ms),
                "retryOf": core.retry_of,
            },
        }

    def _permission(self, wait: Wait, core: DecisionCore) -> dict[str, Any] | None:
        """Returns grant and transformed request; None where either is not this caller's own."""
        made: dict[str, Any] = {}
        if core.verdict is Verdict.TRANSFORM:
            body = None if core.transform is None else transformed(wait.parameters, core.transform)
            if body is None:
                return None
            made["transformedRequest"] = {
                "agentId": wait.request.agent_id,
                "toolName": wait.request.tool,
                "parameters": msgspec.Raw(body),
            }
        if core.grant is None:
            return made
        if not wait.secret or core.grant.secret_hash != wait.request.secret_hash:
            return None
        try:
            details = msgspec.json.decode(core.grant.authorization_details)
        except msgspec.DecodeError:
            return None
        made["grant"] = {
            "accessToken": access_token(wait),
            "tokenType": "Bearer",
            "expiresAt": iso_time(core.grant.expires_at_ms),
            "authorizationDetails": details,
        }
        return made


def access_token(wait: Wait) -> str:
    """Returns the handle of a grant: it names partition and offset of the request, and the secret.

    `agg_<partition>_<offset>_<43 base64url>`; the log holds only the secret's hash.
    """
    secret = base64.urlsafe_b64encode(wait.secret).rstrip(b"=").decode()
    return f"{_HANDLE_KIND}_{wait.partition}_{wait.offset}_{secret}"


def first_code(core: DecisionCore) -> str:
    """Returns the code by which a decision is known."""
    return core.codes[0] if core.codes else core.reason.template


def _denial(code: str, arguments: Sequence[str]) -> dict[str, Any]:
    return {
        "action": Verdict.DENY.value,
        "code": code,
        "reason": reason_text(code, arguments, {}),
        "remedy": remedy_text(code, arguments, {}),
        "requiredScopes": (),
    }


def _arguments(core: DecisionCore, takeback: Takeback | None) -> tuple[str, ...]:
    return core.reason.arguments if takeback is None else takeback.arguments


def _classification(core: DecisionCore) -> dict[str, Any]:
    found = core.observations.classification
    risk = Risk.CRITICAL if found.risk is Risk.UNKNOWN else found.risk
    return {
        "riskLevel": risk.value,
        "intentCategory": found.intent,
        "recommendedAction": found.recommended.value,
        "confidence": found.confidence_ppm / 1_000_000,
        "reasoning": ", ".join(found.reasons),
        "model": found.model,
        "source": found.source.value,
    }


def _quotes(evidence: Section | None) -> Mapping[str, str]:
    """Returns the texts of a decision's evidence; none where it cannot be read."""
    if evidence is None:
        return {}
    try:
        found = json.loads(open_section(evidence))
    except (VerificationError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {k: v for k, v in found.items() if isinstance(v, str)}
