# SPDX-License-Identifier: Apache-2.0
"""Starts the gateway: `python -P -m agentguard.gateway`. Wiring only."""

from __future__ import annotations

import logging
import platform
import sys

import msgspec
import structlog

from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.kafka_log import KafkaLog
from agentguard.adapters.mldsa_signer import MlDsaVerifier
from agentguard.adapters.system import SystemClock, SystemEntropy
from agentguard.config import Settings, load_settings
from agentguard.contracts.errors import ConfigError
from agentguard.control.fold import ControlFold
from agentguard.gateway.app import create_app
from agentguard.gateway.epochs import begin_life, end_life
from agentguard.gateway.parts import GatewaySettings, Parts
from agentguard.gateway.server import server_of

HOST = "127.0.0.1"
FATAL = 1
# how long the log's client tries beyond the caller's own deadline: a late record is only evidence
_DELIVERY_EXTRA_MS = 1_000


def main() -> int:
    """Runs until told to stop; returns the exit code: 1 where only a new process helps."""
    settings = load_settings()
    _configure_logging(settings)
    producer = f"gateway-{platform.node() or 'local'}-{settings.gateway_port}"
    note = settings.data / "gateway" / f"{producer}.json"
    identity = begin_life(note, producer, SystemClock().now_ms())
    ends: list[str] = []
    codec = AvroCodec()
    log = _open_log(settings)

    def die(reason: str) -> None:
        ends.append(reason)
        server.should_exit = True

    parts = Parts(
        log=log,
        index=log,
        codec=codec,
        fold=ControlFold(codec, MlDsaVerifier(), settings.genesis_digest),
        clock=SystemClock(),
        entropy=SystemEntropy(),
        cluster_key=_read_cluster_key(settings),
        settings=GatewaySettings(
            cluster=settings.cluster,
            audit_domain=settings.audit_domain,
            request_timeout_ms=settings.request_timeout_ms,
            in_flight_max=settings.in_flight_max,
        ),
        identity=identity,
        on_fatal=die,
        on_stopped=lambda last: end_life(note, identity, last),
    )
    server = server_of(create_app(parts), host=HOST, port=settings.gateway_port)
    server.run()
    return FATAL if ends or not server.started else 0


def _open_log(settings: Settings) -> KafkaLog:
    kafka = settings.kafka
    return KafkaLog(
        kafka.bootstrap,
        username=kafka.username,
        password=kafka.password,
        client_id="gateway",
        settings=kafka.client_settings(),
        delivery_timeout_ms=settings.request_timeout_ms + _DELIVERY_EXTRA_MS,
    )


def _read_cluster_key(settings: Settings) -> bytes:
    path = settings.data / "keys" / "cluster.key"
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            "the cluster key `keys/cluster.key` cannot be read", next_step="agentguard doctor"
        ) from error


def _configure_logging(settings: Settings) -> None:
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_encode),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _encode(event: object, **_: object) -> bytes:
    return msgspec.json.encode(event)


if __name__ == "__main__":
    sys.exit(main())
