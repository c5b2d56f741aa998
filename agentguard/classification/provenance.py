# SPDX-License-Identifier: Apache-2.0
"""Where each value of a call first appeared, and which sentence asked for the call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from agentguard.classification.asking import Asking
from agentguard.classification.finding import RANK, Finder, Value
from agentguard.classification.instructions import Candidate, Instructions
from agentguard.classification.operations import operation_of
from agentguard.classification.text import Text
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


def trace(
    call: Call, tool: RegisterTool, sources: Sequence[Source], *, incomplete: bool
) -> Provenance:
    """Returns who asked for the call and where its values came from.

    `sources[0]` is the task, the others are outputs in order of first appearance. `incomplete`
    says that history is known to be missing; it is also set where a bound cuts something off.
    Time is linear in the texts; nothing is remembered between calls but the words of tools.

    INVARIANT: a source that is trusted less never gives a better answer. What is found, and where,
    is told from the texts alone; trust only names the places.
    """
    used = sources[:SOURCES_MAX]
    cut = len(used) < len(sources) or any(len(s.text) > SOURCE_CHARS_MAX for s in used)
    texts = [Text(s.text[:SOURCE_CHARS_MAX]) for s in used]
    cut = cut or any(text.is_cut for text in texts)
    operation = operation_of(tool)
    asking = Asking(operation, texts[0] if texts else Text(""))
    instructions = Instructions(operation, asking, used, texts)
    finder = Finder(tool, used, texts)
    finder.find(call)
    values = [_settle(value, instructions) for value in finder.found]
    incomplete = incomplete or cut or finder.is_cut or finder.too_many
    found = _conclude(values, asking, instructions, incomplete=incomplete)
    return replace(found, decisive=Origin.NOWHERE) if finder.too_many else found


def _worst(values: Sequence[Value], *, rivalled: bool) -> Origin:
    """Returns the worst origin of the decisive values.

    A number that the task leaves open (whom to pay, but not how much) is left to the agent, as
    long as the task names everything else and no other text asks for the operation.
    """
    decisive = [v for v in values if v.decisive]
    named = [v for v in decisive if not (v.is_number and v.origin is Origin.NOWHERE)]
    if named and not rivalled and all(v.origin is Origin.TASK for v in named):
        return Origin.TASK
    return max((v.origin for v in decisive), key=RANK.__getitem__, default=Origin.TASK)


def _settle(value: Value, instructions: Instructions) -> Value:
    """Returns a value at home.

    A value whose first source only asks for something about it may stand plainly in a later one:
    that is its home, but it stays as untrusted as where it came first.
    """
    if value.source <= 0 or not value.needle:
        return value
    home = instructions.home_of(value.source, value.needle)
    if home is None:
        return replace(value, addressed=value.origin is Origin.UNTRUSTED)
    if home.source == value.source:
        return value
    origin = max(value.origin, instructions.origin_of(home.source), key=RANK.__getitem__)
    return replace(value, source=home.source, start=home.start, origin=origin)


def _conclude(
    values: Sequence[Value],
    asking: Asking,
    instructions: Instructions,
    *,
    incomplete: bool,
) -> Provenance:
    foreign = [v.needle for v in values if v.telling and v.origin is not Origin.TASK]
    best = instructions.best(foreign)
    asked = _is_asked(values, asking, instructions, best)
    addressed = any(v.decisive and v.addressed for v in values)
    unaccounted = [v for v in values if v.decisive and v.origin is Origin.UNTRUSTED]
    guilty = best if addressed or not asked else None
    return Provenance(
        asked_by_task=asked,
        decisive=_worst(values, rivalled=best is not None),
        decisive_addressed=addressed,
        source_named_by_task=bool(unaccounted)
        and all(
            instructions.is_named(v.source, v.start, addressed=v.addressed) for v in unaccounted
        ),
        instructed_by=_instructor(guilty, asked=asked, addressed=addressed),
        incomplete=incomplete,
        arguments=tuple(_argument_origin(v, instructions) for v in values),
        sentence=instructions.quote(guilty) if guilty else "",
        sentence_source=guilty.source if guilty else -1,
    )


def _is_asked(
    values: Sequence[Value],
    asking: Asking,
    instructions: Instructions,
    best: Candidate | None,
) -> bool:
    """Returns whether the task asks for this very call.

    Where an output's sentence asks for the operation with a value that only such sentences hold,
    the call is that sentence's, whatever the task asks for.
    """
    if instructions.is_delegated_operation():
        return True
    told = best is not None and best.verb and best.values > 0 and not instructions.reads
    if told and any(v.telling and v.addressed for v in values):
        return False
    named = sum(v.origin is Origin.TASK and len(v.needle) > 2 for v in values)
    rivalled = best is not None and (best.values > 0 or not asking.hands_over())
    return asking.is_asked(values_named=named, rivalled=rivalled)


def _instructor(guilty: Candidate | None, *, asked: bool, addressed: bool) -> Instructor:
    if addressed or (guilty is not None and guilty.origin is Origin.UNTRUSTED):
        return Instructor.UNTRUSTED
    if guilty is not None:
        return Instructor.TRUSTED
    return Instructor.TASK if asked else Instructor.NONE


def _argument_origin(value: Value, instructions: Instructions) -> ArgumentOrigin:
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
        addressed=value.addressed,
    )
