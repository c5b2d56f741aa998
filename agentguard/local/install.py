# SPDX-License-Identifier: Apache-2.0
"""Installs what a lock names into `.venv`, saying how much and how long. Standard library only.

Run by the system's Python before anything is installed:
`python3 -P agentguard/local/install.py core [dev …]`. Running it again does nothing.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
OLDEST, NEWEST = (3, 11), (3, 14)
JAVA_OLDEST = 17


def say(text: str) -> None:
    """Prints one line at once."""
    print(text, flush=True)


def fail(code: str, message: str, step: str) -> None:
    """Ends the installation with what is wrong and what to do next."""
    sys.exit(f"{code}: {message}\n  next: {step}")


def make_environment() -> None:
    """Makes `.venv` once, by `venv` where pip can be put into it, else by `uv`."""
    if PYTHON.exists():
        return
    if not OLDEST <= sys.version_info[:2] < NEWEST:
        version = ".".join(map(str, sys.version_info[:2]))
        fail("python", f"found {version}, needed 3.11 to 3.13", "make run PYTHON=python3.12")
    started = time.monotonic()
    if importlib.util.find_spec("ensurepip") is not None:
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    elif uv := shutil.which("uv"):
        command = [uv, "venv", "-q", "--seed", "--python", sys.executable, str(VENV)]
        subprocess.run(command, check=True)
    else:
        major, minor = sys.version_info[:2]
        package = f"python{major}.{minor}-venv"
        fail("ensurepip", "this Python cannot make an environment", f"apt-get install {package}")
    say(f"environment  .venv made in {time.monotonic() - started:.1f} s")


def link_checkout() -> None:
    """Makes `import agentguard` and the command `agentguard` work from any folder."""
    packages = next(VENV.glob("lib/python3*/site-packages"))
    (packages / "agentguard-checkout.pth").write_text(f"{ROOT}\n", encoding="utf-8")
    program = VENV / "bin" / "agentguard"
    code = "import sys; from agentguard.cli.main import main; sys.exit(main())"
    program.write_text(f'#!/bin/sh\nexec "{PYTHON}" -P -c "{code}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)


def stamp_of(name: str) -> Path:
    """Returns the file that says that a lock is installed, named by the lock's digest."""
    digest = hashlib.sha256((ROOT / "requirements" / f"{name}.lock").read_bytes()).hexdigest()
    return VENV / f"installed-{name}-{digest[:16]}"


def install(name: str) -> None:
    """Installs one lock, every file by its hash. Ends the process with the next step on failure."""
    stamp = stamp_of(name)
    if stamp.exists():
        return
    lock = ROOT / "requirements" / f"{name}.lock"
    size = re.match(r"# download: (\d+) bytes", lock.read_text(encoding="utf-8"))
    megabytes = int(size[1]) / 1e6 if size else 0.0
    say(f"{name:<12} up to {megabytes:.0f} MB of packages to download and install")
    started = time.monotonic()
    command = [str(PYTHON), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "-r", str(lock)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        step = f"check the network, then run it again: {' '.join(map(str, command))}"
        fail("install", f"`{name}` could not be installed\n{tail}", step)
    stamp.touch()
    say(f"{name:<12} installed in {time.monotonic() - started:.1f} s")


def has_java() -> bool:
    """Returns whether a Java of version 17 or later is named or on the PATH."""
    program = os.environ.get("AGENTGUARD_JAVA") or shutil.which("java")
    if not program:
        return False
    try:
        told = subprocess.run([program, "-version"], capture_output=True, text=True, check=False)
    except OSError:
        return False
    found = re.search(r'version "(?:1\.)?(\d+)', told.stderr)
    return found is not None and int(found[1]) >= JAVA_OLDEST


def main(names: list[str]) -> None:
    """Makes the environment, then installs the named locks in order; `java` only where none is."""
    os.umask(0o022)
    make_environment()
    link_checkout()
    for name in names:
        if name == "java" and has_java():
            continue
        install(name)


if __name__ == "__main__":
    main(sys.argv[1:] or ["core"])
