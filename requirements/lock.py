# SPDX-License-Identifier: Apache-2.0
"""Rewrites the lock files: names, versions and hashes, no addresses, nothing younger than a week.

Needs `uv` on PATH or in the virtual environment. Each lock's first line says how much a fresh
machine downloads for it, measured on the machine that wrote the lock.
"""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = {
    "core": ["platform"],
    "java": ["java"],
    "store": ["store"],
    "dev": ["platform", "store", "dev"],
    "agentdojo": ["agentdojo"],
}
COOLDOWN_DAYS = 7


def compile_lock(uv: str, extras: list[str], before: str, constraints: Path | None) -> str:
    """Returns the text of one lock."""
    command = [uv, "pip", "compile", "pyproject.toml", "--universal", "--python-version", "3.11"]
    command += ["--generate-hashes", "--no-emit-index-url", "--no-annotate", "--no-header", "-q"]
    command += ["--exclude-newer", before]
    for extra in extras:
        command += ["--extra", extra]
    if constraints is not None:
        command += ["-c", str(constraints)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout


def download_bytes(lock: Path) -> int:
    """Returns how many bytes the wheels of this lock have for this machine."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes"]
        subprocess.run([*command, "-r", str(lock), "-d", folder], check=True)
        return sum(p.stat().st_size for p in Path(folder).iterdir())


def main() -> None:
    """Writes every lock, all from one resolution so that they fit each other."""
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        sys.exit("uv: not found; install it with `python -m pip install uv`")
    today = dt.datetime.now(dt.UTC).date()
    before = (today - dt.timedelta(days=COOLDOWN_DAYS)).isoformat()
    everything = sorted({e for extras in LOCKS.values() for e in extras})
    with tempfile.TemporaryDirectory() as folder:
        common = Path(folder) / "all.txt"
        common.write_text(compile_lock(uv, everything, before, None))
        for name, extras in LOCKS.items():
            path = ROOT / "requirements" / f"{name}.lock"
            path.write_text(compile_lock(uv, extras, before, common))
            size = download_bytes(path)
            path.write_text(f"# download: {size} bytes\n{path.read_text()}")
            print(f"{path.name}: {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
