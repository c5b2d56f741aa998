# SPDX-License-Identifier: Apache-2.0
"""What stages hand to each other: sources, provenance, history, engine results. Never on a log.

Classification, session, policy and decision do not import each other; they meet in these types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from agentguard.contracts.records import Obligation, Verdict

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


class Origin(StrEnum):
    """Where a value first appeared, from most to least accounted for."""

    TASK = "task"
    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"
    NOWHERE = "nowhere"


class Instructor(StrEnum):
    """Whose sentence best explains the call."""

    NONE = "none"
    TASK = "task"
    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A text that a value or an instruction can come from.

    `origin` is TASK, TRUSTED or UNTRUSTED. `offset` is the offset of the output's record in the
    agent's partition of `ag.requests`; -1 for the task. Sources are ordered by first appearance,
    the task first.
    """

    origin: Origin
    text: str
    tool: str = ""
    offset: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The call under judgement.

    `parameters` is the strictly parsed JSON object; amounts are read from its text by
    extractors, never through binary fractions.
    """

    tool: str
    parameters: Mapping[str, Json]
    task: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentOrigin:
    """Where one leaf value of the parameters first appeared.

    `argument` is the top-level parameter name. `source` indexes the sources (-1 for nowhere);
    `start` and `length` are characters in that source's text. `addressed` says that the place lies
    inside a sentence that instructs the agent.
    """

    argument: str
    origin: Origin
    decisive: bool
    source: int
    start: int
    length: int
    addressed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Who asked for the call and where its values came from.

    `decisive` is the worst origin among decisive arguments (TASK where there is none).
    `decisive_addressed` says that a decisive value was found only inside an untrusted sentence
    addressed to the agent. `source_named_by_task` says that the task names the source (tool,
    document, sender) that untrusted decisive values came from. `sentence` is the guilty sentence
    verbatim, `sentence_source` its index in the sources, -1 where there is none. `incomplete`
    says that history is known to be missing.
    """

    asked_by_task: bool
    decisive: Origin
    decisive_addressed: bool
    source_named_by_task: bool
    instructed_by: Instructor
    incomplete: bool
    arguments: tuple[ArgumentOrigin, ...]
    sentence: str = ""
    sentence_source: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFacts:
    """What the session fold knows about the agent before this call.

    Pending calls are counted where that restricts. Amounts are minor units, windows end at the call's own time t.
    """

    calls_1m: int = 0
    calls_session: int = 0
    inflight: int = 0
    denies_1h: int = 0
    spend_day_minor: int = 0
    repeats_10m: int = 0
    seen: tuple[str, ...] = ()
    untrusted_read: bool = False
    sensitive_read: bool = False
    incomplete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractedFacts:
    """Typed values that extractors found in the parameters, normalised (policy.extractors)."""

    amount_minor: int = 0
    currency: str = ""
    paths: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    recipient_domains: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    has_secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What would make a denied call pass: a registered transform, or an approval by a group."""

    transform: str = ""
    arguments: Mapping[str, Json] = field(default_factory=dict)
    approval_group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """One rule that says no. `code` is one of `contracts.codes.Code`."""

    rule: str
    code: str
    reason: str
    severity: str = "medium"
    controls: tuple[str, ...] = ()
    remedy: Remedy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineResult:
    """What one engine says about one document: the same for every language."""

    permits: tuple[str, ...]
    denials: tuple[Denial, ...]
    scopes: tuple[str, ...]
    obligations: tuple[Obligation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The combined result: error > deny > escalate > transform > allow; no permit is deny."""

    verdict: Verdict
    codes: tuple[str, ...]
    rules: tuple[str, ...]
    scopes: tuple[str, ...]
    obligations: tuple[Obligation, ...]
    approval_group: str = ""
    transforms: tuple[Remedy, ...] = ()
