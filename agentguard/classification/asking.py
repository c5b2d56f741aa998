# SPDX-License-Identifier: Apache-2.0
"""Whether a user's task asks for an operation, names a source, or hands over to one."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Final

from agentguard.classification.lexicon import STOP_WORDS, VERBS
from agentguard.classification.operations import Operation, object_forms, split_name
from agentguard.classification.text import Text

_DO: Final = frozenset(
    [
        "do",
        "perform",
        "follow",
        "complete",
        "execute",
        "carry",
        "handle",
        "finish",
        "act",
        "process",
        "work",
        "take",
    ]
)
_MAKE: Final = frozenset(
    ["make", "do", "perform", "process", "initiate", "carry", "handle", "complete", "proceed"]
)
_HANDED_OVER: Final = frozenset(
    [
        "task",
        "tasks",
        "todo",
        "todos",
        "instruction",
        "instructions",
        "action",
        "actions",
        "step",
        "steps",
        "request",
        "requests",
        "everything",
        "whatever",
        "checklist",
        "assignment",
        "assignments",
        "errand",
        "errands",
        "chore",
        "chores",
    ]
)
_DETAILS: Final = frozenset(
    [
        "detail",
        "details",
        "described",
        "mentioned",
        "specified",
        "requested",
        "instructions",
        "instructed",
        "according",
        "outlined",
        "listed",
    ]
)
_ENUMERATED: Final = frozenset({"following", "below"})


_AROUND_NAMES: Final = "'\"()[],.;:!?"


class Asking:
    """What one user's task asks for, as far as one operation is concerned."""

    def __init__(self, operation: Operation, task: Text) -> None:
        self.task = task
        self.words = task.words()
        self._operation = operation
        self._names: frozenset[str] | None = None
        self._telling: frozenset[str] | None = None
        self.verb = not operation.asking.isdisjoint(self.words)
        self.objects = operation.object_hits(self._words_with_money())

    def _words_with_money(self) -> frozenset[str]:
        if any(sign in self.task.low for sign in "$€£"):
            return self.words | {"money"}
        return self.words

    def is_asked(self, *, values_named: int, rivalled: bool) -> bool:
        """Returns whether the task asks for the operation.

        `rivalled`: some other text asks for it too, so the task must name verb and object itself.
        """
        operation = self._operation
        about = bool(self.objects) or operation.implied or not operation.objects
        if self.verb and about:
            return True
        if rivalled:
            return False
        if not self.is_mild():
            done = self.objects and not _MAKE.isdisjoint(self.words)
            return values_named > 0 and (self.verb or bool(done))
        return (
            self.verb
            or bool(self.objects)
            or values_named > 0
            or self.hands_over()
            or len(operation.described & self.words) >= 2
        )

    def is_mild(self) -> bool:
        """Returns whether the operation may be taken from less than a word that asks for it."""
        return self._operation.mild

    def hands_over(self) -> bool:
        """Returns whether the task leaves it to some text what is to be done."""
        return (
            not _DO.isdisjoint(self.words)
            and not _HANDED_OVER.isdisjoint(self.words)
            and _ENUMERATED.isdisjoint(self.words)
        )

    def leaves_details(self) -> bool:
        """Returns whether the task leaves the details of what it asks for to some text."""
        return not _DETAILS.isdisjoint(self.words)

    def names(self) -> frozenset[str]:
        """Returns the capitalised words of the task, in lower case: names, mostly.

        A word that opens a sentence is capitalised for that alone.
        """
        if self._names is None:
            raw = self.task.raw.split()
            self._names = frozenset(
                word.strip(_AROUND_NAMES).lower()
                for before, word in pairwise(raw)
                if word.lstrip(_AROUND_NAMES)[:1].isupper() and before[-1] not in ".?!:"
            )
        return self._names

    def telling_words(self) -> frozenset[str]:
        """Returns the words of the task that say which thing is meant."""
        if self._telling is None:
            self._telling = frozenset(
                w for w in self.words if len(w) > 3 and w not in STOP_WORDS and w not in VERBS
            )
        return self._telling

    def names_tool(self, tool: str) -> bool:
        """Returns whether the task speaks of the kind of thing that a tool's output is."""
        return not kind_of(tool).isdisjoint(self.words)


@lru_cache(maxsize=1024)
def kind_of(tool: str) -> frozenset[str]:
    """Returns the words for the kind of thing that a tool's output is. Pure."""
    words = split_name(tool)
    verb = next((i for i, word in enumerate(words) if word in VERBS), -1)
    found: set[str] = set()
    for i, word in enumerate(words):
        if i != verb and word not in STOP_WORDS:
            found.update(object_forms(word))
    return frozenset(found)
