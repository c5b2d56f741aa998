# SPDX-License-Identifier: Apache-2.0
"""Stage three: what a ruling comes to: charges, grant, reason, evidence."""

from __future__ import annotations

from typing import Final

import msgspec

from agentguard.contracts.charges import CALL_UNIT, CALLS, SPEND, UNTRUSTED_OUTPUT
from agentguard.contracts.codes import Code, reason_text
from agentguard.contracts.commands import RegisterAgent, RegisterTool
from agentguard.contracts.facts import HistoryFacts, Origin, Provenance, Ruling, Source
from agentguard.contracts.records import (
    Charge,
    Fact,
    Grant,
    Mode,
    Section,
    SectionName,
    Trust,
    Verdict,
)
from agentguard.contracts.sections import derived_salt, make_section
from agentguard.decision.classify import Classified
from agentguard.decision.finding import ONE_DENIAL, Finding, plain
from agentguard.decision.world import Question
from agentguard.registry.tools import trust_of
from agentguard.tokens.grant import make_grant

EVIDENCE_ARGUMENTS_MAX: Final = 64
EVIDENCE_SENTENCE_CHARS_MAX: Final = 2_000
EVIDENCE_NAME_CHARS_MAX: Final = 200
QUOTE: Final = "@sentence"
_ORIGINS: Final = {
    Origin.TASK: "the task",
    Origin.TRUSTED: "a trusted output",
    Origin.UNTRUSTED: "an untrusted output",
    Origin.NOWHERE: "neither the task nor any output",
}

_DEFAULTS: Final = frozenset(("", "0", "false"))

_encode = msgspec.json.Encoder().encode


class ArgumentEvidence(msgspec.Struct, frozen=True):
    """Where one value was found; members in key order."""

    addressed: bool
    argument: str
    decisive: bool
    length: int
    offset: int
    origin: Origin
    start: int


class EvidenceBody(msgspec.Struct, frozen=True):
    """Plaintext of a decision's evidence section; members in key order."""

    arguments: tuple[ArgumentEvidence, ...]
    offset: int
    sentence: str
    tool: str


def authorize_call(question: Question, classified: Classified, ruling: Ruling) -> Finding:
    """Returns the finding of a ruling: only here can a verdict let a call run."""
    admitted = classified.admitted
    is_dry_run = admitted.request.dry_run
    verdict = ruling.verdict
    is_allowed = verdict is Verdict.ALLOW and not is_dry_run
    codes, arguments = ruling.codes, _arguments(classified, ruling)
    if verdict is Verdict.ESCALATE:
        why = reason_text(codes[0], arguments, {})
        arguments = (ruling.approval_group, f"{why}; no approver is configured")
        codes = (Code.APPROVAL_REQUIRED, *(c for c in codes if c != Code.APPROVAL_REQUIRED))
    if is_dry_run:
        codes, arguments = (Code.DRY_RUN, *codes), (verdict.value,)
    charges: tuple[Charge, ...] = ()
    if is_allowed:
        charges = _charges(classified)
    elif verdict is Verdict.DENY and not is_dry_run and Code.ENGINE_ERROR not in codes:
        charges = ONE_DENIAL
    return Finding(
        verdict=Verdict.DENY if is_dry_run else verdict,
        codes=codes,
        arguments=arguments,
        rules=ruling.rules,
        scopes=ruling.scopes if verdict is not Verdict.DENY else (),
        obligations=ruling.obligations if is_allowed else (),
        charges=charges,
        classification=classified.classification,
        facts=_facts(admitted.agent, admitted.tool, classified),
        tool=admitted.tool,
        grant=_grant(question, classified, ruling) if is_allowed else None,
        evidence=_evidence(question, classified),
        retry_of=admitted.retry_of,
    )


def _charges(classified: Classified) -> tuple[Charge, ...]:
    """Returns what an allow adds to the agent's state, with all that state must know of the tool."""
    tool, extracted = classified.admitted.tool, classified.extracted
    categories = tool.categories
    if trust_of(tool) is not Trust.TRUSTED:
        categories = (*categories, UNTRUSTED_OUTPUT)
    call = Charge(counter=CALLS, amount=1, unit=CALL_UNIT, categories=categories)
    if not extracted.amount_minor:
        return (call,)
    unit = f"{extracted.currency or 'XXX'}.minor"
    amount = extracted.amount_minor
    return (call, Charge(counter=SPEND, amount=amount, unit=unit, categories=tool.categories))


def _grant(question: Question, classified: Classified, ruling: Ruling) -> Grant | None:
    admitted = classified.admitted
    activation = admitted.policy.activation
    return make_grant(
        admitted.request,
        admitted.tool,
        place=(question.record.partition, question.record.offset),
        scopes=ruling.scopes,
        commitment=admitted.parameters.commitment,
        policy_version=f"{activation.sequence}@{activation.bundle_digest.hex()[:16]}",
    )


def _arguments(classified: Classified, ruling: Ruling) -> tuple[str, ...]:
    """Returns the arguments of the reason: what the rule saw, quotes by reference only."""
    tool = plain(classified.admitted.tool.tool)
    rule = ruling.rules[0] if ruling.rules else "?"
    provenance, past = classified.provenance, classified.history
    match ruling.codes[0]:
        case Code.ALLOWED:
            return (", ".join(ruling.rules),)
        case Code.NO_RULE_PERMITS | Code.NOT_ASKED | Code.UNKNOWN_TOOL:
            return (tool,)
        case Code.INJECTED_INSTRUCTION:
            return (tool, _origin_tool(provenance, classified.sources), QUOTE)
        case Code.VALUE_NOT_ACCOUNTED_FOR:
            return (_worst_argument(provenance), tool, _ORIGINS[provenance.decisive])
        case Code.CRITICAL_RISK:
            return (", ".join(classified.classification.reasons),)
        case Code.RATE_LIMIT:
            return (str(past.calls_1m),)
        case Code.SPEND_LIMIT:
            return (str(past.spend_day_minor),)
        case Code.APPROVAL_REQUIRED:
            return (ruling.approval_group, f"rule {rule}")
        case Code.KILLED | Code.POLICY_DENIED:
            return (rule,)
        case Code.ENGINE_ERROR:
            return (classified.admitted.policy.engine.identity,)
        case _:
            return (plain(classified.admitted.request.agent_id),)


def _origin_tool(provenance: Provenance, sources: tuple[Source, ...]) -> str:
    place = provenance.sentence_source
    if place < 0:
        found = (a.source for a in provenance.arguments if a.decisive and a.addressed)
        place = next(found, -1)
    return plain(sources[place].tool) if place > 0 else "an earlier tool"


def _worst_argument(provenance: Provenance) -> str:
    worst = (a for a in provenance.arguments if a.decisive and a.origin is provenance.decisive)
    found = next(worst, None)
    return "a value" if found is None else plain(found.argument)


def _evidence(question: Question, classified: Classified) -> Section | None:
    """Returns the section with the guilty sentence and where each value was found."""
    provenance, sources = classified.provenance, classified.sources
    salt = classified.admitted.parameters.salt
    if salt is None or not (provenance.arguments or provenance.sentence):
        return None
    place = provenance.sentence_source
    body = _encode(
        EvidenceBody(
            arguments=tuple(
                ArgumentEvidence(
                    addressed=a.addressed,
                    argument=a.argument[:EVIDENCE_NAME_CHARS_MAX],
                    decisive=a.decisive,
                    length=a.length,
                    offset=sources[a.source].offset if a.source >= 0 else -1,
                    origin=a.origin,
                    start=a.start,
                )
                for a in provenance.arguments[:EVIDENCE_ARGUMENTS_MAX]
            ),
            offset=sources[place].offset if place >= 0 else -1,
            sentence=provenance.sentence[:EVIDENCE_SENTENCE_CHARS_MAX],
            tool=sources[place].tool if place >= 0 else "",
        )
    )
    record = question.record
    salt = derived_salt(
        salt,
        name=SectionName.EVIDENCE,
        mode=Mode.LIVE.value,
        partition=record.partition,
        offset=record.offset,
        text=body,
    )
    return make_section(SectionName.EVIDENCE, body, salt)


def _facts(agent: RegisterAgent, tool: RegisterTool, classified: Classified) -> tuple[Fact, ...]:
    """Returns what policy saw and the request does not hold.

    A fact that is not there has its default: empty, `0` or `false`. Most are, on most calls, and
    each that is written costs a microsecond and twenty bytes for ever.
    """
    provenance, past = classified.provenance, classified.history
    return tuple(
        Fact(name=name, value=value)
        for name, value in (
            ("agent.attestation", agent.attestation.value),
            ("agent.capabilities", ",".join(agent.capabilities)),
            ("agent.owner", agent.owner),
            ("agent.risk_profile", agent.risk_profile),
            ("agent.roles", ",".join(agent.roles)),
            ("agent.version", agent.version),
            *_history_facts(past),
            ("provenance.asked_by_task", _word(is_true=provenance.asked_by_task)),
            ("provenance.decisive", provenance.decisive.value),
            ("provenance.decisive_addressed", _word(is_true=provenance.decisive_addressed)),
            ("provenance.incomplete", _word(is_true=provenance.incomplete)),
            ("provenance.instructed_by", provenance.instructed_by.value),
            ("provenance.source_named_by_task", _word(is_true=provenance.source_named_by_task)),
            ("tool.categories", ",".join(tool.categories)),
            ("tool.operation", tool.operation),
            ("tool.output_trust", tool.output_trust.value),
            ("tool.resource", tool.resource),
            ("tool.server", tool.server),
            ("tool.side_effect", tool.side_effect.value),
            ("tool.version", tool.version),
        )
        if value not in _DEFAULTS
    )


def _history_facts(past: HistoryFacts) -> tuple[tuple[str, str], ...]:
    return (
        ("history.calls_1m", str(past.calls_1m)),
        ("history.calls_session", str(past.calls_session)),
        ("history.denies_1h", str(past.denies_1h)),
        ("history.incomplete", _word(is_true=past.incomplete)),
        ("history.inflight", str(past.inflight)),
        ("history.repeats_10m", str(past.repeats_10m)),
        ("history.seen", ",".join(past.seen)),
        ("history.sensitive_read", _word(is_true=past.sensitive_read)),
        ("history.spend_day_minor", str(past.spend_day_minor)),
        ("history.untrusted_read", _word(is_true=past.untrusted_read)),
    )


def _word(*, is_true: bool) -> str:
    return "true" if is_true else "false"
