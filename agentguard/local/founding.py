# SPDX-License-Identifier: Apache-2.0
"""Founds an embedded platform: its keys, its cluster id and the command at control offset 0.

What exists is re-used and never replaced: a lost key is an event that two people see to, not one
that a restart papers over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from agentguard.adapters.avro_codec import AvroCodec, schemas
from agentguard.adapters.mldsa_signer import ALGORITHM, MlDsaSigner
from agentguard.contracts.commands import (
    ActivateRelease,
    Assurance,
    Genesis,
    KeyEntry,
    KeyPurpose,
    Recovery,
    ReleaseMode,
    SchemaEntry,
    SignedCommand,
    Thresholds,
)
from agentguard.contracts.errors import ConfigError, UndecodableError
from agentguard.contracts.hashing import command_digest
from agentguard.contracts.names import name_fault
from agentguard.contracts.ports import Clock, Entropy, Signer
from agentguard.contracts.records import ControlCommand
from agentguard.control.envelope import NONCE_BYTES, make_command
from agentguard.control.state import NO_DIGEST
from agentguard.local.platform_files import write_private

AUDIT_DOMAIN_DEFAULT = "agentguard.invalid"
SEMANTICS = 1
PERSONS = ("founder-1", "founder-2")
SEALING_KEY_ID = "sealing-1"
CONTROL_KEY_ID = "control-1"
CLUSTER_KEY_BYTES = 32
SEED_BYTES = 32

NamedSigner: TypeAlias = tuple[str, Signer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """An embedded platform's keys and founding command.

    `founders` and `control` are (key id, signer). `cluster_key` keys ids and tags made from
    content. `genesis_digest` is what every process is pinned to.
    """

    data: Path
    cluster: str
    founders: tuple[NamedSigner, ...]
    control: NamedSigner
    sealing: NamedSigner
    cluster_key: bytes = field(repr=False)
    genesis_value: bytes = field(repr=False)
    genesis_digest: bytes

    @property
    def sealing_path(self) -> Path:
        """Where the sealer finds its key."""
        return sealing_path(self.data)


def founder_path(data: Path, person: str) -> Path:
    """Returns where a founder's key lies."""
    return data / "founders" / f"{person}.pem"


def sealing_path(data: Path) -> Path:
    """Returns where the sealing key lies."""
    return data / "keys" / "sealing.pem"


def control_path(data: Path) -> Path:
    """Returns where the control plane's own key lies."""
    return data / "keys" / "control.pem"


def cluster_key_path(data: Path) -> Path:
    """Returns where the key of keyed ids lies."""
    return data / "keys" / "cluster.key"


def genesis_path(data: Path) -> Path:
    """Returns where the founding command lies, byte for byte as it is appended."""
    return data / "founders" / "genesis.bin"


def found(
    data: Path,
    *,
    entropy: Entropy,
    clock: Clock,
    cluster: str | None = None,
    audit_domain: str = AUDIT_DOMAIN_DEFAULT,
) -> Founding:
    """Returns the founding of this folder, made now where there is none.

    Safe to repeat after a crash at any point. Raises `ConfigError` where a file is unreadable,
    where the keys are not those of the founding command, or where `cluster` is another than the
    folder's.
    """
    for folder in (data / "founders", data / "keys"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if genesis_path(data).exists():
        held = (*_key_paths(data), cluster_key_path(data))
        missing = [path for path in held if not path.exists()]
        if missing:
            raise ConfigError(
                f"key file `{missing[0].name}` of a founded platform is missing",
                next_step="restore it from its holder's copy; no other key can take its place",
            )
    keys = tuple(_signer(path, entropy) for path in _key_paths(data))
    cluster_key = _keep(cluster_key_path(data), entropy.token(CLUSTER_KEY_BYTES))
    if len(cluster_key) != CLUSTER_KEY_BYTES:
        raise ConfigError("key file `cluster.key` has the wrong length")
    if not genesis_path(data).exists():
        named = cluster or f"ag-{entropy.token(6).hex()}"
        body = _genesis(keys, audit_domain, clock.now_ms())
        value = _genesis_value(body, keys, named, entropy)
        _keep(genesis_path(data), value)
    return _read(data, keys, cluster_key, cluster)


def default_release_command(
    founding: Founding, bundle_digest: bytes, *, entropy: Entropy, scope_version: int = 0
) -> bytes:
    """Returns the command that enforces the first release, signed by both founders."""
    body = ActivateRelease(
        sequence=1,
        bundle_digest=bundle_digest,
        previous_digest=NO_DIGEST,
        mode=ReleaseMode.ENFORCE,
        expires_at_ms=0,
        rollback_of=0,
    )
    return make_command(
        body,
        codec=AvroCodec(),
        cluster=founding.cluster,
        signers=founding.founders,
        nonce=entropy.token(NONCE_BYTES),
        scope_version=scope_version,
    )


def _key_paths(data: Path) -> tuple[Path, ...]:
    founders = tuple(founder_path(data, person) for person in PERSONS)
    return (*founders, sealing_path(data), control_path(data))


def _keep(path: Path, content: bytes) -> bytes:
    """Returns what the file holds, after writing `content` whole where there is none."""
    if not path.exists():
        write_private(path, content)
    return path.read_bytes()


def _signer(path: Path, entropy: Entropy) -> MlDsaSigner:
    """Returns the signer of a key file, made now where there is none."""
    if not path.exists():
        draft = path.with_name(f".{path.name}.draft")
        draft.unlink(missing_ok=True)
        MlDsaSigner.from_seed(entropy.token(SEED_BYTES)).write_file(draft)
        draft.replace(path)
    return MlDsaSigner.from_file(path)


def _entry(key_id: str, person: str, purpose: KeyPurpose, signer: MlDsaSigner) -> KeyEntry:
    return KeyEntry(
        key_id=key_id,
        person=person,
        purpose=purpose,
        algorithm=ALGORITHM,
        public_key=signer.public_key,
    )


def _genesis(keys: Sequence[MlDsaSigner], audit_domain: str, founded_at_ms: int) -> Genesis:
    *founders, sealing, control = keys
    return Genesis(
        persons=PERSONS,
        keys=(
            *(
                _entry(person, person, KeyPurpose.PERSON, signer)
                for person, signer in zip(PERSONS, founders, strict=True)
            ),
            _entry(SEALING_KEY_ID, "sealer", KeyPurpose.SEALING, sealing),
            _entry(CONTROL_KEY_ID, "control-plane", KeyPurpose.CONTROL, control),
        ),
        schemas=tuple(
            SchemaEntry(name=schema.name, fingerprint=schema.fingerprint, sha256=schema.sha256)
            for schema in schemas()
        ),
        thresholds=Thresholds(loosen=len(PERSONS), enforce_release=len(PERSONS)),
        assurance=Assurance.SINGLE_OPERATOR,
        recovery=Recovery(keys=(), threshold=0, delay_ms=0),
        semantics=SEMANTICS,
        audit_domain=audit_domain,
        founded_at_ms=founded_at_ms,
    )


def _genesis_value(
    body: Genesis, keys: Sequence[MlDsaSigner], cluster: str, entropy: Entropy
) -> bytes:
    fault = name_fault(cluster)
    if fault:
        raise ConfigError(f"the cluster id {fault}")
    return make_command(
        body,
        codec=AvroCodec(),
        cluster=cluster,
        signers=tuple(zip(PERSONS, keys, strict=False)),
        nonce=entropy.token(NONCE_BYTES),
    )


def _read(
    data: Path, keys: Sequence[MlDsaSigner], cluster_key: bytes, cluster: str | None
) -> Founding:
    value = genesis_path(data).read_bytes()
    signed, named, body = _open_genesis(value)
    held = {signer.public_key for signer in keys}
    if held != {entry.public_key for entry in body.keys}:
        raise ConfigError("the keys in this folder are not those of its founding command")
    if cluster not in (None, named):
        raise ConfigError(f"this folder belongs to cluster `{named}`")
    *founders, sealing, control = keys
    return Founding(
        data=data,
        cluster=named,
        founders=tuple(zip(PERSONS, founders, strict=True)),
        control=(CONTROL_KEY_ID, control),
        sealing=(SEALING_KEY_ID, sealing),
        cluster_key=cluster_key,
        genesis_value=value,
        genesis_digest=command_digest(signed),
    )


def _open_genesis(value: bytes) -> tuple[bytes, str, Genesis]:
    codec = AvroCodec()
    try:
        command = codec.decode(value)
        signed = codec.decode(command.signed) if isinstance(command, ControlCommand) else None
        body = codec.decode(signed.body) if isinstance(signed, SignedCommand) else None
    except UndecodableError as error:
        raise ConfigError("the founding command of this folder cannot be read") from error
    if (
        not isinstance(command, ControlCommand)
        or not isinstance(signed, SignedCommand)
        or not isinstance(body, Genesis)
    ):
        raise ConfigError("the founding command of this folder cannot be read")
    return command.signed, signed.cluster, body
