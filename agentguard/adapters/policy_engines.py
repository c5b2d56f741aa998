# SPDX-License-Identifier: Apache-2.0
"""Which policy engine decides: chosen by setting, loaded only where it is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from agentguard.contracts.errors import ConfigError
from agentguard.contracts.ports import PolicyEngine
from agentguard.policy.release import Release


def _regorus(release: Release) -> PolicyEngine:
    from agentguard.adapters.regorus_engine import RegorusEngine

    return RegorusEngine(release)


def _cedarpy(release: Release) -> PolicyEngine:
    from agentguard.adapters.cedarpy_engine import CedarpyEngine

    return CedarpyEngine(release)


_MAKERS: Final[Mapping[str, Callable[[Release], PolicyEngine]]] = {
    "regorus": _regorus,
    "cedarpy": _cedarpy,
}


def engine_maker(name: str) -> Callable[[Release], PolicyEngine]:
    """Returns what makes an engine of this name from a release. Raises `ConfigError`."""
    maker = _MAKERS.get(name)
    if maker is None:
        raise ConfigError(f"unknown policy engine `{name}`")
    return maker
