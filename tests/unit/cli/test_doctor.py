# SPDX-License-Identifier: Apache-2.0
"""`agentguard doctor` on folders that nothing runs in; a running platform is in tests/documents."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentguard.cli.doctor import State, examine, holder_of, not_ready
from agentguard.cli.main import app
from agentguard.config import Settings, load_settings
from agentguard.local.platform_files import (
    Credentials,
    Platform,
    StoreCredential,
    write_credentials,
    write_platform,
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settings_of(data: Path, **more: str) -> Settings:
    return load_settings(
        {
            "AGENTGUARD_DATA": str(data),
            "AGENTGUARD_CACHE": str(data / "cache"),
            "AGENTGUARD_GATEWAY_PORT": str(free_port()),
            "AGENTGUARD_STORE_PORT": str(free_port()),
            **more,
        }
    )


def founded(data: Path) -> Path:
    """A folder as a platform leaves it behind when it stops."""
    store = StoreCredential(user="analyst", password="secret")
    write_credentials(data, Credentials(agents={}, people={}, store=store))
    platform = Platform(
        cluster="ag-test", bootstrap="127.0.0.1:1", gateway="http://127.0.0.1:1",
        store="http://127.0.0.1:1", genesis_digest="00" * 32, audit_domain="agentguard.invalid",
        tenant="default", principals={},
    )  # fmt: skip
    write_platform(data, platform)
    return data


def wrong(settings: Settings) -> dict[str, str]:
    return {d.check: d.mend for d in examine(settings) if d.state is State.WRONG}


def ended_process() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_every_wrong_thing_names_the_command_that_mends_it(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, AGENTGUARD_JAVA=str(tmp_path / "no-java"))
    found = wrong(settings)
    assert {"java", "jars", "folder"} <= set(found)
    assert all(found.values())
    assert found["folder"] == f"agentguard up --data {tmp_path}"
    assert str(tmp_path / "cache") in found["jars"]


def test_folder_whose_holder_ended_is_told_from_one_in_use(tmp_path: Path) -> None:
    assert holder_of(tmp_path) == 0
    lock = tmp_path / "up.lock"
    lock.write_text(f"{os.getpid()}\n")
    assert holder_of(tmp_path) == os.getpid()
    lock.write_text(f"{ended_process()}\n")
    assert holder_of(tmp_path) == 0
    lock.write_text("not a number")
    assert holder_of(tmp_path) == 0


def test_stopped_platform_is_told_to_start_and_its_ports_are_looked_at(tmp_path: Path) -> None:
    settings = settings_of(founded(tmp_path))
    assert wrong(settings)["folder"] == f"agentguard up --data {tmp_path}"
    with socket.socket() as other:
        other.bind(("127.0.0.1", settings.gateway_port))
        other.listen()
        assert "AGENTGUARD_GATEWAY_PORT" in wrong(settings)["ports"]


def test_secret_that_others_may_read_is_named_with_its_chmod(tmp_path: Path) -> None:
    settings = settings_of(founded(tmp_path))
    assert "secrets" not in wrong(settings)
    (tmp_path / "credentials.json").chmod(0o644)
    assert wrong(settings)["secrets"] == f"chmod 600 {tmp_path / 'credentials.json'}"


def test_held_folder_whose_doors_and_log_are_silent_names_their_logs(tmp_path: Path) -> None:
    settings = settings_of(founded(tmp_path))
    (tmp_path / "up.lock").write_text(f"{os.getpid()}\n")
    found = wrong(settings)
    assert found["gateway"].endswith("gateway.log")
    assert found["store"].endswith("store.log")
    assert found["log"].endswith("broker.log")


def test_address_that_is_no_web_address_is_not_opened(tmp_path: Path) -> None:
    secret = tmp_path / "readyz"
    secret.write_text("{}")
    assert not_ready(f"file://{tmp_path}") == "no such door"


def test_exit_code_says_whether_something_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTGUARD_CACHE", str(tmp_path / "cache"))
    done = CliRunner().invoke(app, ["doctor", "--json", "--data", str(tmp_path / "none")])
    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert said["healthy"] is False
    assert {c["check"] for c in said["checks"]} >= {"packages", "java", "jars", "disk", "folder"}
