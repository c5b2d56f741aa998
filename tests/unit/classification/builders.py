# SPDX-License-Identifier: Apache-2.0
"""Short ways to write a tool, a task and what was read."""

from __future__ import annotations

from agentguard.classification.provenance import trace
from agentguard.contracts.commands import RegisterTool, SideEffect
from agentguard.contracts.facts import Call, Json, Origin, Provenance, Source
from agentguard.registry.tools import ToolLabels, make_tool


def tool(
    name: str,
    effect: str = "write",
    decisive: tuple[str, ...] = (),
    *,
    operation: str = "",
    description: str = "",
    schema: str = "",
) -> RegisterTool:
    return make_tool(
        name,
        tenant="t",
        description=description,
        schema_json=schema,
        labels=ToolLabels(
            side_effect=SideEffect(effect), decisive_arguments=decisive, operation=operation
        ),
    )


def sources(task: str, *outputs: tuple[str, str] | tuple[str, str, str]) -> tuple[Source, ...]:
    """The task, then (tool, text) or (tool, text, origin) for each output."""
    read = [
        Source(
            origin=Origin(o[2]) if len(o) > 2 else Origin.UNTRUSTED,
            text=o[1],
            tool=o[0],
            offset=10 + i,
        )
        for i, o in enumerate(outputs)
    ]
    return (Source(origin=Origin.TASK, text=task), *read)


def traced(
    registered: RegisterTool, parameters: dict[str, Json], *read: Source, incomplete: bool = False
) -> Provenance:
    task = read[0].text if read else ""
    call = Call(tool=registered.tool, parameters=parameters, task=task)
    return trace(call, registered, read, incomplete=incomplete)
