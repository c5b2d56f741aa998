"""What the broker's start refuses and writes before any Java runs."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from agentguard.adapters.system import SystemClock, SystemEntropy
from agentguard.contracts.errors import ConfigError
from agentguard.local.archive import archive_path
from agentguard.local.broker import Broker, BrokerError, Jvm, new_cluster_id, new_password
from agentguard.local.folder_lock import FolderLock
from agentguard.local.java import Java

# A "Java" that refuses to do anything, so that the start ends after the files are written.
JAVA = Java(path=Path("/bin/false"), version=17, release="17.0.1", origin="test")


def broker(folder: Path, cluster: str = "cluster-of-this-platform") -> Broker:
    return Broker(
        folder,
        cluster_id=cluster,
        admin_password="geheim",
        jvm=Jvm(java=JAVA, class_path=(Path("a.jar"),)),
        clock=SystemClock(),
        entropy=SystemEntropy(),
    )


def start(folder: Path, cluster: str = "cluster-of-this-platform") -> Broker:
    one = broker(folder, cluster)
    with pytest.raises(BrokerError, match="could not be formatted"):
        one.start()
    return one


def state(folder: Path) -> dict[str, object]:
    return json.loads((folder / "state.json").read_text())


def properties(folder: Path) -> dict[str, str]:
    lines = (folder / "server.properties").read_text(encoding="ascii").splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def test_a_failed_start_gives_the_folder_back_and_leaves_no_password_in_arguments(
    tmp_path: Path,
) -> None:
    start(tmp_path / "broker")
    FolderLock(tmp_path / "broker" / "owner.lock").take()
    FolderLock(tmp_path / "broker" / "broker.lock").take()
    assert not (tmp_path / "broker" / "format.arguments").exists()


def test_files_with_passwords_are_for_their_owner_only(tmp_path: Path) -> None:
    start(tmp_path / "broker")
    for name in ("state.json", "server.properties"):
        assert (tmp_path / "broker" / name).stat().st_mode & 0o077 == 0
    assert (tmp_path / "broker").stat().st_mode & 0o077 == 0


def test_ports_and_passwords_are_chosen_once(tmp_path: Path) -> None:
    start(tmp_path / "broker")
    first = state(tmp_path / "broker")
    assert start(tmp_path / "broker").moved_from == 0
    assert state(tmp_path / "broker") == first


def test_a_port_that_another_program_took_is_left_to_it_and_the_move_is_told(
    tmp_path: Path,
) -> None:
    import socket

    start(tmp_path / "broker")
    kept = state(tmp_path / "broker")["port"]
    with socket.socket() as other:
        other.bind(("127.0.0.1", kept))
        other.listen()
        moved = start(tmp_path / "broker")
    assert moved.moved_from == kept
    assert state(tmp_path / "broker")["port"] != kept


def test_a_folder_of_another_cluster_is_refused(tmp_path: Path) -> None:
    start(tmp_path / "broker")
    with pytest.raises(ConfigError, match="of cluster `cluster-of-this-platform`"):
        broker(tmp_path / "broker", cluster="another-cluster").start()


def test_a_path_that_a_configuration_would_misread_is_refused_or_escaped(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="comma"):
        broker(tmp_path / "a,b")
    start(tmp_path / "dätä \\ 𝄞")
    told = properties(tmp_path / "dätä \\ 𝄞")["log.dirs"]
    assert told.endswith("/d\\u00e4t\\u00e4 \\u005c \\ud834\\udd1e/data")


def test_the_configuration_denies_by_default_and_listens_on_loopback_only(
    tmp_path: Path,
) -> None:
    start(tmp_path / "broker")
    told = properties(tmp_path / "broker")
    port = state(tmp_path / "broker")["port"]
    assert told["allow.everyone.if.no.acl.found"] == "false"
    assert told["auto.create.topics.enable"] == "false"
    assert told["super.users"] == "User:admin;User:controller"
    assert told["sasl.enabled.mechanisms"] == "SCRAM-SHA-512"
    assert told["listeners"].startswith(f"CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:")
    assert "PLAINTEXT" not in told["listener.security.protocol.map"].replace("SASL_PLAINTEXT", "")
    assert not re.search(r"\$\{", " ".join(told.values()))


def test_the_heap_is_bounded_and_passwords_are_in_no_command_line(tmp_path: Path) -> None:
    command = Jvm(java=JAVA, class_path=(Path("a.jar"), Path("b.jar"))).command("Main", "file")
    assert {"-Xms512m", "-Xmx512m", "-XX:+ExitOnOutOfMemoryError"} <= set(command)
    assert command[-4:] == ["-cp", "a.jar:b.jar", "Main", "file"]


def test_an_archive_is_used_only_when_it_is_younger_than_every_jar(tmp_path: Path) -> None:
    jar, archive = tmp_path / "a.jar", tmp_path / "a.jsa"
    jar.write_bytes(b"")
    jvm = Jvm(java=JAVA, class_path=(jar,), archive=archive)
    assert not jvm.has_archive()
    archive.write_bytes(b"")
    os.utime(jar, (1_000, 1_000))
    os.utime(archive, (2_000, 2_000))
    assert f"-XX:SharedArchiveFile={archive}" in jvm.command("Main")
    os.utime(jar, (3_000, 3_000))
    assert not [word for word in jvm.command("Main") if "Archive" in word]


def test_each_java_has_an_archive_of_its_own(tmp_path: Path) -> None:
    other = Java(path=Path("/bin/true"), version=21, release="21", origin="test")
    jars = (Path("a.jar"),)
    assert archive_path(tmp_path, JAVA, jars) != archive_path(tmp_path, other, jars)
    assert archive_path(tmp_path, JAVA, jars) != archive_path(tmp_path, JAVA, (Path("b.jar"),))


def test_what_was_not_started_has_no_address(tmp_path: Path) -> None:
    one = broker(tmp_path / "broker")
    assert one.process_id == 0
    with pytest.raises(BrokerError):
        _ = one.bootstrap


def test_ids_and_passwords_hold_no_sign_that_a_configuration_could_misread() -> None:
    for _ in range(500):
        assert re.fullmatch(r"[A-Za-z0-9_-]{24}", new_password(SystemEntropy()))
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{21}", new_cluster_id(SystemEntropy()))
