# SPDX-License-Identifier: Apache-2.0
"""Where each value of a call first appeared, and which sentence asked for the call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from agentguard.classification.asking import Asking
from agentguard.classification.instructions import Candidate, Instructions
from agentguard.classification.operations import operation_of
from agentguard.classification.text import Text
from agentguard.classification.values import (
    LEAVES_MAX,
    RELATIVE_DATES,
    Leaf,
    date_forms,
    is_account,
    is_prose,
    is_specific,
    leaves_of,
    number_forms,
    parts_of,
    points_somewhere,
    specifics_of,
    text_forms,
    time_forms,
)
from agentguard.contracts.commands import RegisterTool
from agentguard.contracts.facts import (
    ArgumentOrigin,
    Call,
    Instructor,
    Origin,
    Provenance,
    Source,
)

SOURCE_CHARS_MAX: Final = 65_536
SOURCES_MAX: Final = 128
VERBATIM_CHARS_MIN: Final = 16
_SMALL_NUMBER: Final = 100

_RANK: Final = {Origin.TASK: 0, Origin.TRUSTED: 1, Origin.UNTRUSTED: 2, Origin.NOWHERE: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value of the call and where it was found.

    `needle` is the form that was found; `telling` says that meeting this value in a sentence ties
    the sentence to the call (a target, a long verbatim text, any decisive value).
    """

    argument: str
    decisive: bool
    telling: bool
    needle: str
    origin: Origin
    source: int
    start: int
    length: int


def trace(
    call: Call, tool: RegisterTool, sources: Sequence[Source], *, incomplete: bool
) -> Provenance:
    """Returns who asked for the call and where its values came from.

    `sources[0]` is the task, the others are outputs in order of first appearance. `incomplete`
    says that history is known to be missing; it is also set where a bound cuts something off.
    Time is linear in the texts; nothing is remembered between calls but words of tools.
    """
    cut = len(sources) > SOURCES_MAX
    used = sources[:SOURCES_MAX]
    texts = [Text(s.text[:SOURCE_CHARS_MAX]) for s in used]
    cut = cut or any(len(s.text) > SOURCE_CHARS_MAX for s in used)
    operation = operation_of(tool)
    asking = Asking(operation, texts[0] if texts else Text(""))
    values, too_many = _values(call, tool, used, texts)
    instructions = Instructions(operation, asking, used, texts)
    return _conclude(
        values, asking, instructions, incomplete=incomplete or cut or too_many, too_many=too_many
    )


def _conclude(
    values: list[Value],
    asking: Asking,
    instructions: Instructions,
    *,
    incomplete: bool,
    too_many: bool,
) -> Provenance:
    values, addressed = _settle(values, instructions)
    foreign = [v for v in values if v.telling and v.origin is not Origin.TASK]
    best = instructions.best([v.needle for v in foreign])
    decisive_addressed = any(v.decisive and a for v, a in zip(values, addressed, strict=True))
    told = not instructions.reads and any(
        v.telling and a for v, a in zip(values, addressed, strict=True)
    )
    named = sum(v.origin is Origin.TASK and len(v.needle) > 2 for v in values)
    rivalled = best is not None and (best.values > 0 or not asking.hands_over())
    asked = asking.is_asked(values_named=named, rivalled=rivalled) and not (
        told and best is not None and best.values > 0 and best.verb
    )
    asked = asked or instructions.is_delegated_operation()
    origins = [v.origin for v in values if v.decisive]
    worst = max(origins, key=_RANK.__getitem__, default=Origin.TASK)
    unaccounted = [
        (v, a)
        for v, a in zip(values, addressed, strict=True)
        if v.decisive and v.origin is Origin.UNTRUSTED
    ]
    guilty = best if decisive_addressed or not asked else None
    return Provenance(
        asked_by_task=asked,
        decisive=Origin.NOWHERE if too_many else worst,
        decisive_addressed=decisive_addressed,
        source_named_by_task=bool(unaccounted)
        and all(instructions.is_named(v.source, v.start, addressed=a) for v, a in unaccounted),
        instructed_by=_instructor(guilty, asked=asked, addressed=decisive_addressed),
        incomplete=incomplete,
        arguments=tuple(
            _argument_origin(v, instructions, addressed=a)
            for v, a in zip(values, addressed, strict=True)
        ),
        sentence=instructions.quote(guilty) if guilty else "",
        sentence_source=guilty.source if guilty else -1,
    )


def _settle(values: list[Value], instructions: Instructions) -> tuple[list[Value], list[bool]]:
    """Returns the values at home, and which of them only ever stand where something is asked for.

    A value whose first source only asks for something about it may stand plainly in a later one:
    that is its home, but it stays as untrusted as where it came first. Both are told from the
    texts alone, never from trust: less trust can so never move a value to a better place.
    """
    settled: list[Value] = []
    addressed: list[bool] = []
    for value in values:
        if value.source <= 0:
            settled.append(value)
            addressed.append(False)
            continue
        home = instructions.home_of(value.source, value.needle)
        if home is not None and home.source != value.source:
            origin = max(value.origin, instructions.origin_of(home.source), key=_RANK.__getitem__)
            value = replace(value, source=home.source, start=home.start, origin=origin)
        settled.append(value)
        addressed.append(home is None and value.origin is Origin.UNTRUSTED)
    return settled, addressed


def _instructor(guilty: Candidate | None, *, asked: bool, addressed: bool) -> Instructor:
    if addressed or (guilty is not None and guilty.origin is Origin.UNTRUSTED):
        return Instructor.UNTRUSTED
    if guilty is not None:
        return Instructor.TRUSTED
    return Instructor.TASK if asked else Instructor.NONE


def _argument_origin(
    value: Value, instructions: Instructions, *, addressed: bool
) -> ArgumentOrigin:
    start, length = value.start, value.length
    if value.source >= 0:
        start, length = instructions.original(value.source, start, length)
    return ArgumentOrigin(
        argument=value.argument,
        origin=value.origin,
        decisive=value.decisive,
        source=value.source,
        start=start,
        length=length,
        addressed=addressed,
    )


def _values(
    call: Call, tool: RegisterTool, sources: Sequence[Source], texts: Sequence[Text]
) -> tuple[list[Value], bool]:
    """Returns the values with their origins, and whether there are more than may be looked at."""
    finder = _Finder(sources, texts, frozenset(tool.decisive_arguments))
    for count, leaf in enumerate(leaves_of(call.parameters)):
        if count >= LEAVES_MAX:
            return finder.found, True
        finder.add(leaf)
    return finder.found, len(finder.found) > LEAVES_MAX


class _Finder:
    """Finds where values first appeared; lives for one call."""

    def __init__(
        self, sources: Sequence[Source], texts: Sequence[Text], labelled: frozenset[str]
    ) -> None:
        self._sources = sources
        self._texts = texts
        self._labelled = labelled
        self.found: list[Value] = []

    def add(self, leaf: Leaf) -> None:
        value = leaf.value
        decisive = leaf.argument in self._labelled if self._labelled else True
        if value is None or isinstance(value, bool):
            return
        if isinstance(value, int | float):
            small = abs(value) < _SMALL_NUMBER
            decisive = decisive and (bool(self._labelled) or not small)
            self._look(leaf.argument, number_forms(value), decisive=decisive, telling=not small)
        elif isinstance(value, str) and value.strip():
            self._add_text(leaf.argument, Text(value.strip()).low, decisive=decisive)

    def _add_text(self, argument: str, low: str, *, decisive: bool) -> None:
        if is_prose(low):
            self._add_prose(argument, low, decisive=decisive)
            return
        dated = date_forms(low)
        timed = None if dated else time_forms(low)
        if dated or timed:
            self._add_moment(argument, [low, *(dated or timed or ())], decisive=decisive)
            return
        telling = decisive or is_specific(low)
        if self._look(argument, text_forms(low), decisive=decisive, telling=telling):
            return
        parts = parts_of(low) or specifics_of(low)
        if parts:
            self.found.pop()
            for part in parts:
                self._look(
                    argument,
                    text_forms(part),
                    decisive=decisive,
                    telling=decisive or is_specific(part),
                )

    def _add_prose(self, argument: str, low: str, *, decisive: bool) -> None:
        """A text for readers is as decisive as the targets it points to."""
        specifics = specifics_of(low)
        whole = self._look(argument, [low], decisive=False, telling=True)
        if whole and decisive and self.found[-1].origin is not Origin.TASK:
            last = self.found.pop()
            self._append(argument, low, last.source, last.start, decisive=True, telling=True)
        for specific in specifics if not whole else ():
            self._look(argument, text_forms(specific), decisive=decisive, telling=True)

    def _add_moment(self, argument: str, forms: Sequence[str], *, decisive: bool) -> None:
        """A date or time may be worked out from words like "tomorrow" in the task."""
        if self._look(argument, forms, decisive=decisive, telling=False):
            return
        self.found.pop()
        relative = bool(self._texts) and not RELATIVE_DATES.isdisjoint(self._texts[0].words())
        origin = Origin.TASK if relative else Origin.NOWHERE
        self.found.append(
            Value(
                argument=argument,
                decisive=decisive and bool(self._labelled),
                telling=False,
                needle=forms[0],
                origin=origin,
                source=0 if relative else -1,
                start=0,
                length=0,
            )
        )

    def _look(self, argument: str, forms: Sequence[str], *, decisive: bool, telling: bool) -> bool:
        """Appends the value where it is first found; returns whether it was found at all."""
        for index, text in enumerate(self._texts):
            for form in forms:
                if form in text.low:
                    start = text.find(form)
                    if start >= 0:
                        self._append(
                            argument, form, index, start, decisive=decisive, telling=telling
                        )
                        return True
        return self._look_wrapped(argument, forms[0], decisive=decisive, telling=telling)

    def _look_wrapped(self, argument: str, form: str, *, decisive: bool, telling: bool) -> bool:
        """The same for a text of several words that a source may have wrapped."""
        wrapped = " " in form or "\n" in form
        if wrapped or is_account(form):
            for index, text in enumerate(self._texts):
                start, length = text.find_wrapped(form) if wrapped else text.find_spaced(form)
                if start >= 0:
                    found = text.low[start : start + length]
                    self._append(argument, found, index, start, decisive=decisive, telling=telling)
                    return True
        # with no labels, what is found nowhere and points nowhere is a setting, not a target
        decisive = decisive and (bool(self._labelled) or points_somewhere(form))
        self._append(argument, form, -1, 0, decisive=decisive, telling=telling)
        return False

    def _append(
        self, argument: str, form: str, source: int, start: int, *, decisive: bool, telling: bool
    ) -> None:
        self.found.append(
            Value(
                argument=argument,
                decisive=decisive,
                telling=telling,
                needle=form,
                origin=self._sources[source].origin if source >= 0 else Origin.NOWHERE,
                source=source,
                start=start,
                length=len(form) if source >= 0 else 0,
            )
        )
