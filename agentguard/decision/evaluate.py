# SPDX-License-Identifier: Apache-2.0
"""Stage two: what the release says about the classified call."""

from __future__ import annotations

from agentguard.contracts.codes import Code
from agentguard.contracts.errors import EngineError, UndecodableError
from agentguard.contracts.facts import Ruling
from agentguard.contracts.records import Verdict
from agentguard.decision.classify import Classified
from agentguard.decision.world import Observed
from agentguard.policy.combine import combine
from agentguard.policy.document import build_document


def evaluate_call(classified: Classified, seen: Observed) -> Ruling:
    """Returns the ruling. An engine that fails on the input denies it.

    Whether the engine or the input is at fault is for the lane to find out, by the golden input,
    before it lets that denial out. Raises `UndecodableError` where the input document does not
    fit its closed shape.
    """
    admitted = classified.admitted
    document = build_document(
        request=admitted.request,
        agent=admitted.agent,
        tool=admitted.tool,
        extracted=classified.extracted,
        provenance=classified.provenance,
        classification=classified.classification,
        history=classified.history,
        decided_at_ms=seen.decided_at_ms,
        killed=False,
    )
    try:
        ruling = combine(admitted.policy.engine.evaluate(document))
    except (EngineError, UndecodableError):
        return denied_by(Code.ENGINE_ERROR)
    # no transform is known to this version, and a denial that it cannot remedy stays one
    return _without_transform(ruling) if ruling.verdict is Verdict.TRANSFORM else ruling


def denied_by(code: Code) -> Ruling:
    """Returns the ruling of a denial that no rule made."""
    return Ruling(verdict=Verdict.DENY, codes=(code,), rules=(), scopes=(), obligations=())


def _without_transform(ruling: Ruling) -> Ruling:
    return Ruling(
        verdict=Verdict.DENY, codes=ruling.codes, rules=ruling.rules, scopes=(), obligations=()
    )
