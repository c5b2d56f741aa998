# SPDX-License-Identifier: Apache-2.0
"""Reads the environment once, into frozen settings. The only place that does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentguard.bounds import (
    IN_FLIGHT_MAX_DEFAULT,
    REQUEST_TIMEOUT_MS_DEFAULT,
    REQUEST_TIMEOUT_MS_MAX,
)
from agentguard.contracts.errors import ConfigError

# Each name with what it is for; a test holds this table against the documents.
SETTINGS: Mapping[str, str] = {
    "KAFKA_BOOTSTRAP_SERVERS": "brokers of the log, host:port, comma-separated",
    "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT (default with a user name), SASL_SSL, SSL, PLAINTEXT",
    "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512 unless set",
    "KAFKA_SASL_USERNAME": "principal of this process",
    "KAFKA_SASL_PASSWORD": "its password; or KAFKA_SASL_PASSWORD_FILE names a file that holds it",
    "KAFKA_SSL_CA_LOCATION": "certificate authorities of the brokers",
    "CLICKHOUSE_URL": "a ClickHouse server instead of the embedded store; or CLICKHOUSE_URL_FILE",
    "MAX_CONCURRENT_REQUESTS": "requests in flight at one gateway before it sheds",
    "REQUEST_TIMEOUT_MS": "how long a caller waits at most",
    "LOG_LEVEL": "debug, info, warning or error",
    "AGENTGUARD_DATA": "folder of the embedded platform; ./data unless set",
    "AGENTGUARD_CACHE": "folder of downloaded files; ~/.cache/agentguard unless set",
    "AGENTGUARD_JAVA": "a java of version 17 or newer",
    "AGENTGUARD_MAVEN_URL": "a mirror to fetch the broker's files from",
    "AGENTGUARD_ENVIRONMENT": "production unless set; development permits what is named Unsafe",
    "AGENTGUARD_CLUSTER": "id of the cluster, as Genesis names it",
    "AGENTGUARD_GENESIS_DIGEST": "digest of the first control command, 64 hexadecimal digits",
    "AGENTGUARD_AUDIT_DOMAIN": "first part of every seal's origin",
    "AGENTGUARD_POLICY_ENGINE": "regorus (default) or cedarpy",
    "AGENTGUARD_GATEWAY_PORT": "port of the gateway; 8700 unless set",
    "AGENTGUARD_STORE_PORT": "port of the store's read-only door; 8710 unless set",
    "AGENTGUARD_TENANT": "the tenant that the embedded platform serves; default unless set",
}
# The design's names whose part is not in this version: set, they would be ignored in silence.
NOT_YET = (
    "DATABASE_URL", "REDIS_URL", "BLOB_STORAGE_URL", "SLM_SERVICE_URL", "POLICY_ENGINE_URL",
    "TOKEN_SERVICE_URL", "PQC_SIGNING_KEY", "OAUTH_CLIENT_ID", "CACHE_TTL_SECONDS",
    "TELEMETRY_ENDPOINT", "METRICS_PORT", "TOKEN_SIGNING_KEY",
)  # fmt: skip
SECRETS = ("KAFKA_SASL_PASSWORD", "CLICKHOUSE_URL")  # NAME_FILE names a file that holds one
ENGINES = ("regorus", "cedarpy")
LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """How this process reaches the log. The password is never printed."""

    bootstrap: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    protocol: str = ""
    mechanism: str = "SCRAM-SHA-512"
    ca_location: str = ""

    def client_settings(self) -> dict[str, str]:
        """Returns the client's security settings beyond user name and password."""
        extra = {"security.protocol": self.protocol} if self.protocol else {}
        if self.ca_location:
            extra["ssl.ca.location"] = self.ca_location
        if self.username:
            extra["sasl.mechanism"] = self.mechanism
        return extra


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that the environment says, checked."""

    kafka: KafkaSettings
    clickhouse_url: str = field(repr=False)
    in_flight_max: int
    request_timeout_ms: int
    log_level: str
    data: Path
    cache: Path
    java: str
    maven_url: str
    environment: str
    cluster: str
    genesis_digest: bytes | None
    audit_domain: str
    policy_engine: str
    gateway_port: int
    store_port: int
    tenant: str


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Returns the settings of this process. Raises `ConfigError` naming what is wrong."""
    env = dict(os.environ if environment is None else environment)
    _refuse(env)
    return Settings(
        kafka=KafkaSettings(
            bootstrap=env.get("KAFKA_BOOTSTRAP_SERVERS", ""),
            username=env.get("KAFKA_SASL_USERNAME", ""),
            password=_secret(env, "KAFKA_SASL_PASSWORD"),
            protocol=env.get("KAFKA_SECURITY_PROTOCOL", ""),
            mechanism=env.get("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512"),
            ca_location=env.get("KAFKA_SSL_CA_LOCATION", ""),
        ),
        clickhouse_url=_secret(env, "CLICKHOUSE_URL"),
        in_flight_max=_number(env, "MAX_CONCURRENT_REQUESTS", IN_FLIGHT_MAX_DEFAULT, 100_000),
        request_timeout_ms=_number(
            env, "REQUEST_TIMEOUT_MS", REQUEST_TIMEOUT_MS_DEFAULT, REQUEST_TIMEOUT_MS_MAX
        ),
        log_level=_choice(env, "LOG_LEVEL", LEVELS, "info"),
        data=Path(env.get("AGENTGUARD_DATA", "data")).absolute(),
        cache=Path(env.get("AGENTGUARD_CACHE", "~/.cache/agentguard")).expanduser().absolute(),
        java=env.get("AGENTGUARD_JAVA", ""),
        maven_url=env.get("AGENTGUARD_MAVEN_URL", ""),
        environment=env.get("AGENTGUARD_ENVIRONMENT", "production"),
        cluster=env.get("AGENTGUARD_CLUSTER", ""),
        genesis_digest=_digest(env, "AGENTGUARD_GENESIS_DIGEST"),
        audit_domain=env.get("AGENTGUARD_AUDIT_DOMAIN", "agentguard.invalid"),
        policy_engine=_choice(env, "AGENTGUARD_POLICY_ENGINE", ENGINES, "regorus"),
        gateway_port=_number(env, "AGENTGUARD_GATEWAY_PORT", 8700, 65_535),
        store_port=_number(env, "AGENTGUARD_STORE_PORT", 8710, 65_535),
        tenant=env.get("AGENTGUARD_TENANT", "default"),
    )


def _refuse(env: Mapping[str, str]) -> None:
    known = set(SETTINGS) | {f"{name}_FILE" for name in SECRETS}
    for name in sorted(env):
        if name.startswith("AGENTGUARD_") and name not in known:
            raise ConfigError(f"unknown setting `{name}`")
        if name.removesuffix("_FILE") in NOT_YET:
            raise ConfigError(
                f"`{name}` is set, and this version has no part that reads it",
                next_step=f"unset {name}",
            )
    if "JWT_SECRET" in env:
        raise ConfigError(
            "`JWT_SECRET` is set: a secret shared by issuer and verifier lets a verifier forge",
            next_step="unset JWT_SECRET and use TOKEN_SIGNING_KEY once tokens are issued",
        )


def _secret(env: Mapping[str, str], name: str) -> str:
    path = env.get(f"{name}_FILE", "")
    if not path:
        return env.get(name, "")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"`{name}_FILE` cannot be read") from error


def _number(env: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = env.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= most:
        raise ConfigError(f"`{name}` must be a whole number from 1 to {most}")
    return int(text)


def _choice(env: Mapping[str, str], name: str, choices: tuple[str, ...], default: str) -> str:
    value = env.get(name, "").lower() or default
    if value not in choices:
        raise ConfigError(f"`{name}` must be one of {', '.join(choices)}")
    return value


def _digest(env: Mapping[str, str], name: str) -> bytes | None:
    text = env.get(name, "")
    if not text:
        return None
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise ConfigError(f"`{name}` must be 64 hexadecimal digits")
    return digest
