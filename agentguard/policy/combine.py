# SPDX-License-Identifier: Apache-2.0
"""From what one engine says to one ruling: error > deny > escalate > transform > allow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from agentguard.contracts.codes import Code
from agentguard.contracts.facts import Denial, EngineResult, Remedy, Ruling
from agentguard.contracts.records import Verdict

SEVERITIES: Final = {"low": 0, "medium": 1, "high": 2, "critical": 3}


def combine(result: EngineResult | None) -> Ruling:
    """Returns the ruling on an engine's result; None is undefined and denied.

    - A denial without a remedy decides alone.
    - Otherwise a denial that an approval remedies escalates: nothing runs, a person is asked.
    - Otherwise, at least one rule must permit; no permit is a denial.
    - Then a denial that a transform remedies makes it a transform, none at all an allow.

    `codes` and `rules` are those that made the verdict, the most severe first; scopes and
    obligations are empty on deny. An engine's error never gets here: the caller denies.
    """
    if result is None:
        return _deny((Code.POLICY_UNDEFINED,), ())
    denials = sorted(result.denials, key=_weight)
    hard = [d for d in denials if not _is_remediable(d.remedy)]
    if hard:
        return _deny(_codes(hard), _rules(hard))
    approvals = [d for d in denials if d.remedy is not None and d.remedy.approval_group]
    if approvals:
        return _ruling(Verdict.ESCALATE, approvals, result)
    if not result.permits:
        return _deny((Code.NO_RULE_PERMITS,), ())
    if denials:
        return _ruling(Verdict.TRANSFORM, denials, result)
    return Ruling(
        verdict=Verdict.ALLOW,
        codes=(Code.ALLOWED,),
        rules=tuple(sorted(set(result.permits))),
        scopes=result.scopes,
        obligations=result.obligations,
    )


def _is_remediable(remedy: Remedy | None) -> bool:
    return remedy is not None and bool(remedy.approval_group or remedy.transform)


def _weight(denial: Denial) -> tuple[int, str, str]:
    # an unknown severity counts as the highest
    return (-SEVERITIES.get(denial.severity, 3), denial.rule, denial.code)


def _codes(denials: Iterable[Denial]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(d.code for d in denials))


def _rules(denials: Iterable[Denial]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(d.rule for d in denials))


def _deny(codes: tuple[str, ...], rules: tuple[str, ...]) -> Ruling:
    return Ruling(verdict=Verdict.DENY, codes=codes, rules=rules, scopes=(), obligations=())


def _ruling(verdict: Verdict, denials: list[Denial], result: EngineResult) -> Ruling:
    remedies = [d.remedy for d in denials if d.remedy is not None]
    escalates = verdict is Verdict.ESCALATE
    return Ruling(
        verdict=verdict,
        codes=_codes(denials),
        rules=_rules(denials),
        scopes=result.scopes,
        obligations=result.obligations,
        approval_group=remedies[0].approval_group if escalates else "",
        transforms=() if escalates else tuple(remedies),
    )
