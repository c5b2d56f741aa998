# SPDX-License-Identifier: Apache-2.0
"""What a tool does, in words: from its name, its registered operation and its description."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from agentguard.classification.lexicon import (
    GROUPS_OF_VERB,
    IMPLIED_OBJECTS,
    OBJECT_FORMS,
    OPERATION_FORMS,
    STOP_WORDS,
    VERBS,
    forms_of,
)
from agentguard.classification.text import words_of
from agentguard.contracts.commands import RegisterTool, SideEffect

_GRAVE: Final = frozenset({SideEffect.PAY, SideEffect.DELETE, SideEffect.EXECUTE})
_GRAVE_GROUPS: Final = frozenset({"pay", "buy", "delete", "share"})

NAME_WORDS_MAX: Final = 16
DESCRIPTION_CHARS_MAX: Final = 400
_NAME_PART: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_a-zA-Z]+")

_GROUPS_OF_SIDE_EFFECT: Final = {
    SideEffect.READ: ("read",),
    SideEffect.SEND: ("send",),
    SideEffect.PAY: ("pay",),
    SideEffect.DELETE: ("delete",),
    SideEffect.EXECUTE: ("run",),
    SideEffect.WRITE: ("create", "update"),
    SideEffect.UNKNOWN: ("create", "update"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A tool's operation in words.

    `asking` holds every form of every verb that asks for it; `objects` one set of forms for each
    thing it acts on; `implied` says that the verb alone already means such a thing; `mild` that it
    may be taken from less than a word that asks for it; `described` the content words of its
    description.
    """

    groups: tuple[str, ...]
    asking: frozenset[str]
    objects: tuple[frozenset[str], ...]
    implied: bool
    mild: bool
    described: frozenset[str]

    def object_hits(self, words: frozenset[str]) -> int:
        """Returns how many of the tool's objects the words name."""
        return sum(not forms.isdisjoint(words) for forms in self.objects)


def operation_of(tool: RegisterTool) -> Operation:
    """Returns what a registered tool does, in words. Pure; the last 1,024 are remembered."""
    return _operation(tool.tool, tool.operation, tool.side_effect, tool.description)


@lru_cache(maxsize=1024)
def _operation(name: str, operation: str, effect: SideEffect, description: str) -> Operation:
    name_words = split_name(name)
    described = words_of(description[:DESCRIPTION_CHARS_MAX].casefold())
    verbs, rest = _verbs_and_rest(name_words, split_name(operation), described)
    groups = _groups(verbs, effect)
    objects = tuple(object_forms(word) for word in rest if word not in STOP_WORDS)
    implied_words = frozenset[str]().union(*(IMPLIED_OBJECTS.get(g, ()) for g in groups))
    return Operation(
        groups=groups,
        asking=frozenset[str]().union(
            *(OPERATION_FORMS[g] for g in groups), *(forms_of(v) for v in verbs)
        ),
        objects=objects,
        mild=effect not in _GRAVE and _GRAVE_GROUPS.isdisjoint(groups),
        implied=any(word in implied_words for word in rest),
        described=frozenset(w for w in described if len(w) > 2 and w not in STOP_WORDS),
    )


def verbs_of(name: str, description: str) -> list[str]:
    """Returns the base forms of the verbs that name or description open with, at most one."""
    described = words_of(description[:DESCRIPTION_CHARS_MAX].casefold())
    return _verbs_and_rest(split_name(name), [], described)[0]


def split_name(name: str) -> list[str]:
    """Returns the lower-case words of a tool's name (`sendMail`, `send_mail`, `mail.send`)."""
    return [w.lower() for w in _NAME_PART.findall(name)][:NAME_WORDS_MAX]


def _verbs_and_rest(
    name: list[str], operation: list[str], described: list[str]
) -> tuple[list[str], list[str]]:
    """Returns the verbs (base forms) and the other words of a tool.

    The first verb of the name counts; a name without one borrows from operation or description.
    """
    at = next((i for i, word in enumerate(name) if word in VERBS), -1)
    own = [VERBS[w] for w in operation if w in VERBS]
    if at >= 0:
        rest = name[:at] + name[at + 1 :]
        return [VERBS[name[at]], *own], rest
    if not own:
        own = [VERBS[w] for w in described[:4] if w in VERBS][:1]
    return own, name


def _groups(verbs: list[str], effect: SideEffect) -> tuple[str, ...]:
    found = dict.fromkeys(g for verb in verbs for g in GROUPS_OF_VERB.get(verb, ()))
    if effect in (SideEffect.SEND, SideEffect.PAY, SideEffect.DELETE, SideEffect.EXECUTE):
        found.update(dict.fromkeys(_GROUPS_OF_SIDE_EFFECT[effect]))
    if effect not in (SideEffect.READ, SideEffect.UNKNOWN):
        found.pop("read", None)
    return tuple(found) or _GROUPS_OF_SIDE_EFFECT[effect]


def object_forms(word: str) -> frozenset[str]:
    """Returns all forms of a word for a thing and of the words that people use for it."""
    own = frozenset(forms_of(word))
    return own.union(*(forms for forms in OBJECT_FORMS if word in forms))
