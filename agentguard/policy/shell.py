# SPDX-License-Identifier: Apache-2.0
"""What command lines, queries and texts name: programs, tables, secrets."""

from __future__ import annotations

import re
from typing import Final

from agentguard.policy.normalise import distinct, fold_text

_OPERATORS: Final = re.compile(r"[|;&\n\r(){}`]|\$\(")
# a redirection names a file, not a program; `<(` and `>(` start one and are left to the operators
_REDIRECTION: Final = re.compile(r"[0-9]?[<>]{1,3}&?[ \t]*[^\s;|&()<>`$]+")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=\S*")
_HIDING: Final = re.compile(r"[\"'\\$<>!]")
# words that run a program named somewhere behind them: everything behind them counts
_WRAPPERS: Final = frozenset(
    [
        "sudo",
        "doas",
        "env",
        "nohup",
        "time",
        "nice",
        "ionice",
        "exec",
        "xargs",
        "command",
        "builtin",
        "setsid",
        "timeout",
        "watch",
        "eval",
        "parallel",
        "busybox",
        "sh",
        "bash",
        "zsh",
        "dash",
        "ksh",
        "if",
        "then",
        "else",
        "elif",
        "do",
        "while",
        "until",
    ]
)
_COMMENTS: Final = re.compile(r"--[^\n]*|/\*|\*/|#[^\n]*")
_WORDS: Final = re.compile(r"[`\"\[\]\w.$]+|[,();]")
_IDENTIFIER: Final = re.compile(r"[`\"\[\]\w.$]+")
_BEFORE_TABLES: Final = frozenset(
    ["from", "join", "into", "update", "table", "truncate", "describe"]
)
_NOISE: Final = frozenset(["if", "not", "exists", "only", "lateral", "table"])
_CLAUSES: Final = frozenset(
    [
        "where",
        "group",
        "order",
        "having",
        "limit",
        "union",
        "on",
        "set",
        "values",
        "returning",
        "select",
        "using",
        "(",
        ")",
        ";",
    ]
)
_SECRETS: Final = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----"
    # only at the start of a word, and bounded: else a hostile text costs the square of its length
    r"|(?<![A-Za-z0-9_-])(?:"
    r"AKIA[0-9A-Z]{16}(?![A-Za-z0-9])"
    r"|gh[pousr]_[A-Za-z0-9]{20}"
    r"|github_pat_[A-Za-z0-9_]{20}"
    r"|xox[abeprs]-[A-Za-z0-9-]{10}"
    r"|sk-[A-Za-z0-9_-]{20}"
    r"|agk_[A-Za-z0-9]{8}_[A-Za-z0-9_-]{20}"
    r"|AIza[0-9A-Za-z_-]{30}"
    r"|eyJ[A-Za-z0-9_-]{8,2000}\.eyJ[A-Za-z0-9_-]{8}"
    r"|(?i:password|passwd|api[_-]?key|secret|access[_-]?token)\s{0,3}[:=]\s{0,3}\S{4}"
    r")"
)


def programs_of(text: str) -> tuple[str, ...]:
    """Returns the programs that a command line may start, by base name, in order.

    Both sides of every pipe, list and substitution count; quotes and escapes that only hide a
    name are removed. Behind a word that runs another program every word counts: one too many
    makes a call stricter, one too few would hide it.
    """
    programs: dict[str, None] = {}
    pieces = _OPERATORS.split(_REDIRECTION.sub(" ", _keep_lines(text)))
    for piece in distinct(pieces):
        is_wrapped = False
        for word in piece.split():
            if _ASSIGNMENT.fullmatch(word) or word.startswith("-"):
                continue
            name = _HIDING.sub("", word).split(",", 1)[0].rsplit("/", 1)[-1].lower()
            if not name:
                continue
            programs[name] = None
            is_wrapped = is_wrapped or name in _WRAPPERS
            if not is_wrapped:
                break
    return tuple(programs)


def _keep_lines(text: str) -> str:
    return "\n".join(fold_text(line) for line in text.splitlines())


def tables_of(text: str) -> tuple[str, ...]:
    """Returns the tables that a query names, lower case without quotes; or the one name itself."""
    bare = _COMMENTS.sub(" ", _keep_lines(text)).strip()
    if _IDENTIFIER.fullmatch(bare):
        return (_unquoted(bare),)
    tables: dict[str, None] = {}
    is_listing = is_expected = False
    for word in _WORDS.findall(bare):
        lower = word.lower()
        if lower in _BEFORE_TABLES:
            is_listing = is_expected = True
        elif lower in _CLAUSES:
            is_listing = is_expected = False
        elif word == ",":
            is_expected = is_listing
        elif is_expected and lower not in _NOISE:
            tables[_unquoted(word)] = None
            is_expected = False
    return tuple(tables)


def _unquoted(name: str) -> str:
    return re.sub(r"[`\"\[\]]", "", name).lower()


def holds_secret(text: str) -> bool:
    """Returns whether a text holds something that looks like a credential."""
    return _SECRETS.search(text) is not None
