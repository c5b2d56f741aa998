# SPDX-License-Identifier: Apache-2.0
"""What the control log comes to: registry, keys, releases, kills, and the questions asked of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

from agentguard.contracts.commands import (
    ActivateRelease,
    CommandBody,
    Genesis,
    KeyEntry,
    KeyPurpose,
    Kill,
    Lift,
    NewGeneration,
    RegisterAgent,
    RegisterKey,
    RegisterTool,
    Registration,
    ReleaseMode,
    SchemaEntry,
    SealedTopic,
    SealedTopics,
    Semantics,
    SignedCommand,
    StateDigest,
    TargetKind,
    Thresholds,
    VoidDigest,
)
from agentguard.contracts.hashing import DIGEST_BYTES, chain_next
from agentguard.control.kills import KillBoard, StandingKill

NO_DIGEST = bytes(DIGEST_BYTES)
_Foundation: TypeAlias = (
    Genesis | RegisterKey | Semantics | StateDigest | VoidDigest | SealedTopics | NewGeneration
)


class ControlState:
    """The state of the control log. It has no clock: whoever asks says at which time.

    Questions of the hot path (`agent`, `tool`, `agent_by_credential`, `kill`, `release`) are
    dictionary look-ups.
    """

    def __init__(self) -> None:
        self.cluster = ""
        self.semantics = 0
        self.genesis: Genesis | None = None
        self._keys: dict[str, KeyEntry] = {}
        self._retired: dict[str, KeyEntry] = {}
        self._schemas: dict[bytes, SchemaEntry] = {}
        self._agents: dict[tuple[str, str], RegisterAgent] = {}
        self._by_credential: dict[bytes, tuple[str, str]] = {}
        self._tools: dict[tuple[str, str], RegisterTool] = {}
        self._releases: dict[int, ActivateRelease] = {}
        self._enforced: list[tuple[int, ActivateRelease]] = []
        self._kills = KillBoard()
        self._sealed: tuple[SealedTopic, ...] = ()
        self._generations: dict[tuple[str, str, int], NewGeneration] = {}
        self._stated: dict[int, tuple[bytes, ...]] = {}
        self._voided: dict[int, str] = {}
        self._scope_versions: dict[str, int] = {}
        self._accepted: set[bytes] = set()
        self._accepted_chain = NO_DIGEST

    # -- registry ---------------------------------------------------------------------------------

    def agent(self, tenant: str, agent_id: str) -> RegisterAgent | None:
        """Returns an agent's registration, whatever its status."""
        return self._agents.get((tenant, agent_id))

    def agent_by_credential(self, sha256: bytes) -> RegisterAgent | None:
        """Returns the agent whose credential has this hash, whatever its status."""
        key = self._by_credential.get(sha256)
        return None if key is None else self._agents[key]

    def tool(self, tenant: str, name: str) -> RegisterTool | None:
        """Returns a tool's registration, whatever its status."""
        return self._tools.get((tenant, name))

    def agents(self) -> Iterator[RegisterAgent]:
        """Yields every agent in order of tenant and id."""
        return (self._agents[key] for key in sorted(self._agents))

    def tools(self) -> Iterator[RegisterTool]:
        """Yields every tool in order of tenant and name."""
        return (self._tools[key] for key in sorted(self._tools))

    # -- releases and kills -----------------------------------------------------------------------

    def release(self, now_ms: int) -> ActivateRelease | None:
        """Returns the enforced release of the highest sequence that has begun, expired or not."""
        for start_ms, release in reversed(self._enforced):
            if start_ms <= now_ms:
                return release
        return None

    def release_expired(self, now_ms: int) -> bool:
        """Returns whether the release in force has expired; no release is none that expired."""
        release = self.release(now_ms)
        return release is not None and 0 < release.expires_at_ms <= now_ms

    def last_release(self) -> ActivateRelease | None:
        """Returns the release of the highest sequence, shadow or enforced, begun or not."""
        return next(reversed(self._releases.values()), None)

    def release_of(self, sequence: int) -> ActivateRelease | None:
        """Returns the release of this sequence."""
        return self._releases.get(sequence)

    def releases(self) -> Iterator[ActivateRelease]:
        """Yields every release in order of sequence."""
        return iter(self._releases.values())

    def kill(
        self,
        *,
        tenant: str,
        agent_id: str,
        tool: str,
        session_id: str,
        user: str,
        release: int,
        now_ms: int,
    ) -> Kill | None:
        """Returns the widest kill that covers this call at this time.

        Seven arguments, because a kill can name each of them. Empty texts and release 0 are
        covered by no kill of their kind.
        """
        if self._kills.is_empty:
            return None
        standing = self._kills.standing
        return (
            standing(TargetKind.GLOBAL, "", "", now_ms)
            or standing(TargetKind.TENANT, tenant, "", now_ms)
            or standing(TargetKind.AGENT, tenant, agent_id, now_ms)
            or standing(TargetKind.USER, tenant, user, now_ms)
            or standing(TargetKind.SESSION, tenant, session_id, now_ms)
            or standing(TargetKind.TOOL, tenant, tool, now_ms)
            or standing(TargetKind.RELEASE, "", str(release), now_ms)
        )

    def kills(self) -> Iterator[StandingKill]:
        """Yields every kill with its interval, ended ones too."""
        return self._kills.listed()

    def is_killed_ever(self, kind: TargetKind, tenant: str, target: str) -> bool:
        """Returns whether any kill of this target stands at any time."""
        return bool(self._kills.spans(kind, tenant, target))

    # -- keys, schemas, seals ---------------------------------------------------------------------

    def keys(self) -> Mapping[str, KeyEntry]:
        """Returns the keys in force by key id, oldest first. Not to be changed."""
        return self._keys

    def persons(self) -> frozenset[str]:
        """Returns everybody who holds a personal key in force."""
        return frozenset(
            key.person for key in self._keys.values() if key.purpose is KeyPurpose.PERSON
        )

    def persons_without(self, key_id: str) -> frozenset[str]:
        """Returns everybody who could still sign once this key is gone."""
        return frozenset(
            key.person
            for key in self._keys.values()
            if key.purpose is KeyPurpose.PERSON and key.key_id != key_id
        )

    def sealing_key(self) -> KeyEntry | None:
        """Returns the newest sealing key in force."""
        found = (k for k in reversed(self._keys.values()) if k.purpose is KeyPurpose.SEALING)
        return next(found, None)

    def knows_key(self, key: KeyEntry) -> bool:
        """Returns whether the id or the public key was ever on record, revoked ones too."""
        known = (*self._keys.values(), *self._retired.values())
        return any(k.key_id == key.key_id or k.public_key == key.public_key for k in known)

    def thresholds(self) -> Thresholds:
        """Returns how many persons must sign; before Genesis more than there can be."""
        never = Thresholds(loosen=2**31, enforce_release=2**31)
        return never if self.genesis is None else self.genesis.thresholds

    def is_readable(self, fingerprint: bytes) -> bool:
        """Returns whether Genesis or a `Semantics` command so far lists this schema."""
        return fingerprint in self._schemas

    def sealed_topics(self) -> tuple[SealedTopic, ...]:
        """Returns the topics whose partitions are sealed."""
        return self._sealed

    def generation(self, topic: str, topic_id: str, partition: int) -> NewGeneration | None:
        """Returns the newest generation of a partition's tree; None is generation 0."""
        return self._generations.get((topic, topic_id, partition))

    def scope_version(self, scope: str) -> int:
        """Returns how many commands of this scope took effect."""
        return self._scope_versions.get(scope, 0)

    def has_folded(self, digest: bytes) -> bool:
        """Returns whether the command of this digest took effect: none does so twice."""
        return digest in self._accepted

    def image(self) -> dict[str, object]:
        """Returns the whole state in an order that depends on nothing but the state.

        Accepted commands are in it as the chain over their digests: constant in size.
        """
        return {
            "cluster": self.cluster,
            "semantics": self.semantics,
            "genesis": self.genesis,
            "keys": list(self._keys.values()),
            "retired": list(self._retired.values()),
            "schemas": [self._schemas[mark] for mark in sorted(self._schemas)],
            "agents": list(self.agents()),
            "tools": list(self.tools()),
            "releases": list(self._releases.values()),
            "enforced": [(start_ms, release.sequence) for start_ms, release in self._enforced],
            "kills": list(self.kills()),
            "sealed": self._sealed,
            "generations": [self._generations[key] for key in sorted(self._generations)],
            "stated": sorted(self._stated.items()),
            "voided": sorted(self._voided.items()),
            "scopes": sorted(self._scope_versions.items()),
            "accepted": self._accepted_chain,
        }

    # -- effects ----------------------------------------------------------------------------------

    def enact(self, signed: SignedCommand, body: CommandBody, digest: bytes) -> None:
        """Lets an accepted command take effect. Only the judge may say that it is accepted."""
        self._accepted.add(digest)
        self._accepted_chain = chain_next(self._accepted_chain, digest)
        self._scope_versions[signed.scope] = self.scope_version(signed.scope) + 1
        match body:
            case RegisterAgent():
                self._enact_agent(body)
            case RegisterTool():
                self._enact_tool(body)
            case Kill():
                self._kills.add(body, signed.not_before_ms, signed.not_after_ms)
            case Lift():
                self._kills.lift(body, signed.not_before_ms, signed.not_after_ms)
            case ActivateRelease():
                self._releases[body.sequence] = body
                if body.mode is ReleaseMode.ENFORCE:
                    self._enforced.append((signed.not_before_ms, body))
            case _:
                self._enact_foundation(signed, body)

    def _enact_foundation(self, signed: SignedCommand, body: _Foundation) -> None:
        match body:
            case Genesis():
                self.genesis, self.cluster, self.semantics = body, signed.cluster, body.semantics
                self._keys.update((key.key_id, key) for key in body.keys)
                self._schemas.update((schema.fingerprint, schema) for schema in body.schemas)
            case RegisterKey():
                self._enact_key(body)
            case Semantics():
                self.semantics = body.number
                self._schemas.update((schema.fingerprint, schema) for schema in body.schemas)
            case StateDigest():
                said = self._stated.get(body.at_offset, ())
                self._stated[body.at_offset] = (*said, body.digest)
            case VoidDigest():
                self._voided[body.at_offset] = body.reason
            case SealedTopics():
                self._sealed = body.topics
            case NewGeneration():
                self._generations[(body.topic, body.topic_id, body.partition)] = body

    def _enact_agent(self, body: RegisterAgent) -> None:
        key = (body.tenant, body.agent_id)
        before = self._agents.get(key)
        # INVARIANT: a block, which one person may sign, changes the status and nothing else
        after = replace(before, status=body.status) if before and is_block(body) else body
        if before and before.credential_hash:
            del self._by_credential[before.credential_hash]
        if after.credential_hash:
            self._by_credential[after.credential_hash] = key
        self._agents[key] = after

    def _enact_tool(self, body: RegisterTool) -> None:
        key = (body.tenant, body.tool)
        before = self._tools.get(key)
        self._tools[key] = (
            replace(before, status=body.status) if before and is_block(body) else body
        )

    def _enact_key(self, body: RegisterKey) -> None:
        if body.revoked:
            gone = self._keys.pop(body.key.key_id)
            self._retired[gone.key_id] = gone
        else:
            self._keys[body.key.key_id] = body.key


def is_block(body: RegisterAgent | RegisterTool) -> bool:
    """Returns whether a registration does nothing but forbid."""
    return body.status is Registration.BLOCKED
