# SPDX-License-Identifier: Apache-2.0
"""How the registry makes an agent: its credential, of which the log sees only the hash."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from hashlib import sha256

from agentguard.contracts.commands import Attestation, RegisterAgent, Registration
from agentguard.registry.names import RegistrationError, check_name

CREDENTIAL_PREFIX = "agk"
CREDENTIAL_ID_BYTES = 6
CREDENTIAL_SECRET_BYTES = 32
CREDENTIAL_BYTES = CREDENTIAL_ID_BYTES + CREDENTIAL_SECRET_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What an agent proves itself with. `token` is shown once and never lies on a log."""

    id: str
    token: str = field(repr=False)

    @property
    def sha256(self) -> bytes:
        """The hash that the control log carries."""
        return credential_hash(self.token)


def credential_hash(token: str) -> bytes:
    """Returns the hash by which a credential is found: SHA-256 of its whole text."""
    return sha256(token.encode()).digest()


def make_credential(random: bytes) -> Credential:
    """Returns the credential `agk_<8 id>_<43 base64url>` made of 38 random bytes."""
    if len(random) != CREDENTIAL_BYTES:
        raise RegistrationError(f"a credential is made of {CREDENTIAL_BYTES} random bytes")
    # `_` separates the parts, so the id holds none
    label = base64.b32encode(random[:CREDENTIAL_ID_BYTES]).decode().lower()[:8]
    secret = base64.urlsafe_b64encode(random[CREDENTIAL_ID_BYTES:]).decode().rstrip("=")
    return Credential(id=label, token=f"{CREDENTIAL_PREFIX}_{label}_{secret}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLabels:
    """What a person says about an agent. `expires_at_ms` 0 is without end."""

    status: Registration = Registration.ENABLED
    owner: str = ""
    version: str = ""
    roles: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    risk_profile: str = ""
    attestation: Attestation = Attestation.NONE
    expires_at_ms: int = 0


def make_agent(
    agent_id: str, *, tenant: str, credential: Credential, labels: AgentLabels | None = None
) -> RegisterAgent:
    """Returns the registration of an agent. Raises `RegistrationError`."""
    said = labels or AgentLabels()
    return RegisterAgent(
        tenant=check_name("tenant", tenant),
        agent_id=check_name("agent id", agent_id),
        status=said.status,
        owner=said.owner,
        version=said.version,
        roles=said.roles,
        capabilities=said.capabilities,
        risk_profile=said.risk_profile,
        attestation=said.attestation,
        credential_id=credential.id,
        credential_hash=credential.sha256,
        expires_at_ms=said.expires_at_ms,
    )


def is_expired(agent: RegisterAgent, now_ms: int) -> bool:
    """Returns whether the registration is over."""
    return 0 < agent.expires_at_ms <= now_ms
