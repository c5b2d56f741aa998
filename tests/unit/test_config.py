# SPDX-License-Identifier: Apache-2.0
"""Settings: what is unknown, misplaced or wrong stops the start with the next step."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentguard.config import NOT_YET, SECRETS, load_settings
from agentguard.contracts.errors import ConfigError


@pytest.mark.parametrize("name", ["AGENTGUARD_DATAA", "AGENTGUARD_", "AGENTGUARD_TENANT_FILE"])
def test_unknown_name_of_ours_stops_the_start(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load_settings({name: "x"})


@pytest.mark.parametrize("name", [*NOT_YET, "JWT_SECRET", "TOKEN_SIGNING_KEY_FILE"])
def test_setting_that_nothing_reads_is_not_ignored_in_silence(name: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_settings({name: "x"})
    assert refused.value.next_step.startswith("unset ")


def test_every_secret_is_read_from_a_file_and_never_printed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden-1\n")
    found = load_settings({f"{name}_FILE": str(secret) for name in SECRETS})
    assert found.kafka.password == "hidden-1"
    assert found.clickhouse_url == "hidden-1"
    assert "hidden-1" not in repr(found.kafka)


def test_secret_file_that_is_missing_stops_the_start() -> None:
    with pytest.raises(ConfigError, match="KAFKA_SASL_PASSWORD_FILE"):
        load_settings({"KAFKA_SASL_PASSWORD_FILE": "/nonexistent"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AGENTGUARD_GATEWAY_PORT", "0"),
        ("AGENTGUARD_GATEWAY_PORT", "65536"),
        ("AGENTGUARD_STORE_PORT", "-1"),
        ("REQUEST_TIMEOUT_MS", "1e3"),
        ("REQUEST_TIMEOUT_MS", "30001"),
        ("MAX_CONCURRENT_REQUESTS", "²"),
        ("LOG_LEVEL", "loud"),
        ("AGENTGUARD_POLICY_ENGINE", "opa"),
        ("AGENTGUARD_GENESIS_DIGEST", "00"),
        ("AGENTGUARD_GENESIS_DIGEST", "zz" * 32),
    ],
)
def test_value_out_of_its_range_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load_settings({name: value})


def test_nothing_set_is_a_usable_laptop() -> None:
    found = load_settings({})
    assert (found.gateway_port, found.store_port) == (8700, 8710)
    assert (found.policy_engine, found.environment) == ("regorus", "production")
    assert found.data == Path("data").absolute()
