"""A founded control log for tests: people with keys, commands signed by them, a fold that reads.

Keys, Genesis and signatures are made once per process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from hashlib import sha256
from itertools import count

from agentguard.adapters.avro_codec import AvroCodec, schemas
from agentguard.adapters.mldsa_signer import MlDsaSigner, MlDsaVerifier
from agentguard.contracts.commands import (
    ActivateRelease,
    Assurance,
    Attestation,
    CommandBody,
    Genesis,
    KeyEntry,
    KeyPurpose,
    Kill,
    Lift,
    Recovery,
    RegisterAgent,
    RegisterTool,
    Registration,
    ReleaseMode,
    SchemaEntry,
    SideEffect,
    TargetKind,
    Thresholds,
)
from agentguard.contracts.hashing import command_digest, tool_pin
from agentguard.contracts.ports import Signer
from agentguard.contracts.records import ControlCommand, Trust
from agentguard.control.envelope import make_command
from agentguard.control.fold import ControlFold, Judgement
from agentguard.control.scopes import scope_of

CLUSTER = "ag-test"
CODEC = AvroCodec()
VERIFIER = MlDsaVerifier()
PERSONS = ("ada", "bo", "cyd")
_nonces = count(1)


@cache
def signer(name: str) -> MlDsaSigner:
    return MlDsaSigner.from_seed(sha256(name.encode()).digest())


def key(name: str, purpose: KeyPurpose = KeyPurpose.PERSON, person: str = "") -> KeyEntry:
    return KeyEntry(
        key_id=name,
        person=person or name,
        purpose=purpose,
        algorithm="ML-DSA-44",
        public_key=signer(name).public_key,
    )


def genesis_body(persons: Sequence[str] = PERSONS[:2]) -> Genesis:
    return Genesis(
        persons=tuple(persons),
        keys=(
            *(key(person) for person in persons),
            key("sealing", KeyPurpose.SEALING),
            key("control", KeyPurpose.CONTROL),
        ),
        schemas=tuple(
            SchemaEntry(name=s.name, fingerprint=s.fingerprint, sha256=s.sha256) for s in schemas()
        ),
        thresholds=Thresholds(loosen=2, enforce_release=2),
        assurance=Assurance.SINGLE_OPERATOR,
        recovery=Recovery(keys=(), threshold=0, delay_ms=0),
        semantics=1,
        audit_domain="agentguard.invalid",
        founded_at_ms=1_795_600_000_000,
    )


def nonce() -> bytes:
    return next(_nonces).to_bytes(16, "big")


def named(names: Sequence[str]) -> list[tuple[str, Signer]]:
    return [(name, signer(name)) for name in names]


def command(body: CommandBody, *names: str, scope_version: int = 0, **envelope: object) -> bytes:
    """Returns a command signed by these keys."""
    return make_command(
        body,
        codec=CODEC,
        cluster=CLUSTER,
        signers=named(names),
        nonce=nonce(),
        scope_version=scope_version,
        **envelope,  # type: ignore[arg-type]
    )


def genesis_value(persons: Sequence[str] = PERSONS[:2]) -> bytes:
    return _genesis_value(persons)


@cache
def _genesis_value(persons: tuple[str, ...]) -> bytes:
    return command(genesis_body(persons), *persons)


def digest_of(value: bytes) -> bytes:
    record = CODEC.decode(value)
    assert isinstance(record, ControlCommand)
    return command_digest(record.signed)


class World:
    """A fold after Genesis, with people who sign what it reads next."""

    def __init__(self, persons: Sequence[str] = PERSONS[:2]) -> None:
        value = genesis_value(persons)
        self.fold = ControlFold(CODEC, VERIFIER, digest_of(value))
        assert self.fold.apply(0, value).accepted

    def read(self, value: bytes | None) -> Judgement:
        return self.fold.apply(self.fold.folded + 1, value)

    def do(self, body: CommandBody, *names: str, **envelope: object) -> Judgement:
        """Signs a command against the scope version on record, and lets the fold read it."""
        version = self.fold.scope_version(scope_of(body))
        return self.read(command(body, *names, scope_version=version, **envelope))

    def is_killed(self, now_ms: int = 0, **who: object) -> bool:
        call: dict[str, object] = {
            "tenant": "default",
            "agent_id": "mail",
            "tool": "send",
            "session_id": "s-1",
            "user": "u-1",
            "release": 1,
            **who,
        }
        return self.fold.kill(now_ms=now_ms, **call) is not None  # type: ignore[arg-type]


def agent(
    agent_id: str = "mail", status: Registration = Registration.ENABLED, **members: object
) -> RegisterAgent:
    body = RegisterAgent(
        tenant="default",
        agent_id=agent_id,
        status=status,
        owner="ops",
        version="1",
        roles=("assistant",),
        capabilities=(),
        risk_profile="",
        attestation=Attestation.NONE,
        credential_id="abcd2345",
        credential_hash=sha256(agent_id.encode()).digest(),
        expires_at_ms=0,
    )
    return replace(body, **members)  # type: ignore[arg-type]


def tool(
    name: str = "send", status: Registration = Registration.ENABLED, **members: object
) -> RegisterTool:
    body = RegisterTool(
        tenant="default",
        tool=name,
        status=status,
        server="",
        version="",
        description="sends a mail",
        schema_json="{}",
        pin=tool_pin("sends a mail", "{}"),
        operation="send",
        side_effect=SideEffect.SEND,
        categories=(),
        decisive_arguments=("to",),
        extractors=(),
        output_trust=Trust.UNTRUSTED,
        scopes=(),
        resource="",
    )
    return replace(body, **members)  # type: ignore[arg-type]


def kill(
    kind: TargetKind = TargetKind.AGENT, target: str = "mail", tenant: str = "default"
) -> Kill:
    return Kill(kind=kind, tenant=tenant, target=target, reason="test")


def lift(
    kind: TargetKind = TargetKind.AGENT, target: str = "mail", tenant: str = "default"
) -> Lift:
    return Lift(kind=kind, tenant=tenant, target=target, reason="test")


def release(sequence: int = 1, previous: bytes = bytes(32), **members: object) -> ActivateRelease:
    body = ActivateRelease(
        sequence=sequence,
        bundle_digest=sha256(b"bundle %d" % sequence).digest(),
        previous_digest=previous,
        mode=ReleaseMode.ENFORCE,
        expires_at_ms=0,
        rollback_of=0,
    )
    return replace(body, **members)  # type: ignore[arg-type]
