# SPDX-License-Identifier: Apache-2.0
"""Shell blocks of the documents, run as they stand against one running platform."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents.documents import ROOT, blocks, missing
from tests.live_platform import LivePlatform

MARK = "@@ end of block"
RUN = ("README.md", "docs/operate/README.md", "docs/auditor.md")


def checkout(folder: Path, live: LivePlatform) -> Path:
    """A folder that looks to the blocks like a checkout in which `make run` runs."""
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    agentguard = programs / "agentguard"
    agentguard.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -P -m agentguard.cli.main "$@"\n', encoding="utf-8"
    )
    agentguard.chmod(0o755)
    (programs / "python3").symlink_to(sys.executable)
    (folder / "data").symlink_to(live.data)
    return folder


@pytest.mark.platform
@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", RUN)
def test_shell_blocks_print_what_the_document_says(
    name: str, live: LivePlatform, tmp_path: Path
) -> None:
    found = blocks((ROOT / name).read_text(encoding="utf-8"))
    assert found
    assert all(block.expected for block in found), "a block says what it prints"
    folder = checkout(tmp_path, live)
    script = "".join(f"{block.script}\necho '{MARK}'\n" for block in found)
    script = script.replace("http://127.0.0.1:8700", live.addresses["gateway"])
    done = subprocess.run(
        ["bash"],
        input=script,
        cwd=folder,
        env={
            **live.environment,
            "PATH": f"{folder / '.venv' / 'bin'}:{live.environment['PATH']}",
            "COLUMNS": "200",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stdout, done.stdout
    assert "command not found" not in done.stdout, done.stdout
    printed = done.stdout.split(MARK)
    assert len(printed) == len(found) + 1, done.stdout
    for block, output in zip(found, printed, strict=False):
        assert missing(block.expected, output) == (), output


@pytest.mark.platform
def test_doctor_finds_nothing_wrong_with_a_running_platform(live: LivePlatform) -> None:
    done = live.run("doctor", "--json")
    said = json.loads(done.stdout)
    assert [c for c in said["checks"] if c["state"] != "ok"] == []
    assert (done.returncode, said["healthy"]) == (0, True)
    assert {"gateway", "store", "log", "process"} <= {c["check"] for c in said["checks"]}


@pytest.mark.platform
@pytest.mark.slow
def test_remedy_of_an_unknown_tool_makes_the_call_pass_when_it_is_followed(
    live: LivePlatform,
) -> None:
    assert live.run("agents", "register", "remedied").returncode == 0
    ask = (
        "decide", "--agent", "remedied", "--tool", "notes_write", "--json",
        "--params", '{"text": "buy milk"}', "--task", 'Write a note: "buy milk"',
    )  # fmt: skip
    denied = json.loads(live.run(*ask).stdout)
    assert denied["code"] == "unknown_tool"
    words = denied["remedy"].split()
    assert words[0] == "agentguard"
    assert live.run(*words[1:]).returncode == 0
    answer = json.loads(live.run(*ask).stdout)
    assert (answer["action"], answer["code"]) == ("allow", "allowed"), answer["reason"]


@pytest.mark.platform
def test_tables_of_the_analyst_are_asked_by_an_unmodified_client(live: LivePlatform) -> None:
    import clickhouse_connect

    user = json.loads((live.data / "credentials.json").read_text(encoding="utf-8"))["store"]
    port = int(live.addresses["store"].rpartition(":")[2])
    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=port, username=user["user"], password=user["password"],
        database="agentguard",
    )  # fmt: skip
    found = client.query("SELECT code, count() FROM decisions WHERE verdict = 'deny' GROUP BY code")
    assert dict(found.result_rows)["injected_instruction"] > 0
    assert "decisions" in client.query("SHOW TABLES").result_columns[0]
