"""The broker's jars: pinned, hashed at every start, fetched whole or not at all."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from agentguard.adapters.system import SystemClock
from agentguard.local.jars import (
    Jar,
    JarError,
    ensure_jars,
    fetch_jars,
    locked_jars,
    main,
    mirror_of,
    read_lock,
    wrong_jars,
)

NOWHERE = "http://127.0.0.1:9/"  # the discard port: nothing listens


def jar(name: str, content: bytes) -> Jar:
    return Jar(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        group="org.example",
        artifact=name,
        version="1.0",
    )


JARS = (jar("a", b"first"), jar("b", b"second"))
CONTENTS = {"a": b"first", "b": b"second"}


def from_memory(contents: dict[str, bytes]):
    def fetch(wanted: Jar, work: Path) -> Path:
        path = work / f"{wanted.artifact}.part"
        path.write_bytes(contents[wanted.artifact])
        return path

    return fetch


def test_the_lock_pins_every_jar_by_hash_and_size_and_names_no_address() -> None:
    jars = locked_jars()
    assert len(jars) == 46
    assert all(re.fullmatch(r"[0-9a-f]{64}", one.sha256) for one in jars)
    assert 44_000_000 < sum(one.size_bytes for one in jars) < 46_000_000
    assert [one.file_name for one in jars] == sorted({one.file_name for one in jars})
    assert "org.apache.kafka:kafka_2.13:4.3.1" in {one.coordinate for one in jars}


def test_comments_and_empty_lines_of_a_lock_are_no_jars() -> None:
    assert read_lock(f"# words\n\n{'0' * 64} 12 g:a:1\n")[0].coordinate == "g:a:1"


def test_fetched_jars_are_right_and_leave_no_rest(tmp_path: Path) -> None:
    fetch_jars(JARS, tmp_path, fetch=from_memory(CONTENTS))
    assert wrong_jars(JARS, tmp_path) == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-1.0.jar", "b-1.0.jar"]


def test_a_missing_and_a_corrupt_jar_are_found_and_fetched_again(tmp_path: Path) -> None:
    fetch_jars(JARS, tmp_path, fetch=from_memory(CONTENTS))
    (tmp_path / "a-1.0.jar").write_bytes(b"firsT")  # one byte, the same length
    assert wrong_jars(JARS, tmp_path) == JARS[:1]
    (tmp_path / "b-1.0.jar").unlink()
    assert wrong_jars(JARS, tmp_path) == JARS
    fetch_jars(wrong_jars(JARS, tmp_path), tmp_path, fetch=from_memory(CONTENTS))
    assert wrong_jars(JARS, tmp_path) == ()


def test_a_repository_that_sends_something_else_is_refused_and_the_old_file_stays(
    tmp_path: Path,
) -> None:
    (tmp_path / "a-1.0.jar").write_bytes(b"old")
    with pytest.raises(JarError, match=r"a-1\.0\.jar"):
        fetch_jars(JARS[:1], tmp_path, fetch=from_memory({"a": b"evil"}))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [
        ("a-1.0.jar", b"old")
    ]


def test_without_a_network_the_missing_file_and_the_command_that_gets_it_are_named(
    tmp_path: Path,
) -> None:
    told: list[str] = []
    with pytest.raises(JarError) as raised:
        ensure_jars(tmp_path, maven_url=NOWHERE, clock=SystemClock(), say=told.append)
    assert ".jar` is missing" in str(raised.value)
    assert f"-m agentguard.local.jars --cache {tmp_path}" in raised.value.next_step
    assert "46 jars" in told[0]
    assert "45.0 MB" in told[0]


def test_the_program_exits_with_one_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--cache", str(tmp_path), "--maven-url", NOWHERE]) == 1
    assert capsys.readouterr().err.startswith("jars: `")


SETTINGS = """<settings xmlns="http://maven.apache.org/SETTINGS/1.0.0"><mirrors>
<mirror><mirrorOf>external:http:*</mirrorOf><url>http://0.0.0.0/</url><blocked>true</blocked></mirror>
<mirror><mirrorOf>*</mirrorOf><url>https://blocked.example/</url><blocked>true</blocked></mirror>
<mirror><mirrorOf>other</mirrorOf><url>https://other.example/</url></mirror>
<mirror><mirrorOf>x, central</mirrorOf><url>https://mirror.example/maven/</url></mirror>
<mirror><mirrorOf>*</mirrorOf><url>https://second.example/</url></mirror>
</mirrors></settings>"""


def test_the_first_mirror_of_central_that_is_not_blocked_is_used(tmp_path: Path) -> None:
    settings = tmp_path / "settings.xml"
    assert mirror_of(settings) == ""
    settings.write_text(SETTINGS, encoding="utf-8")
    assert mirror_of(settings) == "https://mirror.example/maven"
    settings.write_text("<settings>", encoding="utf-8")
    assert mirror_of(settings) == ""
