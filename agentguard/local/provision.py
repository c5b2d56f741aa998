# SPDX-License-Identifier: Apache-2.0
"""Makes a broker's users, topics and permissions what `infra/kafka/topics.yaml` says."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from agentguard.adapters.kafka_admin import KafkaAdmin, PrincipalSpec, TopicSpec
from agentguard.contracts.errors import ConfigError, LogError
from agentguard.contracts.ports import Clock, Entropy
from agentguard.local.broker import BrokerError, new_password
from agentguard.resources import resource

ADMIN: Final = "admin"
_READY_MS_MAX: Final = 30_000
_LOOK_EVERY_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """What `topics.yaml` says; `digest` names this text."""

    topics: tuple[TopicSpec, ...]
    principals: tuple[PrincipalSpec, ...]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned:
    """What had to be done: topics made or changed, permissions taken away, or nothing."""

    was_current: bool
    topics_created: tuple[str, ...]
    topics_changed: tuple[str, ...]
    permissions_revoked: int


class _TopicEntry(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    partitions: int
    records: list[str]
    config: dict[str, str | int]
    sealed: bool = False


class _PrincipalEntry(msgspec.Struct, forbid_unknown_fields=True):
    read: list[str]
    write: list[str]
    groups: list[str]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    topics: dict[str, _TopicEntry]
    principals: dict[str, _PrincipalEntry]


def read_catalogue(text: str | None = None) -> Catalogue:
    """Returns the catalogue, by default the one that travels with the package.

    Raises `ConfigError` where it contradicts itself.
    """
    if text is None:
        text = resource("infra", "kafka", "topics.yaml").read_text(encoding="utf-8")
    try:
        file = msgspec.convert(yaml.safe_load(text), _File)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise ConfigError(f"topics.yaml: {error}") from error
    topics = tuple(
        TopicSpec(
            name=name,
            key=entry.key,
            partitions=entry.partitions,
            is_sealed=entry.sealed,
            records=tuple(entry.records),
            config={setting: str(value) for setting, value in entry.config.items()},
        )
        for name, entry in file.topics.items()
    )
    principals = tuple(
        PrincipalSpec(
            name=name,
            read=tuple(entry.read),
            write=tuple(entry.write),
            groups=tuple(entry.groups),
        )
        for name, entry in file.principals.items()
    )
    _check(topics, principals)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Catalogue(topics=topics, principals=principals, digest=digest)


def new_passwords(catalogue: Catalogue, entropy: Entropy) -> dict[str, str]:
    """Returns a new password for the administrator and for every principal."""
    names = (ADMIN, *(principal.name for principal in catalogue.principals))
    return {name: new_password(entropy) for name in names}


def provision(
    bootstrap: str,
    *,
    catalogue: Catalogue,
    passwords: Mapping[str, str],
    done_file: Path,
    clock: Clock,
) -> Provisioned:
    """Makes the broker what the catalogue says; returns when every permission really works.

    `done_file` (DATA/broker/provisioned) remembers what was made: with the same catalogue and
    passwords only the permissions are proved again. Raises `LogError`, `BrokerError` on time-out.
    """
    admin = KafkaAdmin(bootstrap, username=ADMIN, password=passwords[ADMIN])
    wanted = _digest(catalogue, passwords)
    is_current = done_file.exists() and done_file.read_text(encoding="ascii") == wanted
    created: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    revoked = 0
    if not is_current:
        users = {p.name: passwords[p.name] for p in catalogue.principals}
        admin.create_users(users)
        created = admin.create_topics(catalogue.topics)
        changed = admin.set_configs([t for t in catalogue.topics if t.name not in created])
        _refuse_other_partitions(admin, catalogue)
        admin.grant(catalogue.principals)
        revoked = admin.revoke_unlisted(catalogue.principals)
    _until(clock, lambda: admin.is_serving({t.name: t.partitions for t in catalogue.topics}))
    prove_permissions(bootstrap, catalogue=catalogue, passwords=passwords, clock=clock)
    if not is_current:
        done_file.write_text(wanted, encoding="ascii")
    return Provisioned(
        was_current=is_current,
        topics_created=created,
        topics_changed=changed,
        permissions_revoked=revoked,
    )


def prove_permissions(
    bootstrap: str, *, catalogue: Catalogue, passwords: Mapping[str, str], clock: Clock
) -> None:
    """Waits until the broker grants each principal exactly what the catalogue says.

    Acknowledged permissions work only seconds later. Each principal asks the broker's authorizer
    what it may do, with its own password, and writes nothing: on a sealed topic every offset is a
    leaf of the seal. Raises `BrokerError` that names the first difference.
    """
    with ThreadPoolExecutor(len(catalogue.principals)) as pool:
        asked = [
            pool.submit(_prove, principal, bootstrap, catalogue, passwords[principal.name], clock)
            for principal in catalogue.principals
        ]
        for one in asked:
            one.result()


def _refuse_other_partitions(admin: KafkaAdmin, catalogue: Catalogue) -> None:
    """Raises where a topic has another number of partitions: keys would change their places."""
    found = admin.topic_partitions()
    for topic in catalogue.topics:
        if found.get(topic.name, topic.partitions) != topic.partitions:
            raise BrokerError(
                f"`{topic.name}` has `{found[topic.name]}` partitions, "
                f"topics.yaml says `{topic.partitions}`",
                next_step="use another data folder for another number of partitions",
            )


def _prove(
    principal: PrincipalSpec, bootstrap: str, catalogue: Catalogue, password: str, clock: Clock
) -> None:
    names = [topic.name for topic in catalogue.topics]
    expected = {name: _expected(principal, name) for name in names}
    found: dict[str, frozenset[str]] = {}

    def is_granted() -> bool:
        nonlocal found
        client = KafkaAdmin(bootstrap, username=principal.name, password=password)
        try:
            found = client.may(names)
        except LogError:
            return False
        return found == expected

    try:
        _until(clock, is_granted)
    except BrokerError as error:
        wrong = [name for name in names if found.get(name) != expected[name]]
        raise BrokerError(
            f"`{principal.name}` may `{sorted(found.get(wrong[0], ()))}` on `{wrong[0]}`, "
            f"not `{sorted(expected[wrong[0]])}`"
        ) from error


def _expected(principal: PrincipalSpec, topic: str) -> frozenset[str]:
    allowed = set()
    if topic in principal.read:
        allowed |= {"read", "describe"}
    if topic in principal.write:
        allowed |= {"write", "describe"}
    return frozenset(allowed)


def _until(clock: Clock, is_so: Callable[[], bool]) -> None:
    deadline = clock.monotonic_ms() + _READY_MS_MAX
    while not is_so():
        if clock.monotonic_ms() > deadline:
            raise BrokerError("the broker's topics and permissions were not ready in time")
        time.sleep(_LOOK_EVERY_S)


def _digest(catalogue: Catalogue, passwords: Mapping[str, str]) -> str:
    """Returns what names this catalogue with these passwords, without telling them."""
    told = "\n".join(f"{name} {passwords[name]}" for name in sorted(passwords))
    return hashlib.sha256(f"{catalogue.digest}\n{told}".encode()).hexdigest()


def _check(topics: tuple[TopicSpec, ...], principals: tuple[PrincipalSpec, ...]) -> None:
    names = {topic.name for topic in topics}
    for principal in principals:
        for topic in (*principal.read, *principal.write):
            if topic not in names:
                raise ConfigError(f"topics.yaml: `{principal.name}` names no topic: `{topic}`")
    for topic_spec in topics:
        policy: Any = topic_spec.config.get("cleanup.policy")
        keeps = topic_spec.config.get("retention.ms") == "-1"
        if topic_spec.is_sealed and (policy != "delete" or not keeps):
            raise ConfigError(f"topics.yaml: sealed `{topic_spec.name}` would lose records")
