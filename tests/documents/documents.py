# SPDX-License-Identifier: Apache-2.0
"""Reads the documents: which there are, what they link to, which shell blocks they show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDERS: Final = ("docs", "streams", "policies", "bench", "tests", "schemas", "infra")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(
    r"(?:agentguard|bench|docs|infra|policies|requirements|schemas|streams|tests)/[\w./-]*[\w/]"
)
EXPECTED: Final = "# -> "


def documents() -> list[Path]:
    """Every document of the repository, by name."""
    found = [*ROOT.glob("*.md")]
    for folder in FOLDERS:
        found += (ROOT / folder).rglob("*.md")
    return sorted(found)


def links(text: str) -> Iterator[str]:
    """Yields the targets of a document's links that lead to files of ours."""
    for target in _LINK.findall(text):
        if "://" not in target and not target.startswith(("#", "mailto:")):
            yield target.partition("#")[0]


def paths(text: str) -> Iterator[str]:
    """Yields what a document names in backticks as a path below the repository's root."""
    for code in _CODE.findall(_FENCE.sub("", text)):
        if _PATH.fullmatch(code):
            yield code


@dataclass(frozen=True, slots=True)
class Block:
    """One shell block, and what it must print, in order."""

    script: str
    expected: tuple[str, ...]


def blocks(text: str) -> tuple[Block, ...]:
    """Returns the shell blocks of a document."""
    found = []
    for kind, body in _FENCE.findall(text):
        if kind == "sh":
            lines = body.splitlines()
            expected = tuple(line[len(EXPECTED) :] for line in lines if line.startswith(EXPECTED))
            found.append(Block(body, expected))
    return tuple(found)


def missing(expected: tuple[str, ...], printed: str) -> tuple[str, ...]:
    """Returns what was not printed, or not in this order."""
    at = 0
    lost = []
    for text in expected:
        place = printed.find(text, at)
        if place < 0:
            lost.append(text)
        else:
            at = place + len(text)
    return tuple(lost)
