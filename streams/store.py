# SPDX-License-Identifier: Apache-2.0
"""The store process: follows the log into ClickHouse and answers questions, read-only.

Owns the embedded engine: nobody else may open its folder while this process lives. With
CLICKHOUSE_URL it writes to that server instead, whose own door and row policies analysts use.
"""

from __future__ import annotations

import sys
from hashlib import sha256

from agentguard import __version__
from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.kafka_log import KafkaLog
from agentguard.adapters.mldsa_signer import MlDsaVerifier
from agentguard.adapters.system import SystemClock, SystemEntropy
from agentguard.config import Settings, load_settings
from agentguard.contracts.records import Role
from agentguard.local.platform_files import read_credentials
from agentguard.pipeline.heartbeats import ProcessIdentity
from agentguard.store.door import DoorUser
from agentguard.store.service import ServicePorts, StoreConfig, StoreService, configure_logging

HOST = "127.0.0.1"
# The sink writes twice a second: fewer, larger fetches cost it nothing and spare the broker.
FETCH = {"fetch.min.bytes": 65_536, "fetch.wait.max.ms": 200}


def main() -> int:
    """Runs until SIGTERM; returns the exit code."""
    settings = load_settings()
    configure_logging(settings.log_level)
    log = KafkaLog(
        settings.kafka.bootstrap,
        username=settings.kafka.username,
        password=settings.kafka.password,
        client_id="store",
        settings={**settings.kafka.client_settings(), **FETCH},
    )
    ports = ServicePorts(
        log=log,
        index=log,
        codec=AvroCodec(),
        clock=SystemClock(),
        entropy=SystemEntropy(),
        verifier=MlDsaVerifier(),
    )
    config = store_config(settings)
    identity = ProcessIdentity(
        cluster=settings.cluster,
        process="store-0",
        role=Role.STORE,
        build=__version__,
        config_digest=sha256(f"{config.tenant}|{settings.clickhouse_url}".encode()).digest(),
    )
    try:
        return StoreService(config, ports, identity).run()
    finally:
        log.close()


def store_config(settings: Settings) -> StoreConfig:
    """Returns where and for whom this process stores: one tenant embedded, any on a server."""
    folder = settings.data / "store"
    user = read_credentials(settings.data).store
    return StoreConfig(
        dsn=settings.clickhouse_url or f"chdb://{folder}/db",
        folder=folder,
        cluster=settings.cluster,
        tenant="" if settings.clickhouse_url else settings.tenant,
        genesis_digest=settings.genesis_digest,
        host=HOST,
        port=settings.store_port,
        user=DoorUser.of(user.user, user.password),
    )


if __name__ == "__main__":
    sys.exit(main())
