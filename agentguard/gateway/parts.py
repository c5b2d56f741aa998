# SPDX-License-Identifier: Apache-2.0
"""What the gateway is made of: everything that it does not make itself is handed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from agentguard.bounds import (
    IN_FLIGHT_MAX_DEFAULT,
    REQUEST_TIMEOUT_MS_DEFAULT,
    SLOW_CLIENT_MS_MAX,
)
from agentguard.contracts.ports import Clock, Codec, Entropy, Log, LogIndex
from agentguard.control.fold import ControlFold
from agentguard.telemetry import Metrics


def _ignore(_: object) -> None:
    """Default of both callbacks: a test that is told nothing loses nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorIdentity:
    """Who this door is on the log: a producer's name and this life's epoch, which only rises.

    `previous_last_sequence` is None after an unclean stop.
    """

    producer: str
    epoch: int
    previous_epoch: int | None = None
    previous_last_sequence: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """What may be set about a gateway."""

    cluster: str
    audit_domain: str
    request_timeout_ms: int = REQUEST_TIMEOUT_MS_DEFAULT
    in_flight_max: int = IN_FLIGHT_MAX_DEFAULT
    slow_client_ms: int = SLOW_CLIENT_MS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that a gateway works with.

    `cluster_key` keys the ids and tags that are made from content. `on_fatal` hears the reason
    when only a new process helps; `on_stopped` the last sequence of a clean stop.
    """

    log: Log
    index: LogIndex
    codec: Codec
    fold: ControlFold
    clock: Clock
    entropy: Entropy
    cluster_key: bytes = field(repr=False)
    settings: GatewaySettings
    identity: DoorIdentity
    metrics: Metrics = field(default_factory=Metrics)
    on_fatal: Callable[[str], None] = _ignore
    on_stopped: Callable[[int], None] = _ignore
