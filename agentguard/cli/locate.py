# SPDX-License-Identifier: Apache-2.0
"""Finds a running platform: `--data`, then `AGENTGUARD_DATA`, then `./data`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer

from agentguard.config import load_settings
from agentguard.contracts.errors import ConfigError

T = TypeVar("T")

DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="folder of the platform (AGENTGUARD_DATA, then ./data)"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON, one object")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A user of the log."""

    username: str
    password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What `platform.json` of a data folder says."""

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

    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCredential:
    """Who may ask the store's door."""

    user: str
    password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What `credentials.json` of a data folder says."""

    agents: dict[str, AgentCredential]
    store: StoreCredential


def data_folder(option: Path | None) -> Path:
    """Returns the data folder that a verb works on."""
    return option.absolute() if option is not None else load_settings().data


def read_platform(data: Path) -> Platform:
    """Returns the platform of a data folder. Raises `ConfigError` where none was started."""
    return _read(data / "platform.json", Platform)


def read_credentials(data: Path) -> Credentials:
    """Returns the credentials of a data folder. Raises `ConfigError`."""
    return _read(data / "credentials.json", Credentials)


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.convert(json.loads(path.read_bytes()), kind)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise ConfigError(
            f"no platform in folder `{path.parent.name}`: `{path.name}` is missing or unreadable",
            next_step="agentguard up, or name its folder with --data",
        ) from error
