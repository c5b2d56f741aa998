# SPDX-License-Identifier: Apache-2.0
"""What an administrator may do to a Kafka cluster: users, topics, permissions, and looking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

import confluent_kafka as ck
import confluent_kafka.admin as ck_admin

from agentguard.contracts.errors import LogError

_admin: Any = ck_admin  # its type hints do not fit what it takes and gives
_ASK_S: Final = 20.0
_SCRAM_ITERATIONS: Final = 8_192
_EXISTS: Final = ck.KafkaError.TOPIC_ALREADY_EXISTS
_REFUSED: Final = ck.KafkaError.TOPIC_AUTHORIZATION_FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """A topic as it must be. `records` are the kinds that it may hold."""

    name: str
    key: str
    partitions: int
    is_sealed: bool
    records: tuple[str, ...]
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipalSpec:
    """What one principal may do; `groups` are prefixes of consumer group names."""

    name: str
    read: tuple[str, ...]
    write: tuple[str, ...]
    groups: tuple[str, ...]


class KafkaAdmin:
    """An administrator's client. Every method raises `LogError` where the cluster refuses."""

    def __init__(
        self,
        bootstrap: str,
        *,
        username: str,
        password: str,
        settings: Mapping[str, str | int | bool] | None = None,
    ) -> None:
        secured = {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": username,
            "sasl.password": password,
        }
        self._errors: list[str] = []
        self._client = _admin.AdminClient(
            {
                "bootstrap.servers": bootstrap,
                "client.id": f"{username}-admin",
                "log_level": 0,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 100,
                "error_cb": lambda error: self._errors.append(error.name()),
                **(secured if username else {}),
                **(settings or {}),
            }
        )

    def cluster_id(self, timeout_s: float) -> str:
        """Returns the cluster's id once a broker is registered in it; `` while there is none.

        Raises `LogError` where the cluster answers that the password is wrong.
        """
        try:
            found = self._client.list_topics(timeout=timeout_s)
        except ck.KafkaException as error:
            self._client.poll(0)
            if "_AUTHENTICATION" in self._errors:
                raise LogError("the log refuses this user or password") from error
            return ""
        return str(found.cluster_id) if found.brokers else ""

    def create_users(self, passwords: Mapping[str, str]) -> None:
        """Sets the SCRAM-SHA-512 password of each user, whether or not it exists."""
        kind = _admin.ScramCredentialInfo(_admin.ScramMechanism.SCRAM_SHA_512, _SCRAM_ITERATIONS)
        wanted = [
            _admin.UserScramCredentialUpsertion(user, kind, password.encode())
            for user, password in passwords.items()
        ]
        self._await(self._client.alter_user_scram_credentials(wanted), "setting passwords")

    def create_topics(self, topics: Sequence[TopicSpec]) -> tuple[str, ...]:
        """Creates the topics that do not exist yet; returns their names."""
        wanted = [
            _admin.NewTopic(one.name, one.partitions, 1, config=dict(one.config)) for one in topics
        ]
        created = []
        for name, future in self._client.create_topics(wanted, request_timeout=_ASK_S).items():
            try:
                future.result(_ASK_S)
                created.append(name)
            except ck.KafkaException as error:
                if error.args[0].code() != _EXISTS:
                    raise _log_error(error, f"creating topic `{name}`") from error
        return tuple(created)

    def set_configs(self, topics: Sequence[TopicSpec]) -> tuple[str, ...]:
        """Sets what differs from the topics' settings; returns the names of those it changed."""
        in_force = self.topic_configs([one.name for one in topics])
        wanted = []
        for one in topics:
            found = in_force[one.name]
            entries = [
                _admin.ConfigEntry(name, value, incremental_operation=_admin.AlterConfigOpType.SET)
                for name, value in one.config.items()
                if found.get(name) != value
            ]
            if entries:
                kind = _admin.ConfigResource.Type.TOPIC
                wanted.append(_admin.ConfigResource(kind, one.name, incremental_configs=entries))
        if wanted:
            asked = self._client.incremental_alter_configs(wanted, request_timeout=_ASK_S)
            self._await(asked, "setting topics")
        return tuple(resource.name for resource in wanted)

    def delete_topics(self, names: Sequence[str]) -> None:
        """Deletes topics; the next ones of these names have other ids."""
        asked = self._client.delete_topics(list(names), request_timeout=_ASK_S)
        self._await(asked, "deleting topics")

    def grant(self, principals: Sequence[PrincipalSpec]) -> None:
        """Grants what the principals may do. Takes nothing away; returns before it works."""
        wanted = [binding for principal in principals for binding in _bindings(principal)]
        self._await(self._client.create_acls(wanted, request_timeout=_ASK_S), "granting")

    def revoke_unlisted(self, principals: Sequence[PrincipalSpec]) -> int:
        """Deletes every permission that the principals' list does not hold; returns how many."""
        listed = {binding for principal in principals for binding in _bindings(principal)}
        extra = [binding for binding in self._bindings_in_force() if binding not in listed]
        filters = [
            _admin.AclBindingFilter(
                binding.restype,
                binding.name,
                binding.resource_pattern_type,
                binding.principal,
                binding.host,
                binding.operation,
                binding.permission_type,
            )
            for binding in extra
        ]
        if filters:
            self._await(self._client.delete_acls(filters, request_timeout=_ASK_S), "revoking")
        return len(filters)

    def permissions(self) -> frozenset[tuple[str, str, str, str]]:
        """Returns the permissions in force: principal, operation, kind of resource, its name."""
        return frozenset(
            (
                binding.principal.removeprefix("User:"),
                binding.operation.name.lower(),
                binding.restype.name.lower(),
                binding.name,
            )
            for binding in self._bindings_in_force()
        )

    def topic_configs(self, topics: Sequence[str]) -> dict[str, dict[str, str]]:
        """Returns the settings in force of each topic."""
        if not topics:
            return {}
        asked = [
            _admin.ConfigResource(_admin.ConfigResource.Type.TOPIC, str(name)) for name in topics
        ]
        told = self._await(
            self._client.describe_configs(asked, request_timeout=_ASK_S), "asking for settings"
        )
        return {
            resource.name: {name: entry.value for name, entry in entries.items()}
            for resource, entries in told.items()
        }

    def topic_partitions(self) -> dict[str, int]:
        """Returns how many partitions every topic has, the cluster's own left out."""
        try:
            found = self._client.list_topics(timeout=_ASK_S).topics
        except ck.KafkaException as error:
            raise _log_error(error, "asking for topics") from error
        return {
            name: len(topic.partitions)
            for name, topic in found.items()
            if not name.startswith("__")
        }

    def is_serving(self, topics: Mapping[str, int]) -> bool:
        """Returns whether every partition of these topics answers for its end."""
        asked: dict[ck.TopicPartition, Any] = {
            ck.TopicPartition(name, number): _admin.OffsetSpec.latest()
            for name, count in topics.items()
            for number in range(count)
        }
        futures = self._client.list_offsets(asked, request_timeout=_ASK_S)
        return all(_succeeds(future) for future in futures.values())

    def may(self, topics: Sequence[str]) -> dict[str, frozenset[str]]:
        """Returns what this client's own user may do to each topic, as the broker judges it.

        Nothing is written. A topic that it may not even see has an empty set.
        """
        futures = self._client.describe_topics(
            ck.TopicCollection(list(topics)),
            include_authorized_operations=True,
            request_timeout=_ASK_S,
        )
        allowed: dict[str, frozenset[str]] = {}
        for name, future in futures.items():
            try:
                operations = future.result(_ASK_S).authorized_operations
                allowed[name] = frozenset(one.name.lower() for one in operations)
            except ck.KafkaException as error:
                if error.args[0].code() != _REFUSED:
                    raise _log_error(error, f"asking for topic `{name}`") from error
                allowed[name] = frozenset()
        return allowed

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Deletes what lies below an offset."""
        asked = [ck.TopicPartition(topic, partition, before)]
        self._await(self._client.delete_records(asked, request_timeout=_ASK_S), "deleting records")

    def _bindings_in_force(self) -> list[Any]:
        anything = _admin.AclBindingFilter(
            _admin.ResourceType.ANY,
            None,
            _admin.ResourcePatternType.ANY,
            None,
            None,
            _admin.AclOperation.ANY,
            _admin.AclPermissionType.ANY,
        )
        try:
            found: list[Any] = self._client.describe_acls(anything, request_timeout=_ASK_S).result(
                _ASK_S
            )
        except ck.KafkaException as error:
            raise _log_error(error, "asking for permissions") from error
        return found

    def _await(self, futures: Mapping[Any, Future[Any]], doing: str) -> dict[Any, Any]:
        try:
            return {key: future.result(_ASK_S) for key, future in futures.items()}
        except ck.KafkaException as error:
            raise _log_error(error, doing) from error


def _bindings(principal: PrincipalSpec) -> list[Any]:
    """Returns the permissions of a principal; describing comes with reading or writing."""
    literal, prefixed = _admin.ResourcePatternType.LITERAL, _admin.ResourcePatternType.PREFIXED
    wanted = [
        (_admin.ResourceType.TOPIC, topic, literal, _admin.AclOperation.READ)
        for topic in principal.read
    ]
    wanted += [
        (_admin.ResourceType.TOPIC, topic, literal, _admin.AclOperation.WRITE)
        for topic in principal.write
    ]
    wanted += [
        (_admin.ResourceType.GROUP, group, prefixed, _admin.AclOperation.READ)
        for group in principal.groups
    ]
    return [
        _admin.AclBinding(
            kind,
            name,
            pattern,
            f"User:{principal.name}",
            "*",
            operation,
            _admin.AclPermissionType.ALLOW,
        )
        for kind, name, pattern, operation in wanted
    ]


def _succeeds(future: Future[Any]) -> bool:
    try:
        future.result(_ASK_S)
    except ck.KafkaException:
        return False
    return True


def _log_error(error: ck.KafkaException, doing: str) -> LogError:
    return LogError(f"the log answered `{error.args[0].name()}` on {doing}")
