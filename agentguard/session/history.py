# SPDX-License-Identifier: Apache-2.0
"""What a decision asks of an agent's state: history and evidence before one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

from agentguard.bounds import TAINT_MS
from agentguard.contracts.facts import HistoryFacts, Origin, Source
from agentguard.contracts.records import AgentRequest, OutcomeRef, Trust
from agentguard.session.agent import AgentState
from agentguard.session.calls import Call, Price

Pricing: TypeAlias = Callable[[Call], Price]


class Evidence(NamedTuple):
    """Earlier outputs that a call can draw on, in order of appearance, and what is known lacking."""

    sources: tuple[Source, ...]
    is_incomplete: bool
    has_untrusted: bool


# what a policy input can carry; an amount that nobody could read counts as this much
AMOUNT_MINOR_MAX: Final = 2**53 - 1


def evidence(state: AgentState, session_id: str, refs: Sequence[OutcomeRef]) -> Evidence:
    """Returns the outputs of this session and those referred to, listed by the caller or not.

    A caller may lower an output's trust for its session, never raise it.
    """
    session = state.sessions.get(session_id)
    lowered = {r.id for r in refs if r.trust is Trust.UNTRUSTED}
    wanted = {r.id for r in refs}
    is_incomplete = not wanted <= state.outputs.keys()
    if session is not None:
        lowered |= session.lowered
        wanted.update(session.borrowed)
        is_incomplete = is_incomplete or session.is_cut
    sources = []
    for output in state.outputs.values():
        if output.session is session or output.id in wanted:
            source = output.source
            if output.id in lowered and source.origin is not Origin.UNTRUSTED:
                source = Source(
                    origin=Origin.UNTRUSTED,
                    text=source.text,
                    tool=source.tool,
                    offset=source.offset,
                )
            sources.append(source)
    has_untrusted = any(s.origin is Origin.UNTRUSTED for s in sources)
    return Evidence(tuple(sources), is_incomplete, has_untrusted)


def history(
    state: AgentState,
    request: AgentRequest,
    *,
    seen: Evidence,
    now_ms: int,
    pricing: Pricing,
) -> HistoryFacts:
    """Returns what the agent did before this call; what is pending counts where that restricts.

    `now_ms` is the decision's own time, `pricing` says what a pending call counts for.
    """
    session = state.sessions.get(request.session_id)
    pending = [c for c in state.calls.values() if c.verdict is None and c.counts]
    prices = [pricing(c) for c in pending]
    here = [p for c, p in zip(pending, prices, strict=True) if c.session is session]
    tag = request.body_tag
    repeats = 0
    if tag is not None:
        repeats = state.repeats.total(now_ms, tag) + sum(c.tag == tag for c in pending)
    if session is None:
        is_tainted = state.taint.at_ms > request.accepted_at_ms - TAINT_MS
    else:
        is_tainted = session.is_tainted
    return HistoryFacts(
        calls_1m=state.minute.total(now_ms) + len(pending),
        calls_session=(session.calls if session else 0) + len(here),
        inflight=len(pending),
        denies_1h=state.denials.total(now_ms) + len(pending),
        spend_day_minor=min(
            state.spend.total(now_ms) + sum(p.amount_minor for p in prices), AMOUNT_MINOR_MAX
        ),
        repeats_10m=repeats,
        seen=tuple(sorted(session.seen)) if session else (),
        untrusted_read=is_tainted or seen.has_untrusted or any(p.taints for p in here),
        sensitive_read=bool(session and session.sensitive_calls)
        or any(p.is_sensitive for p in here),
        incomplete=seen.is_incomplete,
    )
