# SPDX-License-Identifier: Apache-2.0
"""The policy input: one closed JSON document, the same for every engine and language.

Shape and words are AuthZEN 1.0's subject, action, resource, context. Every field is always there;
there are no floats and no nulls; integers stay within ±2^53; text and lists are bounded. Structs
below declare their fields in key order, so what msgspec writes is canonical JSON (sorted keys, no
spaces, UTF-8) without a second pass.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from agentguard.bounds import NAME_CHARS_MAX, POLICY_DOCUMENT_BYTES_MAX
from agentguard.contracts.commands import (
    Attestation,
    RegisterAgent,
    RegisterTool,
    Registration,
    SideEffect,
)
from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.facts import (
    ExtractedFacts,
    HistoryFacts,
    Instructor,
    Origin,
    Provenance,
)
from agentguard.contracts.records import (
    AgentRequest,
    Classification,
    ClassificationSource,
    Risk,
    Verdict,
    Voucher,
)
from agentguard.policy.normalise import AddressClass, address_class

INPUT_SCHEMA: Final = "agentguard.policy.input/1"
INTEGER_MAX: Final = 2**53 - 1
TEXT_CHARS_MAX: Final = 1_024
LIST_ITEMS_MAX: Final = 256
DAY_SECONDS: Final = 86_400

Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS_MAX)]
Word: TypeAlias = Annotated[str, msgspec.Meta(max_length=NAME_CHARS_MAX)]
Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=TEXT_CHARS_MAX)]
Words: TypeAlias = Annotated[tuple[Word, ...], msgspec.Meta(max_length=LIST_ITEMS_MAX)]
Texts: TypeAlias = Annotated[tuple[Text, ...], msgspec.Meta(max_length=LIST_ITEMS_MAX)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)]
BasisPoints: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=10_000)]
Ordinal: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=3)]

RiskWord: TypeAlias = Literal["low", "medium", "high", "critical"]
EffectWord: TypeAlias = Literal["read", "write", "send", "pay", "delete", "execute"]

RISK_ORDINALS: Final[dict[RiskWord, int]] = {"low": 0, "medium": 1, "high": 2, "critical": 3}
RISKS: Final[dict[Risk, RiskWord]] = {
    Risk.LOW: "low",
    Risk.MEDIUM: "medium",
    Risk.HIGH: "high",
    Risk.CRITICAL: "critical",
    Risk.UNKNOWN: "critical",
}
EFFECTS: Final[dict[SideEffect, EffectWord]] = {
    SideEffect.READ: "read",
    SideEffect.WRITE: "write",
    SideEffect.SEND: "send",
    SideEffect.PAY: "pay",
    SideEffect.DELETE: "delete",
    SideEffect.EXECUTE: "execute",
    SideEffect.UNKNOWN: "write",
}
ORIGIN_ORDINALS: Final = {
    Origin.TASK: 0,
    Origin.TRUSTED: 1,
    Origin.UNTRUSTED: 2,
    Origin.NOWHERE: 3,
}


class Closed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Base of every part of the document: immutable, unknown members refused."""


class User(Closed, frozen=True):
    """On whose behalf the agent acts; type `none` with an empty id where nobody proved it."""

    id: Word
    type: Literal["none", "user"]


class SubjectProperties(Closed, frozen=True):
    """What the registry holds about the agent."""

    attestation: Attestation
    capabilities: Words
    delegation_depth: Ordinal
    on_behalf_of: User
    owner: Word
    risk_profile: Word
    roles: Words
    tenant: Name
    version: Word


class Subject(Closed, frozen=True):
    """Who wants to act."""

    id: Name
    properties: SubjectProperties
    type: Literal["agent"]


class ActionProperties(Closed, frozen=True):
    """What the registry holds about the tool's effect. An unlabelled effect is `write`."""

    categories: Words
    operation: Name
    registered: bool
    side_effect: EffectWord
    tool_version: Word


class Action(Closed, frozen=True):
    """What it wants to do: the tool's name and effect."""

    name: Name
    properties: ActionProperties


class ResourceProperties(Closed, frozen=True):
    """Whose tool it is, where it runs, and whether a grant is needed to use it."""

    protected: bool
    server: Word
    tenant: Name


class Resource(Closed, frozen=True):
    """What it would act on."""

    id: Name
    properties: ResourceProperties
    type: Literal["tool"]


class Approval(Closed, frozen=True):
    """Whether a person agreed to exactly this call."""

    by: Word
    expires: Count
    state: Literal["none", "approved", "refused"]


class ClassificationFacts(Closed, frozen=True):
    """How risky the call looks; `risk_ord` is 0 (low) to 3 (critical or unknown)."""

    confidence_bp: BasisPoints
    intent: Word
    model: Word
    recommended: Verdict
    risk: RiskWord
    risk_ord: Ordinal
    source: ClassificationSource

    def __post_init__(self) -> None:
        if RISK_ORDINALS[self.risk] != self.risk_ord:
            raise ValueError("`risk` and `risk_ord` differ")


class Controls(Closed, frozen=True):
    """Switches that people have thrown."""

    kill_switch: bool
    override: bool


class Facts(Closed, frozen=True):
    """Typed, normalised values of the parameters (policy.extractors). Amounts are minor units."""

    amount_minor: Count
    commands: Texts
    currency: Word
    destination: AddressClass
    has_secret: bool
    hosts: Texts
    paths: Texts
    recipient_domains: Texts
    recipients: Texts
    tables: Texts


class History(Closed, frozen=True):
    """What the session fold knows; pending calls are counted where that restricts."""

    calls_1m: Count
    calls_session: Count
    denies_1h: Count
    incomplete: bool
    inflight: Count
    repeats_10m: Count
    seen: Words
    sensitive_read: bool
    spend_day_minor: Count
    untrusted_read: bool


class ProvenanceFacts(Closed, frozen=True):
    """Who asked for the call and where its decisive values first appeared."""

    asked_by_task: bool
    decisive: Origin
    decisive_addressed: bool
    decisive_ord: Ordinal
    incomplete: bool
    instructed_by: Instructor
    source_named_by_task: bool

    def __post_init__(self) -> None:
        if ORIGIN_ORDINALS[self.decisive] != self.decisive_ord:
            raise ValueError("`decisive` and `decisive_ord` differ")


class Token(Closed, frozen=True):
    """The token that came with the call; none is presented before a decision."""

    active: bool
    audience_ok: bool
    present: bool
    scopes: Words


class Context(Closed, frozen=True):
    """Everything else. `time` is seconds since the epoch, `weekday` 1 (Monday) to 7, both UTC."""

    approval: Approval
    classification: ClassificationFacts
    controls: Controls
    env: Word
    facts: Facts
    history: History
    hour: Annotated[int, msgspec.Meta(ge=0, le=23)]
    provenance: ProvenanceFacts
    request_id: Word
    session_id: Word
    task_voucher: Voucher
    time: Count
    token: Token
    weekday: Annotated[int, msgspec.Meta(ge=1, le=7)]


class Document(Closed, frozen=True):
    """One policy input."""

    action: Action
    context: Context
    resource: Resource
    schema: Literal["agentguard.policy.input/1"]
    subject: Subject


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Document)

NO_APPROVAL: Final = Approval(by="", expires=0, state="none")
NO_TOKEN: Final = Token(active=False, audience_ok=False, present=False, scopes=())
NO_USER: Final = User(id="", type="none")


def read_document(body: bytes) -> Document:
    """Returns the document that these bytes are.

    Raises `UndecodableError` where a member is missing, unknown, of another type or out of
    bounds, and where the bytes are longer than `POLICY_DOCUMENT_BYTES_MAX`.
    """
    if len(body) > POLICY_DOCUMENT_BYTES_MAX:
        raise UndecodableError("the policy input is too large")
    try:
        return _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # msgspec names the place, never the value: nothing of the request leaks
        raise UndecodableError(f"the policy input does not fit: {error}") from error


def encode_document(document: Document) -> bytes:
    """Returns the canonical bytes of a document, proved to be readable again.

    Raises `UndecodableError` as `read_document` does, also for lone surrogates and integers of
    more than 64 bits. Building a struct checks nothing, so the check is reading back.
    """
    try:
        body = _ENCODER.encode(document)
    except (UnicodeEncodeError, OverflowError, msgspec.MsgspecError) as error:
        raise UndecodableError("the policy input cannot be written") from error
    read_document(body)
    return body


def build_document(
    *,
    request: AgentRequest,
    agent: RegisterAgent,
    tool: RegisterTool,
    extracted: ExtractedFacts,
    provenance: Provenance,
    classification: Classification,
    history: HistoryFacts,
    decided_at_ms: int,
    killed: bool,
) -> bytes:
    """Returns the policy input of one call as canonical JSON.

    Identity comes from the registrations, never from the request. Raises `UndecodableError`
    where request and registrations are not about the same agent and tool, or anything does not
    fit the closed shape: the caller denies.
    """
    if (request.tenant, request.agent_id) != (agent.tenant, agent.agent_id):
        raise UndecodableError("the request and the registered agent differ")
    if request.tool != tool.tool:
        raise UndecodableError("the request and the registered tool differ")
    return encode_document(
        Document(
            action=_action(tool),
            context=_context(
                request,
                facts=_facts(extracted),
                provenance=_provenance(provenance),
                classification=_classification(classification),
                history=_history(history),
                decided_at_s=decided_at_ms // 1_000,
                killed=killed,
            ),
            resource=_resource(tool, agent.tenant),
            schema=INPUT_SCHEMA,
            subject=_subject(agent, request.on_behalf_of),
        )
    )


def _subject(agent: RegisterAgent, user: str | None) -> Subject:
    return Subject(
        id=agent.agent_id,
        properties=SubjectProperties(
            attestation=agent.attestation,
            capabilities=agent.capabilities,
            delegation_depth=0 if user is None else 1,
            on_behalf_of=NO_USER if user is None else User(id=user, type="user"),
            owner=agent.owner,
            risk_profile=agent.risk_profile,
            roles=agent.roles,
            tenant=agent.tenant,
            version=agent.version,
        ),
        type="agent",
    )


def _action(tool: RegisterTool) -> Action:
    effect = EFFECTS[tool.side_effect]
    return Action(
        name=tool.tool,
        properties=ActionProperties(
            categories=tool.categories,
            operation=tool.operation or effect,
            registered=tool.status is Registration.ENABLED,
            side_effect=effect,
            tool_version=tool.version,
        ),
    )


def _resource(tool: RegisterTool, tenant: str) -> Resource:
    return Resource(
        id=tool.resource or tool.tool,
        properties=ResourceProperties(
            protected=bool(tool.resource),
            server=tool.server,
            # a tool without a tenant is everybody's
            tenant=tool.tenant or tenant,
        ),
        type="tool",
    )


def _context(
    request: AgentRequest,
    *,
    facts: Facts,
    provenance: ProvenanceFacts,
    classification: ClassificationFacts,
    history: History,
    decided_at_s: int,
    killed: bool,
) -> Context:
    return Context(
        approval=NO_APPROVAL,
        classification=classification,
        controls=Controls(kill_switch=killed, override=False),
        env=request.environment,
        facts=facts,
        history=history,
        hour=decided_at_s // 3_600 % 24,
        provenance=provenance,
        request_id=request.request_id.hex(),
        session_id=request.session_id,
        task_voucher=request.task_voucher,
        time=decided_at_s,
        token=NO_TOKEN,
        # 1 January 1970 was a Thursday
        weekday=(decided_at_s // DAY_SECONDS + 3) % 7 + 1,
    )


def _facts(extracted: ExtractedFacts) -> Facts:
    return Facts(
        amount_minor=extracted.amount_minor,
        commands=extracted.commands,
        currency=extracted.currency,
        destination=address_class(extracted.hosts),
        has_secret=extracted.has_secret,
        hosts=extracted.hosts,
        paths=extracted.paths,
        recipient_domains=extracted.recipient_domains,
        recipients=extracted.recipients,
        tables=extracted.tables,
    )


def _provenance(provenance: Provenance) -> ProvenanceFacts:
    return ProvenanceFacts(
        asked_by_task=provenance.asked_by_task,
        decisive=provenance.decisive,
        decisive_addressed=provenance.decisive_addressed,
        decisive_ord=ORIGIN_ORDINALS[provenance.decisive],
        incomplete=provenance.incomplete,
        instructed_by=provenance.instructed_by,
        source_named_by_task=provenance.source_named_by_task,
    )


def _classification(classification: Classification) -> ClassificationFacts:
    risk = RISKS[classification.risk]
    return ClassificationFacts(
        # floor division keeps a value out of range out of range: reading back refuses it
        confidence_bp=classification.confidence_ppm // 100,
        intent=classification.intent,
        model=classification.model,
        recommended=classification.recommended,
        risk=risk,
        risk_ord=RISK_ORDINALS[risk],
        source=classification.source,
    )


def _history(history: HistoryFacts) -> History:
    return History(
        calls_1m=history.calls_1m,
        calls_session=history.calls_session,
        denies_1h=history.denies_1h,
        incomplete=history.incomplete,
        inflight=history.inflight,
        repeats_10m=history.repeats_10m,
        seen=history.seen,
        sensitive_read=history.sensitive_read,
        spend_day_minor=history.spend_day_minor,
        untrusted_read=history.untrusted_read,
    )
