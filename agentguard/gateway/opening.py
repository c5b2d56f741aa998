# SPDX-License-Identifier: Apache-2.0
"""Opens the log for the gateway: control folded to its end, decisions positioned, pen in hand."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from agentguard import __version__
from agentguard.contracts.errors import ConfigError
from agentguard.contracts.records import Role
from agentguard.contracts.topics import Topic
from agentguard.gateway.compose import Composer
from agentguard.gateway.decisions_feed import DecisionsFeed
from agentguard.gateway.deliveries import DeliveryBook
from agentguard.gateway.door import Door
from agentguard.gateway.enforcements import Enforcements
from agentguard.gateway.known import KnownOutcomes
from agentguard.gateway.parts import Parts
from agentguard.gateway.reply import Replies
from agentguard.pipeline.control_feed import CONTROL_START, ControlFeed
from agentguard.pipeline.heartbeats import Heartbeats, ProcessIdentity

_PUMP_MS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What exists once the log is open."""

    partitions: int
    control: ControlFeed
    door: Door
    enforcements: Enforcements
    deliveries: DeliveryBook
    composer: Composer
    replies: Replies
    heartbeats: Heartbeats


def open_log(parts: Parts, known: KnownOutcomes, decisions: DecisionsFeed) -> Opened:
    """Returns everything that needs the log. Blocks; raises `LogError` while the log is away.

    The end of every decisions partition is read here, before anything is accepted.
    """
    settings = parts.settings
    partitions = parts.index.partitions(Topic.REQUESTS)
    if partitions != parts.index.partitions(Topic.DECISIONS):
        raise ConfigError("requests and decisions have different numbers of partitions")
    # tried again after a failure: a fold that has begun goes on where it stands
    start = {at: max(offset, parts.fold.folded + 1) for at, offset in CONTROL_START.items()}
    control = ControlFeed(parts.log.reader(start), parts.index, parts.fold, parts.clock)
    control.ask_end()
    while parts.fold.folded + 1 < control.measured_end:
        control.pump(_PUMP_MS)
    decisions.open()
    writer = parts.log.writer(f"{parts.identity.producer}-door")
    door = Door(
        cluster=settings.cluster,
        identity=parts.identity,
        codec=parts.codec,
        writer=writer,
        fold=parts.fold,
        metrics=parts.metrics,
    )
    return Opened(
        partitions=partitions,
        control=control,
        door=door,
        enforcements=Enforcements(door, parts.clock, parts.metrics),
        deliveries=DeliveryBook(door, parts.clock),
        composer=Composer(
            door=door,
            codec=parts.codec,
            fold=parts.fold,
            entropy=parts.entropy,
            cluster_key=parts.cluster_key,
            known=known,
        ),
        replies=Replies(
            domain=settings.audit_domain,
            cluster=settings.cluster,
            topic_id=parts.index.topic_id(Topic.DECISIONS),
        ),
        heartbeats=Heartbeats(writer, parts.codec, parts.clock, _process(parts)),
    )


def _process(parts: Parts) -> ProcessIdentity:
    """Returns who this process is in its heartbeats."""
    settings = parts.settings
    said = f"{settings.request_timeout_ms}|{settings.in_flight_max}|{settings.slow_client_ms}"
    return ProcessIdentity(
        cluster=settings.cluster,
        process=parts.identity.producer,
        role=Role.GATEWAY,
        build=__version__,
        config_digest=sha256(said.encode()).digest(),
    )
