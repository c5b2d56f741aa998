# SPDX-License-Identifier: Apache-2.0
"""What command lines, queries and texts name: programs, tables, secrets."""

from __future__ import annotations

import re
from typing import Final

from agentguard.policy.normalise import fold_text

_OPERATORS: Final = re.compile(r"[|;&\n\r(){}`<>]|\$\(")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=\S*")
# programs that run the program named next
_WRAPPERS: Final = frozenset(
    ("sudo", "env", "nohup", "time", "nice", "exec", "xargs", "command", "doas", "setsid")
)
_COMMENTS: Final = re.compile(r"--[^\n]*|/\*.*?\*/|#[^\n]*", re.DOTALL)
_TABLES: Final = re.compile(
    r"\b(?:from|join|into|update|table|truncate|describe)\s+"
    r"(?:if\s+(?:not\s+)?exists\s+|only\s+)?([`\"\[\w.\]$]+)",
    re.IGNORECASE,
)
_IDENTIFIER: Final = re.compile(r"[`\"\[\]\w.$]+")
_SECRETS: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}"
    r"|\bgithub_pat_[A-Za-z0-9_]{20,}"
    r"|\bxox[abeprs]-[A-Za-z0-9-]{10,}"
    r"|\bsk-[A-Za-z0-9_-]{20,}"
    r"|\bagk_[A-Za-z0-9]{8}_[A-Za-z0-9_-]{20,}"
    r"|\bAIza[0-9A-Za-z_-]{30,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\."
    r"|(?i:\b(?:password|passwd|api[_-]?key|secret|access[_-]?token)\b\s{0,3}[:=]\s{0,3}\S{4,})"
)


def programs_of(text: str) -> tuple[str, ...]:
    """Returns the programs that a command line would start, by base name, in order.

    Both sides of every pipe, list and substitution count; quotes and escapes that only hide a
    name are removed.
    """
    programs: dict[str, None] = {}
    for piece in _OPERATORS.split(_keep_lines(text)):
        for word in piece.split():
            if _ASSIGNMENT.fullmatch(word) or word.startswith("-"):
                continue
            name = re.sub(r"[\"'\\]", "", word).rsplit("/", 1)[-1].lower()
            if not name:
                continue
            programs[name] = None
            if name not in _WRAPPERS:
                break
    return tuple(programs)


def _keep_lines(text: str) -> str:
    return "\n".join(fold_text(line) for line in text.splitlines())


def tables_of(text: str) -> tuple[str, ...]:
    """Returns the tables that a query names, lower case without quotes; or the one name itself."""
    bare = _COMMENTS.sub(" ", _keep_lines(text)).strip()
    if _IDENTIFIER.fullmatch(bare):
        return (_unquoted(bare),)
    return tuple(dict.fromkeys(_unquoted(m) for m in _TABLES.findall(bare)))


def _unquoted(name: str) -> str:
    return re.sub(r"[`\"\[\]]", "", name).lower()


def holds_secret(text: str) -> bool:
    """Returns whether a text holds something that looks like a credential."""
    return _SECRETS.search(text) is not None
