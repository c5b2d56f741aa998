# SPDX-License-Identifier: Apache-2.0
"""`agentguard tools`: registers tools with their labels, one by one or from a file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from agentguard.cli.control_log import answer, control_session
from agentguard.cli.locate import DataOption, JsonOption
from agentguard.cli.spec_files import read_bounded, read_spec_file
from agentguard.contracts.codes import flatten
from agentguard.contracts.commands import RegisterTool, Registration, SideEffect
from agentguard.contracts.errors import ConfigError
from agentguard.contracts.records import Trust
from agentguard.local.control_writer import Order
from agentguard.registry.specs import read_spec, read_specs
from agentguard.registry.tools import ToolLabels, effect_of, labels_of, make_tool, trust_of

app = typer.Typer(help="Register tools, import them from a file, list them.", no_args_is_help=True)

TenantOption = Annotated[str, typer.Option(help="tenant; the platform's own unless given")]


@app.command()
def register(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="name of the tool, as agents call it")],
    tenant: TenantOption = "",
    side_effect: Annotated[
        SideEffect | None, typer.Option(help="what it does to the world; write where unknown")
    ] = None,
    decisive: Annotated[
        list[str] | None,
        typer.Option(help="argument that says where the effect goes; may be repeated"),
    ] = None,
    output_trust: Annotated[
        Trust | None, typer.Option(help="how far its outputs are believed")
    ] = None,
    schema: Annotated[
        Path | None, typer.Option(help="file with the JSON Schema of its parameters")
    ] = None,
    description: Annotated[str | None, typer.Option(help="what a model reads of it")] = None,
    from_json: Annotated[
        Path | None, typer.Option(help="file with the whole tool as one JSON object")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a tool, or register it again. What is not given stays as it is on record.

    An unlabelled tool counts as one that writes, all of whose arguments are decisive, and whose
    outputs are untrusted.
    """
    with control_session(ctx, data) as session:
        named = tenant or session.platform.tenant
        if from_json is None:
            known = session.fold.tool(named, name)
            body = _known_or_new(name, named, known)
        else:
            body = read_spec(read_spec_file(from_json), tenant=named)
            if body.tool != name:
                raise ConfigError(f"`{from_json.name}` describes tool `{body.tool}`")
        if decisive is None and schema is not None:
            decisive = []  # arguments that the new schema brings must not count as harmless
        labels = replace(
            labels_of(body),
            status=Registration.ENABLED,
            side_effect=body.side_effect if side_effect is None else side_effect,
            decisive_arguments=body.decisive_arguments if decisive is None else tuple(decisive),
            output_trust=body.output_trust if output_trust is None else output_trust,
        )
        body = make_tool(
            name,
            tenant=body.tenant,
            description=body.description if description is None else description,
            schema_json=body.schema_json if schema is None else _text(schema),
            labels=labels,
        )
        judgements = session.submit([Order(body=body)])
        done = f"tool `{name}` is {body.status} as {effect_of(body)}"
        answer(session, judgements, done, as_json=as_json, extra={"pin": body.pin.hex()})


@app.command("import")
def import_tools(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="YAML or JSON: a list of tools")],
    tenant: TenantOption = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register every tool of a file. Tools that are on record exactly so are left alone."""
    with control_session(ctx, data) as session:
        listed = read_specs(read_spec_file(file), tenant=tenant or session.platform.tenant)
        fold = session.fold
        changed = [tool for tool in listed if fold.tool(tool.tenant, tool.tool) != tool]
        judgements = session.submit([Order(body=tool) for tool in changed])
        done = f"{len(changed)} of {len(listed)} tools registered, the others were"
        answer(session, judgements, done, as_json=as_json, extra={"registered": len(changed)})


@app.command("list")
def list_tools(ctx: typer.Context, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the registered tools with the labels that count."""
    with control_session(ctx, data) as session:
        rows = [_row(tool) for tool in session.fold.tools()]
        if as_json:
            print(json.dumps({"tools": rows, "controlOffset": session.fold.folded}))
            return
        table = Table("tenant", "tool", "status", "side effect", "decisive", "outputs", "pin")
        for row in rows:
            table.add_row(*(flatten(str(value)) for value in row.values()))
        Console().print(table)


def _text(path: Path) -> str:
    try:
        return read_bounded(path).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"`{path.name}` is not UTF-8", next_step="correct the file") from error


def _known_or_new(name: str, tenant: str, known: RegisterTool | None) -> RegisterTool:
    return make_tool(name, tenant=tenant, labels=ToolLabels()) if known is None else known


def _row(tool: RegisterTool) -> dict[str, object]:
    return {
        "tenant": tool.tenant,
        "tool": tool.tool,
        "status": tool.status.value,
        "sideEffect": effect_of(tool).value,
        "decisiveArguments": ", ".join(tool.decisive_arguments) or "(all)",
        "outputTrust": trust_of(tool).value,
        "pin": tool.pin.hex()[:16],
    }
