# SPDX-License-Identifier: Apache-2.0
"""Where each value of a call first appeared, and which sentence asked for the call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from agentguard.contracts.commands import RegisterTool
from agentguard.contracts.facts import (
    ArgumentOrigin,
    Call,
    Instructor,
    Json,
    Origin,
    Provenance,
    Source,
)

_RANK = {Origin.TASK: 0, Origin.TRUSTED: 1, Origin.UNTRUSTED: 2, Origin.NOWHERE: 3}


def trace(
    call: Call, tool: RegisterTool, sources: Sequence[Source], *, incomplete: bool
) -> Provenance:
    """Returns who asked for the call and where its values came from.

    `sources[0]` is the task, the others are outputs in order of first appearance. `incomplete`
    says that history is known to be missing.
    """
    decisive = set(tool.decisive_arguments) or set(call.parameters)
    origins = tuple(
        _origin(argument, value, sources, decisive=argument in decisive)
        for argument, value in _leaves(call.parameters)
    )
    worst = max(
        (a.origin for a in origins if a.decisive), key=_RANK.__getitem__, default=Origin.TASK
    )
    return Provenance(
        asked_by_task=False,
        decisive=worst,
        decisive_addressed=False,
        source_named_by_task=False,
        instructed_by=Instructor.NONE,
        incomplete=incomplete,
        arguments=origins,
    )


def _leaves(parameters: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    for argument, value in parameters.items():
        stack = [value]
        while stack:
            item = stack.pop()
            if isinstance(item, dict):
                stack.extend(item.values())
            elif isinstance(item, list):
                stack.extend(item)
            elif item is not None:
                yield argument, str(item)


def _origin(
    argument: str, value: str, sources: Sequence[Source], *, decisive: bool
) -> ArgumentOrigin:
    needle = value.casefold()
    for index, source in enumerate(sources):
        start = source.text.casefold().find(needle)
        if start >= 0:
            return ArgumentOrigin(
                argument=argument,
                origin=source.origin,
                decisive=decisive,
                source=index,
                start=start,
                length=len(needle),
                addressed=False,
            )
    return ArgumentOrigin(
        argument=argument,
        origin=Origin.NOWHERE,
        decisive=decisive,
        source=-1,
        start=0,
        length=0,
        addressed=False,
    )
