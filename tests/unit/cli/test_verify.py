# SPDX-License-Identifier: Apache-2.0
"""`agentguard verify` as an auditor runs it: folders, options, exit codes, hostile text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from agentguard.adapters.trails import FolderTrail, MemoryTrail
from agentguard.audit.export import ANCHORS, read_values
from agentguard.audit.proof import proof_text
from agentguard.cli.audit import last_anchor
from agentguard.cli.verify import command
from agentguard.contracts.errors import ConfigError
from agentguard.contracts.records import Anchor
from agentguard.pipeline.proving import Prover
from tests.trails import busy_platform, busy_trail

APP = typer.Typer()
APP.command()(command)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    trail = FolderTrail.create(tmp_path / "trail")
    for name, body in busy_trail().items():
        with trail.create_file(name) as stream:
            stream.write(body)
    (tmp_path / "policy.txt").write_bytes(busy_trail()["policy.txt"])
    return tmp_path


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(APP, [str(a) for a in arguments])
    return result.exit_code, result.output


def test_honest_export_verifies_with_exit_0(folder: Path) -> None:
    code, text = run(folder / "trail", "--policy", folder / "policy.txt")
    assert code == 0
    *_, verdict, reach = text.splitlines()
    assert verdict == "verified"
    assert reach.startswith("as the sealing key's holder states it, up to anchor")
    assert "7 requests, 7 decisions" in text


def test_one_changed_byte_is_named_with_exit_1(folder: Path) -> None:
    leaves = folder / "trail" / "leaves" / "ag.decisions" / "0.bin"
    body = bytearray(leaves.read_bytes())
    body[40] ^= 1
    leaves.write_bytes(body)
    code, text = run(folder / "trail", "--policy", folder / "policy.txt", "--json")
    found = json.loads(text)
    assert (code, found["verified"], found["exitCode"]) == (1, False, 1)
    first = found["findings"][0]
    assert (first["name"], first["topic"], first["partition"], first["offset"]) == (
        "LEAF", "ag.decisions", 0, 0,
    )  # fmt: skip


def test_genesis_alone_is_exit_3_and_an_anchor_from_outside_makes_it_0(folder: Path) -> None:
    prover = Prover(busy_platform().audit_ports())
    digest = prover.founding.digest.hex()
    code, text = run(folder / "trail", "--genesis", digest)
    assert code == 3
    assert "up to anchor 1 of time" in text
    held = folder / "anchor.txt"
    held.write_text(_last_anchor_note(), encoding="utf-8")
    assert run(folder / "trail", "--genesis", digest, "--anchor", held)[0] == 0
    wrong = f"2:{'00' * 32}"
    assert run(folder / "trail", "--genesis", digest, "--anchor", wrong)[0] == 1


def _last_anchor_note() -> str:
    *_, last = read_values(MemoryTrail(busy_trail()).open(ANCHORS))
    anchor = busy_platform().codec.decode(last or b"")
    assert isinstance(anchor, Anchor)
    return anchor.note


def test_old_trail_is_stale_with_exit_3(folder: Path) -> None:
    arguments = (folder / "trail", "--policy", folder / "policy.txt")
    assert run(*arguments, "--as-of", "2027-01-01T00:00:00", "--max-age", "1h")[0] == 3
    assert run(*arguments, "--as-of", "2026-09-21T13:00:00Z", "--max-age", "1000d")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("nowhere", "--genesis", "00" * 32),
        ("trail",),
        ("trail", "more", "--genesis", "00" * 32),
        ("trail", "--genesis", "zz"),
        ("trail", "--policy", "nothing.txt"),
        ("trail", "--policy", "policy.txt", "--anchor", "5:zz"),
        ("trail", "--policy", "policy.txt", "--anchor", "nothing.txt"),
        ("trail", "--policy", "policy.txt", "--as-of", "yesterday"),
        ("trail", "--policy", "policy.txt", "--as-of", "now", "--max-age", "5x"),
        ("proof", "nothing.txt", "--policy", "policy.txt"),
    ],
    ids=str,
)
def test_wrong_usage_is_exit_2_with_the_next_step(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(folder)
    code, text = run(*arguments)
    assert code == 2
    assert "next: " in text


def test_malformed_policy_is_exit_2_because_nothing_was_verified(folder: Path) -> None:
    (folder / "bad.txt").write_text("log nonsense\n", encoding="utf-8")
    assert run(folder / "trail", "--policy", folder / "bad.txt")[0] == 2


def test_proof_file_verifies_offline(folder: Path) -> None:
    prover = Prover(busy_platform().audit_ports())
    proofs = prover.prove(prover.find((1).to_bytes(16, "big")))
    path = folder / "one.tlog-proof"
    path.write_text("".join(proof_text(p) for p in proofs), encoding="utf-8")
    assert run("proof", path, "--policy", folder / "policy.txt")[0] == 0
    assert run("proof", path, "--genesis", prover.founding.digest.hex())[0] == 3
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("index 1\n", "index 2\n"), encoding="utf-8")
    assert run("proof", path, "--policy", folder / "policy.txt")[0] == 1


def test_link_that_leads_out_of_the_export_is_not_followed(folder: Path) -> None:
    leaves = folder / "trail" / "leaves" / "ag.decisions" / "0.bin"
    (folder / "outside.bin").write_bytes(leaves.read_bytes())
    leaves.unlink()
    leaves.symlink_to(folder / "outside.bin")
    assert run(folder / "trail", "--policy", folder / "policy.txt")[0] == 1


def test_export_never_writes_into_a_folder_with_content(folder: Path) -> None:
    with pytest.raises(ConfigError):
        FolderTrail.create(folder)
    with pytest.raises(ConfigError):
        FolderTrail.create(folder / "policy.txt")


def test_policy_that_lies_in_the_export_is_refused(folder: Path) -> None:
    code, text = run(folder / "trail", "--policy", folder / "trail" / "policy.txt")
    assert code == 2
    assert "trust must come from outside" in text
    link = folder / "linked.txt"
    link.symlink_to(folder / "trail" / "policy.txt")
    assert run(folder / "trail", "--policy", link)[0] == 2


def test_anchor_that_was_kept_outside_makes_a_later_export_complete(tmp_path: Path) -> None:
    platform = busy_platform()
    held = tmp_path / "held.txt"
    held.write_text(last_anchor(platform.audit_ports()).note, encoding="utf-8")
    trail = FolderTrail.create(tmp_path / "trail")
    for name, body in platform.export().files.items():
        with trail.create_file(name) as stream:
            stream.write(body)
    digest = Prover(platform.audit_ports()).founding.digest.hex()
    assert run(tmp_path / "trail", "--genesis", digest)[0] == 3
    assert run(tmp_path / "trail", "--genesis", digest, "--anchor", held)[0] == 0
