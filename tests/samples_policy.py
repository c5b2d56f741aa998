# SPDX-License-Identifier: Apache-2.0
"""Valid records, registrations, documents and releases for tests of policy."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from agentguard.adapters.cedarpy_engine import CedarpyEngine
from agentguard.adapters.policy_folder import Case, read_cases
from agentguard.adapters.regorus_engine import RegorusEngine
from agentguard.contracts import commands as c
from agentguard.contracts import facts as f
from agentguard.contracts import records as r
from agentguard.policy.document import build_document
from agentguard.policy.release import MANIFEST_NAME, Release, build_bundle, make_manifest
from agentguard.policy.release import read_bundle as read_release
from agentguard.resources import read_folder, resource

NOW_MS = 1_795_368_000_123


def agent(**changes: Any) -> c.RegisterAgent:
    fields: dict[str, Any] = {
        "tenant": "acme",
        "agent_id": "agent-7",
        "status": c.Registration.ENABLED,
        "owner": "team-a",
        "version": "1",
        "roles": ("assistant",),
        "capabilities": (),
        "risk_profile": "standard",
        "attestation": c.Attestation.NONE,
        "credential_id": "abcdefgh",
        "credential_hash": b"h" * 32,
        "expires_at_ms": 0,
    }
    return c.RegisterAgent(**fields | changes)


def tool(**changes: Any) -> c.RegisterTool:
    fields: dict[str, Any] = {
        "tenant": "acme",
        "tool": "mail.send",
        "status": c.Registration.ENABLED,
        "server": "mail",
        "version": "3",
        "description": "sends a mail",
        "schema_json": "{}",
        "pin": b"p" * 32,
        "operation": "send",
        "side_effect": c.SideEffect.SEND,
        "categories": ("mail",),
        "decisive_arguments": ("to",),
        "extractors": (),
        "output_trust": r.Trust.UNTRUSTED,
        "scopes": (),
        "resource": "",
    }
    return c.RegisterTool(**fields | changes)


def request(**changes: Any) -> r.AgentRequest:
    fields: dict[str, Any] = {
        "cluster": "cluster-a",
        "mode": r.Mode.LIVE,
        "producer": "gateway-0",
        "epoch": 1,
        "sequence": 1,
        "control_offset": 0,
        "tenant": "acme",
        "agent_id": "agent-7",
        "request_id": bytes(range(16)),
        "accepted_at_ms": NOW_MS,
        "deadline_ms": NOW_MS + 1_000,
        "budget_ms": 1_000,
        "decisions_floor": 0,
        "tool": "mail.send",
        "session_id": "s-1",
        "sections": (),
        "outcome_refs": (),
        "task_voucher": r.Voucher.GATEWAY,
        "environment": "production",
        "dry_run": False,
    }
    return r.AgentRequest(**fields | changes)


def provenance(**changes: Any) -> f.Provenance:
    fields: dict[str, Any] = {
        "asked_by_task": True,
        "decisive": f.Origin.TASK,
        "decisive_addressed": False,
        "source_named_by_task": False,
        "instructed_by": f.Instructor.TASK,
        "incomplete": False,
        "arguments": (),
    }
    return f.Provenance(**fields | changes)


def classification(**changes: Any) -> r.Classification:
    fields: dict[str, Any] = {
        "risk": r.Risk.MEDIUM,
        "intent": "send",
        "recommended": r.Verdict.ALLOW,
        "confidence_ppm": 870_050,
        "reasons": ("side_effect_send",),
        "model": "rules/1",
        "source": r.ClassificationSource.RULES,
    }
    return r.Classification(**fields | changes)


def history(**changes: Any) -> f.HistoryFacts:
    return f.HistoryFacts(**changes)


def document(**changes: Any) -> bytes:
    """Returns the policy input of a harmless asked send; keywords are those of `build_document`."""
    fields: dict[str, Any] = {
        "request": request(),
        "agent": agent(),
        "tool": tool(),
        "extracted": f.ExtractedFacts(),
        "provenance": provenance(),
        "classification": classification(),
        "history": f.HistoryFacts(),
        "decided_at_ms": NOW_MS,
        "killed": False,
    }
    return build_document(**fields | changes)


@cache
def baseline_files() -> Mapping[str, bytes]:
    return read_folder(resource("policies", "baseline"))


@cache
def baseline() -> Release:
    return read_release(build_bundle(baseline_files()))


@cache
def table() -> tuple[Case, ...]:
    return read_cases(resource("policies", "cases"))


@cache
def rego() -> RegorusEngine:
    return RegorusEngine(baseline())


@cache
def cedar() -> CedarpyEngine:
    return CedarpyEngine(baseline())


def release(**changes: str | None) -> Release:
    """Returns the baseline release with files replaced, added or (None) left out.

    A keyword names a file with `__` for a slash and its last `_` for the dot before the ending:
    `agentguard__baseline_rego`.
    """
    files = dict(baseline_files())
    for key, text in changes.items():
        name = ".".join(key.replace("__", "/").rsplit("_", 1))
        if text is None:
            del files[name]
        else:
            files[name] = text.encode()
    del files[MANIFEST_NAME]
    files[MANIFEST_NAME] = make_manifest(files, revision="test")
    return read_release(build_bundle(files))
