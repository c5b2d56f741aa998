# SPDX-License-Identifier: Apache-2.0
"""What the stages come to, before it is written as a decision core."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Final

from agentguard.contracts.charges import CALL_UNIT, DENIALS
from agentguard.contracts.codes import TEMPLATES, Code, flatten, remedy_text
from agentguard.contracts.commands import RegisterTool
from agentguard.contracts.records import (
    Charge,
    Classification,
    ClassificationSource,
    Fact,
    Grant,
    Obligation,
    Risk,
    Section,
    Verdict,
)

NOT_CLASSIFIED: Final = Classification(
    risk=Risk.CRITICAL,
    intent="unknown",
    recommended=Verdict.DENY,
    confidence_ppm=0,
    reasons=("not_classified",),
    model="none",
    source=ClassificationSource.NONE,
)
ONE_DENIAL: Final = (Charge(counter=DENIALS, amount=1, unit=CALL_UNIT, categories=()),)

# a remedy of these is a command line, and its argument a name that an agent chose
_COMMAND_REMEDIES: Final = frozenset(
    (
        Code.UNKNOWN_AGENT,
        Code.AGENT_NOT_ENABLED,
        Code.AGENT_EXPIRED,
        Code.UNKNOWN_TOOL,
        Code.TOOL_NOT_ENABLED,
        Code.TOOL_CHANGED,
    )
)
# what the agent did, as against what the platform could not do: these count as its denials
_OF_THE_AGENT: Final = frozenset(
    (
        Code.IDEMPOTENCY_CONFLICT,
        Code.ALREADY_USED,
        Code.UNKNOWN_TOOL,
        Code.TOOL_NOT_ENABLED,
        Code.INVALID_PARAMETERS,
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A verdict with everything that goes into the core and is not a position or a version."""

    verdict: Verdict
    codes: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    charges: tuple[Charge, ...] = ()
    classification: Classification = field(default=NOT_CLASSIFIED)
    facts: tuple[Fact, ...] = ()
    tool: RegisterTool | None = None
    grant: Grant | None = None
    evidence: Section | None = None
    retry_of: int | None = None

    @property
    def remedy(self) -> str | None:
        """What would pass, in words or as a command line that is safe to paste; None if unknown."""
        if self.verdict is Verdict.ALLOW:
            return None
        code = self.codes[0]
        if code in _COMMAND_REMEDIES:
            return TEMPLATES[Code(code)].remedy.replace("{}", _word(self.arguments[0]))
        return remedy_text(code, self.arguments, {}) or None


def _word(argument: str) -> str:
    """Returns a name as one word of a command line, never an option and never shell syntax."""
    name = argument[1:] if _looks_like_a_quote(argument) else argument
    word = shlex.quote(flatten(name))
    return f"-- {word}" if name.startswith("-") else word


def plain(text: str) -> str:
    """Returns hostile text as an argument of a reason: one line, cut, never read as a quote."""
    flat = flatten(text)
    # spaces before the sign count too, or a name that flattens to ` @` would read as `@`
    return f" {flat}" if _looks_like_a_quote(flat) else flat


def _looks_like_a_quote(text: str) -> bool:
    return text.lstrip(" ").startswith("@")


def refuse(code: Code, *arguments: str, tool: RegisterTool | None = None) -> Finding:
    """Returns the denial of a request that no engine needs to see."""
    return Finding(
        verdict=Verdict.DENY,
        codes=(code,),
        arguments=arguments,
        charges=ONE_DENIAL if code in _OF_THE_AGENT else (),
        tool=tool,
    )
