# SPDX-License-Identifier: Apache-2.0
"""What the embedded platform keeps in its data folder about itself: `platform.json`, credentials.

Both are written in one step (temporary file, rename) with mode 0600: they hold passwords.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from agentguard.contracts.errors import ConfigError

T = TypeVar("T")

_MENDS: Final = {
    "platform.json": "start the platform again: `agentguard up` writes this file anew",
    "credentials.json": "restore it from a copy; or move it away, start, register agents again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A user of the log."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """Where the platform of this folder answers and as whom one may ask it."""

    cluster: str
    bootstrap: str
    gateway: str
    store: str
    genesis_digest: str
    audit_domain: str
    tenant: str
    principals: dict[str, Principal]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCredential:
    """The secret of one agent."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCredential:
    """Who may ask the store's door."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Everything that a person on this machine needs to ask the platform."""

    agents: dict[str, AgentCredential]
    people: dict[str, str]
    store: StoreCredential


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What the platform keeps for its own processes; principals' passwords by name."""

    kafka_cluster: str
    passwords: dict[str, str] = field(repr=False)
    store_password: str = field(repr=False)


def read_secrets(data: Path) -> Secrets | None:
    """Returns the platform's own secrets, or None before its first start."""
    path = data / "secrets.json"
    return _read(path, Secrets) if path.exists() else None


def write_secrets(data: Path, secrets: Secrets) -> None:
    """Replaces `secrets.json`."""
    write_private(data / "secrets.json", msgspec.json.format(msgspec.json.encode(secrets)))


def read_platform(data: Path) -> Platform:
    """Returns the platform of a data folder. Raises `ConfigError` where none was started."""
    return _read(data / "platform.json", Platform)


def read_credentials(data: Path) -> Credentials:
    """Returns the credentials of a data folder. Raises `ConfigError`."""
    return _read(data / "credentials.json", Credentials)


def write_platform(data: Path, platform: Platform) -> None:
    """Replaces `platform.json`."""
    write_private(data / "platform.json", msgspec.json.format(msgspec.json.encode(platform)))


def write_credentials(data: Path, credentials: Credentials) -> None:
    """Replaces `credentials.json`."""
    write_private(data / "credentials.json", msgspec.json.format(msgspec.json.encode(credentials)))


@contextmanager
def change_credentials(data: Path) -> Iterator[Credentials]:
    """Lends the credentials and writes them back; two verbs at once do it one after the other."""
    with (data / ".credentials.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        credentials = read_credentials(data)
        yield credentials
        write_credentials(data, credentials)


def write_private(path: Path, content: bytes) -> None:
    """Writes a file of mode 0600 in one step: a reader sees the old text or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError as error:
        raise ConfigError(
            f"no platform in folder `{path.parent.name}`: `{path.name}` is missing",
            next_step="agentguard up, or name its folder with --data",
        ) from error
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(
            f"`{path}` cannot be read or is damaged",
            next_step=_MENDS.get(path.name, "restore it from a copy"),
        ) from error
