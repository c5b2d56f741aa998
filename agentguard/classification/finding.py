# SPDX-License-Identifier: Apache-2.0
"""Where the values of a call first appeared in the texts that its agent has read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from agentguard.classification.arithmetic import derivation, numbers_in
from agentguard.classification.text import Text
from agentguard.classification.values import (
    LEAVES_MAX,
    PARTS_MAX,
    RELATIVE_DATES,
    VALUE_CHARS_MAX,
    Leaf,
    date_forms,
    is_account,
    is_prose,
    is_specific,
    leaves_of,
    names_credential,
    number_forms,
    parts_of,
    points_somewhere,
    specifics_of,
    text_forms,
    time_forms,
)
from agentguard.contracts.commands import RegisterTool, SideEffect
from agentguard.contracts.facts import Call, Origin, Source

RANK: Final = {Origin.TASK: 0, Origin.TRUSTED: 1, Origin.UNTRUSTED: 2, Origin.NOWHERE: 3}
_SMALL_NUMBER: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value of the call and where it was found.

    `needle` is the form that was found, empty for a number that was worked out; `telling` says
    that meeting it in a sentence ties the sentence to the call; `addressed` that every place of it
    lies in a sentence that asks the agent for something.
    """

    argument: str
    decisive: bool
    telling: bool
    needle: str
    origin: Origin
    source: int
    start: int
    length: int
    is_number: bool = False
    addressed: bool = False


def is_labelled(tool: RegisterTool) -> bool:
    """Returns whether somebody chose the decisive arguments.

    Where nobody did, all are decisive, and a registration lists every one that its schema names.
    """
    return bool(tool.decisive_arguments) and not _properties(tool.schema_json) <= frozenset(
        tool.decisive_arguments
    )


class _Schema(msgspec.Struct, frozen=True):
    properties: dict[str, msgspec.Raw] = {}


# where a schema names no argument, somebody chose what is listed
_UNNAMED: Final = frozenset(["?"])


@lru_cache(maxsize=1024)
def _properties(schema_json: str) -> frozenset[str]:
    try:
        return frozenset(msgspec.json.decode(schema_json, type=_Schema).properties) or _UNNAMED
    except msgspec.MsgspecError:
        return _UNNAMED


class _Aim(NamedTuple):
    """What is looked for: for which argument, and what finding it would mean."""

    argument: str
    decisive: bool
    telling: bool


class Finder:
    """Finds where values first appeared; lives for one call."""

    def __init__(
        self, tool: RegisterTool, sources: Sequence[Source], texts: Sequence[Text]
    ) -> None:
        self._sources = sources
        self._texts = texts
        self._decisive = frozenset(tool.decisive_arguments)
        self._labelled = is_labelled(tool)
        self._runs = tool.side_effect is SideEffect.EXECUTE
        self._numbers: list[list[float]] | None = None
        self.found: list[Value] = []
        self.too_many = False
        self.is_cut = False
        self._chars = VALUE_CHARS_MAX

    def find(self, call: Call) -> None:
        """Fills `found`.

        `too_many` says that something that may decide was not looked at, `is_cut` that anything
        was not.
        """
        for count, leaf in enumerate(leaves_of(call.parameters)):
            if count >= LEAVES_MAX or len(self.found) >= LEAVES_MAX:
                self.too_many = True
                return
            self._add(leaf)

    def _is_decisive(self, argument: str) -> bool:
        """Without labels every argument decides, but what only proves who calls."""
        if self._decisive and argument not in self._decisive:
            return False
        return self._labelled or not names_credential(argument)

    def _add(self, leaf: Leaf) -> None:
        argument, value = leaf
        decisive = self._is_decisive(argument)
        if isinstance(value, str):
            low = self._folded(value.strip(), decisive=decisive)
            if low:
                self._add_text(argument, low, decisive=decisive)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self._add_number(argument, value, decisive=decisive)

    def _folded(self, value: str, *, decisive: bool) -> str:
        """Returns a value as it is compared, cut where all of them together are too long."""
        text = Text(value[: self._chars])
        if text.is_cut or len(value) > self._chars:
            self._leave_out(decisive=decisive)
        self._chars = max(0, self._chars - max(len(value), len(text.low)))
        return text.low.strip()

    def _leave_out(self, *, decisive: bool) -> None:
        """Notes that something was not looked at; where it decides, nothing is accounted for."""
        self.is_cut = True
        self.too_many = self.too_many or decisive

    def _some(self, parts: Sequence[str], *, decisive: bool) -> Sequence[str]:
        if len(parts) > PARTS_MAX:
            self._leave_out(decisive=decisive)
        return parts[:PARTS_MAX]

    def _add_number(self, argument: str, value: float, *, decisive: bool) -> None:
        small = abs(value) < _SMALL_NUMBER
        decisive = decisive and (self._labelled or not small)
        found = self._look(_Aim(argument, decisive, not small), number_forms(value))
        self.found[-1] = replace(self.found[-1], is_number=True)
        if not found and decisive:
            self._work_out(float(value))

    def _work_out(self, value: float) -> None:
        """Gives the number just looked for the place that it follows from, if there is one.

        It is trusted as little as anything read up to there.
        """
        if self._numbers is None:
            self._numbers = [numbers_in(text.low) for text in self._texts]
        index = derivation(value, self._numbers)
        if index >= 0:
            origins = [s.origin for s in self._sources[: index + 1]]
            self.found[-1] = replace(
                self.found[-1],
                origin=max(origins, key=RANK.__getitem__),
                source=index,
                needle="",
                telling=False,
            )

    def _add_text(self, argument: str, low: str, *, decisive: bool) -> None:
        if decisive and self._runs:
            self._add_program(argument, low)
            return
        if is_prose(low):
            self._add_prose(argument, low, decisive=decisive)
            return
        moment = date_forms(low) or time_forms(low)
        if moment:
            self._add_moment(argument, [low, *moment], decisive=decisive)
            return
        telling = decisive or is_specific(low)
        if self._look(_Aim(argument, decisive, telling), text_forms(low)):
            return
        parts = parts_of(low) or specifics_of(low)
        if parts:
            self.found.pop()
        for part in self._some(parts, decisive=decisive):
            telling = decisive or is_specific(part)
            self._look(_Aim(argument, decisive, telling), text_forms(part))

    def _add_program(self, argument: str, low: str) -> None:
        """What a machine runs is no text for readers: all of it counts, however it is padded."""
        if self._look(_Aim(argument, True, True), [low]):
            return
        self.found[-1] = replace(self.found[-1], decisive=True)
        for specific in self._some(specifics_of(low), decisive=True):
            self._look(_Aim(argument, True, True), text_forms(specific))

    def _add_prose(self, argument: str, low: str, *, decisive: bool) -> None:
        """A text for readers decides as far as it is copied, or points to something."""
        if self._look(_Aim(argument, False, True), [low]):
            self.found[-1] = replace(self.found[-1], decisive=decisive)
            return
        targets = specifics_of(low)
        if decisive and self._labelled and not targets:
            # somebody said that this argument decides, and nobody asked for what it says
            self._append(_Aim(argument, True, False), low, -1, 0)
        for specific in self._some(targets, decisive=decisive):
            self._look(_Aim(argument, decisive, True), text_forms(specific))

    def _add_moment(self, argument: str, forms: Sequence[str], *, decisive: bool) -> None:
        """A date or time may be worked out from words like "tomorrow" in the task."""
        if self._look(_Aim(argument, decisive, False), forms):
            return
        decisive = decisive and self._labelled
        relative = bool(self._texts) and not RELATIVE_DATES.isdisjoint(self._texts[0].words())
        self.found[-1] = replace(
            self.found[-1],
            decisive=decisive,
            origin=Origin.TASK if relative else Origin.NOWHERE,
            source=0 if relative else -1,
        )

    def _look(self, aim: _Aim, forms: Sequence[str]) -> bool:
        """Appends the value where it is first found; returns whether it was found at all."""
        for index, text in enumerate(self._texts):
            for form in forms:
                if form in text.low:
                    start = text.find(form)
                    if start >= 0:
                        self._append(aim, form, index, start)
                        return True
        return self._look_spaced(aim, forms[0])

    def _look_spaced(self, aim: _Aim, form: str) -> bool:
        """The same for a text that a source may have wrapped, or a number written in groups."""
        wrapped = " " in form or "\n" in form
        if wrapped or is_account(form):
            for index, text in enumerate(self._texts):
                start, length = text.find_wrapped(form) if wrapped else text.find_spaced(form)
                if start >= 0:
                    self._append(aim, text.low[start : start + length], index, start)
                    return True
        # with no labels, what is found nowhere and points nowhere is a setting, not a target
        decisive = aim.decisive and (self._labelled or points_somewhere(form))
        self._append(aim._replace(decisive=decisive), form, -1, 0)
        return False

    def _append(self, aim: _Aim, form: str, source: int, start: int) -> None:
        self.found.append(
            Value(
                argument=aim.argument,
                decisive=aim.decisive,
                telling=aim.telling,
                needle=form,
                origin=self._sources[source].origin if source >= 0 else Origin.NOWHERE,
                source=source,
                start=start,
                length=len(form) if source >= 0 else 0,
            )
        )
