# SPDX-License-Identifier: Apache-2.0
"""Stage one: what the call is, where its values came from, how risky it looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agentguard.classification.provenance import trace
from agentguard.classification.rules import MODEL, classify
from agentguard.contracts.charges import SENSITIVE
from agentguard.contracts.commands import RegisterTool
from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.facts import (
    ExtractedFacts,
    HistoryFacts,
    Json,
    Origin,
    Provenance,
    Source,
)
from agentguard.contracts.records import Classification, Trust
from agentguard.contracts.strict_json import parse_strict
from agentguard.control.fold import ControlFold
from agentguard.decision.admit import Admitted
from agentguard.decision.world import Observed
from agentguard.policy.extractors import extract
from agentguard.registry.tools import trust_of
from agentguard.session.calls import Call as PastCall
from agentguard.session.calls import Price
from agentguard.session.history import Pricing, evidence, history

CLASSIFIER: Final = MODEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """An admitted call with everything that policy will see of it."""

    admitted: Admitted
    extracted: ExtractedFacts
    history: HistoryFacts
    provenance: Provenance
    classification: Classification
    sources: tuple[Source, ...]


def classify_call(admitted: Admitted, control: ControlFold, seen: Observed) -> Classified:
    """Returns the call with its facts. Raises `UndecodableError` where a value cannot be read."""
    request, tool, call = admitted.request, admitted.tool, admitted.call
    extracted = extract(tool, call.parameters)
    known = evidence(admitted.state, request.session_id, request.outcome_refs)
    past = history(
        admitted.state,
        request,
        seen=known,
        now_ms=seen.decided_at_ms,
        pricing=pricing_under(control, request.tenant),
    )
    sources = (Source(origin=Origin.TASK, text=call.task), *known.sources)
    provenance = trace(call, tool, sources, incomplete=known.is_incomplete)
    classification = seen.classification or classify(
        call, tool, provenance=provenance, history=past, extracted=extracted
    )
    return Classified(
        admitted=admitted,
        extracted=extracted,
        history=past,
        provenance=provenance,
        classification=classification,
        sources=sources,
    )


def pricing_under(control: ControlFold, tenant: str) -> Pricing:
    """Returns how pending calls are priced under this control prefix."""

    def price(call: PastCall) -> Price:
        known = call.remembered_price(control.folded)
        if known is not None:
            return known
        made = price_of(control.tool(tenant, call.tool), call.parameters)
        return call.remember_price(made, control.folded)

    return price


def price_of(tool: RegisterTool | None, body: bytes) -> Price:
    """Returns what a call counts for while it is pending.

    A call that could not be allowed (unknown tool, unreadable parameters) spends nothing.
    """
    taints = trust_of(tool) is not Trust.TRUSTED
    if tool is None:
        return Price(0, is_sensitive=False, taints=taints)
    is_sensitive = SENSITIVE in tool.categories
    try:
        amount = extract(tool, _object(body)).amount_minor
    except UndecodableError:
        amount = 0
    return Price(amount, is_sensitive=is_sensitive, taints=taints)


def _object(body: bytes) -> Mapping[str, Json]:
    value = parse_strict(body)
    if not isinstance(value, dict):
        raise UndecodableError("not an object")
    return value
