# SPDX-License-Identifier: Apache-2.0
"""`agentguard kill`: stops everything in a target now; two people lift it again."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from agentguard.cli.control_log import answer, control_session
from agentguard.cli.locate import DataOption, JsonOption
from agentguard.contracts.codes import flatten
from agentguard.contracts.commands import Kill, Lift, TargetKind
from agentguard.contracts.errors import ConfigError
from agentguard.control.kills import StandingKill
from agentguard.local.control_writer import Order

MINUTE_MS = 60_000
WITHOUT_TENANT = (TargetKind.GLOBAL, TargetKind.RELEASE)
WITHOUT_TARGET = (TargetKind.GLOBAL, TargetKind.TENANT)

app = typer.Typer(help="Stop agents, tools, sessions, tenants, everything.", no_args_is_help=True)

KindArgument = Annotated[TargetKind, typer.Argument(help="what kind of thing is stopped")]
TargetArgument = Annotated[
    str, typer.Argument(help="which one; a tenant's name for `tenant`, nothing for `global`")
]
TenantOption = Annotated[str, typer.Option(help="tenant; the platform's own unless given")]
ReasonOption = Annotated[str, typer.Option(help="why; read by whoever is stopped")]


@app.command()
def on(
    ctx: typer.Context,
    kind: KindArgument,
    target: TargetArgument = "",
    reason: ReasonOption = "",
    minutes: Annotated[
        int, typer.Option(min=0, max=5_256_000, help="ends by itself after; 0 is never")
    ] = 0,
    tenant: TenantOption = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop everything in a target. One person suffices; no other command can undo it in a race."""
    with control_session(ctx, data, is_tightening=True) as session:
        where = _place(kind, target, tenant or session.platform.tenant)
        body = Kill(kind=kind, tenant=where[0], target=where[1], reason=reason)
        end_ms = session.clock.now_ms() + minutes * MINUTE_MS if minutes else 0
        judgements = session.submit_stricter([Order(body=body, not_after_ms=end_ms)])
        answer(session, judgements, f"killed: {_words(kind, where)}", as_json=as_json)


@app.command()
def lift(
    ctx: typer.Context,
    kind: KindArgument,
    target: TargetArgument = "",
    reason: ReasonOption = "",
    tenant: TenantOption = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """End every kill of exactly this target. Two people must sign."""
    with control_session(ctx, data) as session:
        where = _place(kind, target, tenant or session.platform.tenant)
        body = Lift(kind=kind, tenant=where[0], target=where[1], reason=reason)
        judgements = session.submit([Order(body=body)])
        answer(session, judgements, f"lifted: {_words(kind, where)}", as_json=as_json)


@app.command("list")
def list_kills(ctx: typer.Context, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the kills on record, ended ones too."""
    with control_session(ctx, data, is_tightening=True) as session:
        now_ms = session.clock.now_ms()
        rows = [_row(kill, now_ms) for kill in session.fold.kills()]
        if as_json:
            print(json.dumps({"kills": rows, "controlOffset": session.fold.folded}))
            return
        table = Table("kind", "tenant", "target", "state", "reason")
        for row in rows:
            table.add_row(*(flatten(str(value)) for value in list(row.values())[:5]))
        Console().print(table)


def _place(kind: TargetKind, target: str, tenant: str) -> tuple[str, str]:
    """Returns (tenant, target) as the log names them. Raises `ConfigError`."""
    if kind is TargetKind.TENANT:
        return (target or tenant, "")
    if kind in WITHOUT_TARGET:
        return ("", "")
    if not target:
        raise ConfigError(
            f"kind `{kind}` needs a target", next_step=f"agentguard kill on {kind} TARGET"
        )
    return ("" if kind in WITHOUT_TENANT else tenant, target)


def _words(kind: TargetKind, where: tuple[str, str]) -> str:
    return " ".join(part for part in (kind.value, *where) if part)


def _row(standing: StandingKill, now_ms: int) -> dict[str, object]:
    is_over = 0 < standing.end_ms <= now_ms
    begins_later = standing.start_ms > now_ms
    return {
        "kind": standing.kill.kind.value,
        "tenant": standing.kill.tenant,
        "target": standing.kill.target,
        "state": "ended" if is_over else "to begin" if begins_later else "in force",
        "reason": standing.kill.reason,
        "startMs": standing.start_ms,
        "endMs": standing.end_ms,
    }
