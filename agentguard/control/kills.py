# SPDX-License-Identifier: Apache-2.0
"""Which kills stand over what, and when: intervals that only a lift can cut.

The fold has no clock, so a target keeps every interval in which it is killed. A kill adds its
interval, a lift takes its own away; whoever asks says at which time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from agentguard.bounds import KILL_SPANS_PER_TARGET_MAX
from agentguard.contracts.commands import Kill, Lift, TargetKind

FOR_EVER_MS = 2**63 - 1


class Span(NamedTuple):
    """The interval `[start_ms, end_ms)` of one kill."""

    start_ms: int
    end_ms: int
    kill: Kill


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingKill:
    """A kill as it is listed: `end_ms` 0 means without end."""

    kill: Kill
    start_ms: int
    end_ms: int


def span_of(not_before_ms: int, not_after_ms: int, kill: Kill) -> Span:
    """Returns the interval of a kill; an end of 0 is none."""
    return Span(not_before_ms, not_after_ms or FOR_EVER_MS, kill)


def add_span(spans: tuple[Span, ...], new: Span) -> tuple[Span, ...]:
    """Returns the spans with one more: a shorter kill never replaces a longer one.

    Past the bound all spans grow into one hull: stricter, never looser, and never a refusal.
    """
    if any(s.start_ms <= new.start_ms and new.end_ms <= s.end_ms for s in spans):
        return spans
    kept = [s for s in spans if s.start_ms < new.start_ms or s.end_ms > new.end_ms]
    kept.append(new)
    if len(kept) > KILL_SPANS_PER_TARGET_MAX:
        start = min(s.start_ms for s in kept)
        kept = [Span(start, max(s.end_ms for s in kept), new.kill)]
    return tuple(sorted(kept, key=lambda s: (s.start_ms, s.end_ms)))


def cut_spans(spans: tuple[Span, ...], start_ms: int, end_ms: int) -> tuple[Span, ...]:
    """Returns what is left of the spans outside `[start_ms, end_ms)`."""
    left: list[Span] = []
    for span in spans:
        if span.start_ms < start_ms:
            left.append(Span(span.start_ms, min(span.end_ms, start_ms), span.kill))
        if span.end_ms > end_ms:
            left.append(Span(max(span.start_ms, end_ms), span.end_ms, span.kill))
    return tuple(sorted(left, key=lambda s: (s.start_ms, s.end_ms)))


class KillBoard:
    """Every kill in force, by kind and target."""

    def __init__(self) -> None:
        self._by_kind: dict[TargetKind, dict[tuple[str, str], tuple[Span, ...]]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no kill stands at any time: the case that the hot path meets."""
        return not self._by_kind

    def add(self, kill: Kill, not_before_ms: int, not_after_ms: int) -> None:
        """Lets a kill stand in its interval."""
        targets = self._by_kind.setdefault(kill.kind, {})
        key = (kill.tenant, kill.target)
        targets[key] = add_span(targets.get(key, ()), span_of(not_before_ms, not_after_ms, kill))

    def lift(self, lift: Lift, not_before_ms: int, not_after_ms: int) -> None:
        """Takes the lift's interval away from its target's kills."""
        targets = self._by_kind.get(lift.kind, {})
        key = (lift.tenant, lift.target)
        left = cut_spans(targets.pop(key, ()), not_before_ms, not_after_ms or FOR_EVER_MS)
        if left:
            targets[key] = left
        elif not targets:
            self._by_kind.pop(lift.kind, None)

    def spans(self, kind: TargetKind, tenant: str, target: str) -> tuple[Span, ...]:
        """Returns a target's intervals, in order."""
        return self._by_kind.get(kind, {}).get((tenant, target), ())

    def standing(self, kind: TargetKind, tenant: str, target: str, now_ms: int) -> Kill | None:
        """Returns the kill over a target at this time. One dictionary look-up where none is."""
        targets = self._by_kind.get(kind)
        if targets is None:
            return None
        for span in targets.get((tenant, target), ()):
            if span.start_ms <= now_ms < span.end_ms:
                return span.kill
        return None

    def listed(self) -> Iterator[StandingKill]:
        """Yields every kill with its interval, in an order that depends on nothing but them."""
        for kind in sorted(self._by_kind):
            for key in sorted(self._by_kind[kind]):
                for span in self._by_kind[kind][key]:
                    end_ms = 0 if span.end_ms == FOR_EVER_MS else span.end_ms
                    yield StandingKill(kill=span.kill, start_ms=span.start_ms, end_ms=end_ms)
