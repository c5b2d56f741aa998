# SPDX-License-Identifier: Apache-2.0
"""Runs the checks in order, each with its time: `test`, `properties`, `wheel`, `documents`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
PYTEST = (str(BIN / "python"), "-m", "pytest", "-q")
SECONDS_MAX = 600


def step(title: str, *command: str, environment: dict[str, str] | None = None) -> float:
    """Runs one step, ends the run where it fails, returns its seconds."""
    print(f"── {title}", flush=True)
    started = time.monotonic()
    env = {**os.environ, **(environment or {})}
    done = subprocess.run(command, cwd=ROOT, env=env, check=False)
    seconds = time.monotonic() - started
    print(f"   {title}: {seconds:.0f} s", flush=True)
    if done.returncode != 0:
        sys.exit(done.returncode)
    return seconds


def lint_and_types() -> float:
    """Style, types and layers."""
    spent = step("lint", str(BIN / "ruff"), "check", "-q", ".")
    spent += step("format", str(BIN / "ruff"), "format", "-q", "--check", ".")
    spent += step("types", str(BIN / "mypy"))
    return spent + step("layers", str(BIN / "lint-imports"), "--no-cache")


def test() -> None:
    """Everything that needs no container engine, the real broker and store included."""
    live = "broker or platform or external"
    spent = lint_and_types()
    spent += step("unit, properties, contracts", *PYTEST, "-n", "2", "-m", f"not ({live})")
    spent += step("on the real broker and store", *PYTEST, "-m", live)
    print(f"all checks passed in {spent:.0f} s", flush=True)
    if spent > SECONDS_MAX:
        sys.exit(f"slow: {spent:.0f} s is more than {SECONDS_MAX} s")


def properties() -> None:
    """Every property with 1,000 random examples, the seed printed by Hypothesis on failure."""
    step(
        "properties",
        *PYTEST,
        "-n",
        "2",
        "--timeout=900",
        "tests/properties",
        "--deselect",
        "tests/properties/test_catalogue.py::test_planted_defect_is_caught",
        environment={"HYPOTHESIS_PROFILE": "thorough"},
    )


def wheel() -> None:
    """Builds the wheel and uses it alone, from an empty folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        step(
            "build the wheel",
            str(BIN / "python"),
            "-m",
            "hatchling",
            "build",
            "-t",
            "wheel",
            "-d",
            name,
        )
        built = next(folder.glob("*.whl"))
        venv.create(folder / "env", with_pip=True)
        python = str(folder / "env" / "bin" / "python")
        lock = str(ROOT / "requirements" / "core.lock")
        pip = (python, "-m", "pip", "install", "-q", "--no-deps")
        step("install its requirements", *pip, "--require-hashes", "-r", lock)
        step("install the wheel", *pip, str(built))
        check = folder / "elsewhere"
        check.mkdir()
        agentguard = str(folder / "env" / "bin" / "agentguard")
        for verb in (("--help",), ("verify", "--help"), ("up", "--help")):
            done = subprocess.run(
                (agentguard, *verb), cwd=check, capture_output=True, text=True, check=False
            )
            if done.returncode != 0 or not re.search("usage", done.stdout, re.IGNORECASE):
                sys.exit(f"wheel: `agentguard {' '.join(verb)}` failed\n{done.stderr}")
        code = (
            "from agentguard.resources import resource as r; "
            "[r(*p) for p in (('schemas','avro'),('policies','baseline'),('infra','kafka'),"
            "('infra','clickhouse'),('streams',))]"
        )
        done = subprocess.run((python, "-P", "-c", code), cwd=check, check=False)
        if done.returncode != 0:
            sys.exit("wheel: package data is missing")
    print("1 passed, 0 failed", flush=True)


def documents() -> None:
    """What documents say is held against the code."""
    step("documents", *PYTEST, "tests/documents")


if __name__ == "__main__":
    {"test": test, "properties": properties, "wheel": wheel, "documents": documents}[
        sys.argv[1] if len(sys.argv) > 1 else "test"
    ]()
