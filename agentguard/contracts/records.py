# SPDX-License-Identifier: Apache-2.0
"""The records that cross the log: one frozen dataclass for each schema in `schemas/avro/`.

Every record is one Avro single-object frame (`C3 01`, fingerprint, body). Where a part is signed,
MACed or digested it is a `bytes` field that holds an inner frame, and the operation is over those
bytes verbatim. Field order here is field order on the wire; a test holds both against each other.
Units are in the names: `_ms` milliseconds since the Unix epoch or of duration, `_ppm` parts per
million, `_us` microseconds. Offsets are Kafka offsets.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """What a record is part of. Live readers accept `live` only."""

    UNKNOWN = "unknown"
    LIVE = "live"
    REPLAY = "replay"
    SHADOW = "shadow"
    SIMULATION = "simulation"


class SectionName(StrEnum):
    """What a section holds."""

    UNKNOWN = "unknown"
    TASK = "task"
    PARAMETERS = "parameters"
    OUTPUT = "output"
    EVIDENCE = "evidence"
    TRANSFORM = "transform"
    PAYLOAD = "payload"


class Trust(StrEnum):
    """How far an output is believed. `unknown` counts as untrusted."""

    UNKNOWN = "unknown"
    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"


class Voucher(StrEnum):
    """Who states that a user task or an output is what it says."""

    UNKNOWN = "unknown"
    GATEWAY = "gateway"
    SDK = "sdk"
    NOBODY = "nobody"


class OutcomeStatus(StrEnum):
    """How an allowed call ended."""

    UNKNOWN = "unknown"
    OK = "ok"
    ERROR = "error"


class EnforcementCode(StrEnum):
    """What a door did that no decision says."""

    UNKNOWN = "unknown"
    NOT_DELIVERED = "not_delivered"
    DENIED_AT_GATEWAY = "denied_at_gateway"
    NOT_WRITTEN = "not_written"
    WOULD_HAVE = "would_have"


class RedeemPurpose(StrEnum):
    """What a grant is used for."""

    UNKNOWN = "unknown"
    CALL = "call"
    EXCHANGE = "exchange"


class Verdict(StrEnum):
    """What may happen to the call. `unknown` is read as deny."""

    UNKNOWN = "unknown"
    ALLOW = "allow"
    DENY = "deny"
    TRANSFORM = "transform"
    ESCALATE = "escalate"


class Risk(StrEnum):
    """Risk level of a call, in rising order after `unknown` (which is read as critical)."""

    UNKNOWN = "unknown"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class ClassificationSource(StrEnum):
    """What produced a classification."""

    UNKNOWN = "unknown"
    NONE = "none"
    RULES = "rules"
    MODEL = "model"


class Failure(StrEnum):
    """What the deciding process could not do; `none` where it decided properly."""

    UNKNOWN = "unknown"
    NONE = "none"
    CLASSIFIER = "classifier"
    ENGINE = "engine"
    CONTROL = "control"
    STATE = "state"
    CLOCK = "clock"
    QUEUE = "queue"
    INTERNAL = "internal"


class SignalKind(StrEnum):
    """What an automatic reaction does."""

    UNKNOWN = "unknown"
    RISK = "risk"
    QUARANTINE = "quarantine"
    VOID_GRANTS = "void_grants"


class SignatureScheme(StrEnum):
    """How a command's signature was made."""

    UNKNOWN = "unknown"
    ML_DSA_44 = "ml_dsa_44"
    ML_DSA_65 = "ml_dsa_65"
    WEBAUTHN_ES256 = "webauthn_es256"


class Role(StrEnum):
    """What a process is for."""

    UNKNOWN = "unknown"
    GATEWAY = "gateway"
    DECIDE = "decide"
    SEAL = "seal"
    STORE = "store"
    RESPOND = "respond"
    EXPORT = "export"
    REPLAY = "replay"
    SHADOW = "shadow"
    REDERIVE = "rederive"
    CONTROL = "control"
    TOKENS = "tokens"
    CONSOLE = "console"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkSet:
    """Where a body lies that is too big for its record.

    `sha256` is over the carried bytes and present only when they are encrypted: an unsalted
    digest of plain content would let anyone test guesses against the log.
    """

    id: bytes
    count: int
    size: int
    sha256: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    r"""Personal content with a salted commitment.

    Without a key: `salt` and plain `body`. With a key: `salt` is None and `body` is
    nonce (12) | AES-GCM(salt | plaintext). `commitment` is
    SHA-256("agentguard/section/v1\0" | salt | plaintext).
    """

    name: SectionName
    commitment: bytes
    body: bytes
    salt: bytes | None = None
    key_id: str | None = None
    chunks: ChunkSet | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRef:
    """An earlier output that a request refers to, with the label its caller gave it."""

    id: bytes
    trust: Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRequest:
    """One tool call that an agent wants to make, as its gateway accepted it.

    `request_id` is 16 bytes, time-ordered. `decisions_floor` is the position in the same
    partition of `ag.decisions` that the gateway had read before it appended this record: the
    first counting decision at or after it is effective.
    """

    cluster: str
    mode: Mode
    producer: str
    epoch: int
    sequence: int
    control_offset: int
    tenant: str
    agent_id: str
    request_id: bytes
    accepted_at_ms: int
    deadline_ms: int
    budget_ms: int
    decisions_floor: int
    tool: str
    session_id: str
    sections: tuple[Section, ...]
    outcome_refs: tuple[OutcomeRef, ...]
    task_voucher: Voucher
    environment: str
    dry_run: bool
    on_behalf_of: str | None = None
    idempotency_tag: bytes | None = None
    body_tag: bytes | None = None
    approval_id: str | None = None
    secret_hash: bytes | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutcome:
    """What came of a call, or an earlier output that a caller brought along."""

    cluster: str
    mode: Mode
    producer: str
    epoch: int
    sequence: int
    control_offset: int
    tenant: str
    agent_id: str
    outcome_id: bytes
    tool: str
    session_id: str
    status: OutcomeStatus
    registry_label: Trust
    voucher: Voucher
    section: Section
    reported_at_ms: int
    request_offset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One part of a body that is too big for its record; it precedes the record that names it."""

    cluster: str
    mode: Mode
    producer: str
    epoch: int
    sequence: int
    control_offset: int
    tenant: str
    agent_id: str
    id: bytes
    index: int
    count: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Enforcement:
    """What a door did to a caller where no decision says it.

    `reason` is the code the caller got. `count` and `window_ms` aggregate equal denials above a
    rate; a single one has count 1 and window 0. `sequences` lists the door's own sequence numbers
    whose write failed (`not_written`).
    """

    cluster: str
    mode: Mode
    producer: str
    epoch: int
    sequence: int
    control_offset: int
    tenant: str
    agent_id: str
    code: EnforcementCode
    reason: str
    count: int
    window_ms: int
    reported_at_ms: int
    sequences: tuple[int, ...]
    request_id: bytes | None = None
    request_offset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One answer that reached its caller's socket."""

    request_offset: int
    decision_offset: int
    action: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliveries:
    """Answers that reached their callers, batched per partition and tenant. In no agent's chain."""

    cluster: str
    mode: Mode
    producer: str
    epoch: int
    sequence: int
    control_offset: int
    tenant: str
    items: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochStart:
    """First record of a door's new life in a partition.

    `previous_last_sequence` is None after an unclean stop. In no agent's chain.
    """

    cluster: str
    mode: Mode
    producer: str
    epoch: int
    sequence: int
    control_offset: int
    previous_epoch: int | None = None
    previous_last_sequence: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeem:
    """One use of a grant; the first in partition order wins."""

    cluster: str
    mode: Mode
    producer: str
    epoch: int
    sequence: int
    control_offset: int
    tenant: str
    agent_id: str
    request_partition: int
    request_offset: int
    purpose: RedeemPurpose
    section_commitment: bytes
    redeemer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why, as a template of `contracts.codes` and its arguments. Holds no personal content."""

    template: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligation:
    """Something the enforcing side must do with an allowed call."""

    type: str
    properties: tuple[Fact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a decision adds to a counter of the agent's state."""

    counter: str
    amount: int
    unit: str
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """A safer form of the call: the patch (JSON pointer → value) and what it results in."""

    patch: Section
    result_commitment: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Permission for exactly this call, to whoever knows the secret behind `secret_hash`."""

    secret_hash: bytes
    authorization_details: str
    expires_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Who must agree, and the digest of what they agree to."""

    group: str
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """How risky the call looks. `reasons` are codes, never quotes; confidence is in ppm."""

    risk: Risk
    intent: str
    recommended: Verdict
    confidence_ppm: int
    reasons: tuple[str, ...]
    model: str
    source: ClassificationSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """What the deciding process saw and no log says."""

    decided_at_ms: int
    classification: Classification
    failure: Failure
    measured_control_end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A named value that policy saw and the request does not hold; values are text."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Everything a decision depends on, by position or digest.

    `decisions_offset` is k of `state(n, k)`; n is the request's own offset.
    """

    decisions_offset: int
    signal_offset: int
    signal_digest: bytes
    control_offset: int
    control_chain: bytes
    release: int
    bundle_digest: bytes
    tool_pin: bytes
    model: str
    engines: str
    schemas: int
    semantics: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionCore:
    """The decision itself: the same bytes come out again from the same inputs.

    For an undecodable request tenant and agent are empty and `request_id` is None; the leaf hash
    is always that of the bytes at the request's offset.
    """

    cluster: str
    mode: Mode
    tenant: str
    agent_id: str
    request_partition: int
    request_offset: int
    request_leaf: bytes
    verdict: Verdict
    codes: tuple[str, ...]
    reason: Reason
    rules: tuple[str, ...]
    scopes: tuple[str, ...]
    obligations: tuple[Obligation, ...]
    charges: tuple[Charge, ...]
    observations: Observations
    facts: tuple[Fact, ...]
    versions: Versions
    requests_chain: bytes
    decisions_chain: bytes
    state_digest: bytes
    request_id: bytes | None = None
    remedy: str | None = None
    transform: Transform | None = None
    grant: Grant | None = None
    approval: Approval | None = None
    retry_of: int | None = None
    evidence: Section | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTime:
    """How long one stage took."""

    stage: str
    us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What need not come out again: who decided, how long it took, whether a result was reused."""

    lane: str
    worker: str
    stages: tuple[StageTime, ...]
    cache: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Mac:
    """Authentication of a decision towards one reader."""

    reader: str
    mac: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A decision as it lies on the log; `core` is a `DecisionCore` frame, verbatim."""

    cluster: str
    mode: Mode
    core: bytes
    measured: Measured
    macs: tuple[Mac, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """An automatic reaction to what an agent did."""

    cluster: str
    mode: Mode
    tenant: str
    agent_id: str
    kind: SignalKind
    level: int
    reason: str
    evidence_refs: tuple[str, ...]
    issued_at_ms: int
    session_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSignature:
    r"""One signature over `"agentguard/command/v1\0" | signed`."""

    key_id: str
    scheme: SignatureScheme
    signature: bytes
    authenticator_data: bytes | None = None
    client_data_json: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlCommand:
    """A command on `ag.control`; `signed` is a `SignedCommand` frame, verbatim."""

    cluster: str
    mode: Mode
    signed: bytes
    signatures: tuple[CommandSignature, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """State of one agent at (n, k), or of a whole partition where tenant and agent are empty."""

    cluster: str
    mode: Mode
    lane: str
    partition: int
    tenant: str
    agent_id: str
    requests_offset: int
    decisions_offset: int
    requests_chain: bytes
    decisions_chain: bytes
    semantics: int
    state: bytes
    mac: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A signed tree head of one partition.

    `note` is the C2SP signed note, `frontier` the roots of the perfect subtrees from left to right, 32 bytes each.
    """

    cluster: str
    mode: Mode
    origin: str
    topic: str
    partition: int
    generation: int
    size: int
    root: bytes
    note: str
    frontier: tuple[bytes, ...]
    next_offset: int
    sealed_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchoredHead:
    """One tree head inside an anchor."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """All tree heads of one moment under one signed note: one leaf of the anchor log."""

    cluster: str
    mode: Mode
    origin: str
    index: int
    heads: tuple[AnchoredHead, ...]
    note: str
    frontier: tuple[bytes, ...]
    anchored_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldedOffset:
    """How far a process has read a partition."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """A process says that it lives, what it runs and how far it has read."""

    cluster: str
    mode: Mode
    process: str
    role: Role
    build: str
    config_digest: bytes
    folded: tuple[FoldedOffset, ...]
    releases: tuple[str, ...]
    ready: bool
    reason: str
    clock_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A record that a stage could not read, with what is needed to find and explain it."""

    cluster: str
    mode: Mode
    source_topic: str
    source_partition: int
    source_offset: int
    stage: str
    error: str
    fingerprint: bytes
    payload: Section
    noted_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The body of a policy release, named by its SHA-256."""

    cluster: str
    mode: Mode
    digest: bytes
    body: bytes


DoorRecord = AgentRequest | ToolOutcome | Chunk | Enforcement | Deliveries | EpochStart | Redeem
Record = (
    DoorRecord
    | Decision
    | DecisionCore
    | Signal
    | ControlCommand
    | Snapshot
    | Checkpoint
    | Anchor
    | Heartbeat
    | DeadLetter
    | Bundle
)
