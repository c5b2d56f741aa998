# SPDX-License-Identifier: Apache-2.0
"""The commands of `ag.control`: the frozen envelope and one body for each type.

A body is an Avro single-object frame inside `SignedCommand.body`. The envelope never changes: a
process of any age can read type, `fold_min` and scope, and reject alike what it does not know.
Interval ends of 0 mean without end.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agentguard.contracts.records import Trust

# An agent with this capability calls through an SDK that people trust to state the user's task
# and the tools' outputs as they were. Without it nobody vouches for them, and policy decides
# what such a task or output is worth.
VOUCHING_CAPABILITY: Final = "vouches-for-context"


class CommandType(StrEnum):
    """Every type of semantics 1. On the wire the type is text: an unknown one is rejected."""

    GENESIS = "Genesis"
    REGISTER_KEY = "RegisterKey"
    REGISTER_AGENT = "RegisterAgent"
    REGISTER_TOOL = "RegisterTool"
    ACTIVATE_RELEASE = "ActivateRelease"
    KILL = "Kill"
    LIFT = "Lift"
    SEMANTICS = "Semantics"
    STATE_DIGEST = "StateDigest"
    VOID_DIGEST = "VoidDigest"
    SEALED_TOPICS = "SealedTopics"
    NEW_GENERATION = "NewGeneration"


class KeyPurpose(StrEnum):
    """What a key may sign."""

    UNKNOWN = "unknown"
    PERSON = "person"
    SEALING = "sealing"
    CONTROL = "control"
    RELEASE = "release"


class Assurance(StrEnum):
    """How far apart the founding keys are held."""

    UNKNOWN = "unknown"
    SINGLE_OPERATOR = "single_operator"
    SEPARATE_PERSONS = "separate_persons"


class Registration(StrEnum):
    """Where an agent or a tool stands. Only `enabled` may be used."""

    UNKNOWN = "unknown"
    PENDING = "pending"
    ENABLED = "enabled"
    BLOCKED = "blocked"


class SideEffect(StrEnum):
    """What a tool does to the world. `unknown` counts as write."""

    UNKNOWN = "unknown"
    READ = "read"
    WRITE = "write"
    SEND = "send"
    PAY = "pay"
    DELETE = "delete"
    EXECUTE = "execute"


class Attestation(StrEnum):
    """Whether an agent's build is known. `unknown` is not verified."""

    UNKNOWN = "unknown"
    NONE = "none"
    VERIFIED = "verified"
    FAILED = "failed"


class ReleaseMode(StrEnum):
    """What a release does. Anything but `enforce` decides nothing live."""

    UNKNOWN = "unknown"
    SHADOW = "shadow"
    ENFORCE = "enforce"


class TargetKind(StrEnum):
    """What a kill covers."""

    UNKNOWN = "unknown"
    GLOBAL = "global"
    TENANT = "tenant"
    AGENT = "agent"
    USER = "user"
    SESSION = "session"
    TOOL = "tool"
    RELEASE = "release"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCommand:
    r"""What is signed: `"agentguard/command/v1\0"` | this frame, verbatim.

    `scope_version` is the version of the scope that a looser or neutral command was written
    against; a stricter one is judged without it.
    """

    cluster: str
    type: str
    fold_min: int
    audience: str
    scope: str
    scope_version: int
    not_before_ms: int
    not_after_ms: int
    nonce: bytes
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEntry:
    """A public key, who holds it and what for. `algorithm` is an RFC 9964 name."""

    key_id: str
    person: str
    purpose: KeyPurpose
    algorithm: str
    public_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaEntry:
    """A schema that records may use from here on."""

    name: str
    fingerprint: bytes
    sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """How many different persons must sign."""

    loosen: int
    enforce_release: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Keys that may act when too few persons are left; may be empty."""

    keys: tuple[KeyEntry, ...]
    threshold: int
    delay_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """Offset 0 of `ag.control`: what everything else is judged by."""

    persons: tuple[str, ...]
    keys: tuple[KeyEntry, ...]
    schemas: tuple[SchemaEntry, ...]
    thresholds: Thresholds
    assurance: Assurance
    recovery: Recovery
    semantics: int
    audit_domain: str
    founded_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterKey:
    """A key joins, or (with `revoked`) leaves."""

    key: KeyEntry
    revoked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterAgent:
    """An agent as the registry knows it.

    `credential_hash` is the SHA-256 of the whole credential text; `credential_id` its 8 clear
    characters. `expires_at_ms` 0 means without end.
    """

    tenant: str
    agent_id: str
    status: Registration
    owner: str
    version: str
    roles: tuple[str, ...]
    capabilities: tuple[str, ...]
    risk_profile: str
    attestation: Attestation
    credential_id: str
    credential_hash: bytes
    expires_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentExtractor:
    """Which typed extractor of `policy.extractors` reads an argument."""

    argument: str
    extractor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterTool:
    """A tool as the registry knows it.

    `pin` is the SHA-256 of description and parameter schema as `registry.pin_of` makes it.
    `decisive_arguments` are those that say where the effect goes (target, recipient, amount).
    """

    tenant: str
    tool: str
    status: Registration
    server: str
    version: str
    description: str
    schema_json: str
    pin: bytes
    operation: str
    side_effect: SideEffect
    categories: tuple[str, ...]
    decisive_arguments: tuple[str, ...]
    extractors: tuple[ArgumentExtractor, ...]
    output_trust: Trust
    scopes: tuple[str, ...]
    resource: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivateRelease:
    """A policy release takes effect. The bundle lies on `ag.bundles` under its SHA-256.

    Sequences rise strictly; `previous_digest` chains them; a rollback is a new sequence.
    """

    sequence: int
    bundle_digest: bytes
    previous_digest: bytes
    mode: ReleaseMode
    expires_at_ms: int
    rollback_of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Nothing in the target is allowed from here on."""

    kind: TargetKind
    tenant: str
    target: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lift:
    """A kill ends."""

    kind: TargetKind
    tenant: str
    target: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Semantics:
    """Behaviour version `number` is in force from here on, with these schemas added."""

    number: int
    schemas: tuple[SchemaEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDigest:
    """What the fold over offsets before `at_offset` comes to; readers check themselves."""

    at_offset: int
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidDigest:
    """The `StateDigest` at this offset was wrong and counts for nothing."""

    at_offset: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedTopic:
    """A topic whose partitions are sealed."""

    topic: str
    topic_id: str
    partitions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedTopics:
    """The whole list of sealed topics: an origin that is missing later is a finding."""

    topics: tuple[SealedTopic, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGeneration:
    """After real loss: the tree of this partition goes on over the survivors, the lost stay named.

    `old_size` and `old_root` are the last signed head; `survivors_root` is the root over
    offsets [0, `first_offset`).
    """

    topic: str
    topic_id: str
    partition: int
    generation: int
    first_offset: int
    old_size: int
    old_root: bytes
    survivors_root: bytes


CommandBody = (
    Genesis
    | RegisterKey
    | RegisterAgent
    | RegisterTool
    | ActivateRelease
    | Kill
    | Lift
    | Semantics
    | StateDigest
    | VoidDigest
    | SealedTopics
    | NewGeneration
)
