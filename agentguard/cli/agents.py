# SPDX-License-Identifier: Apache-2.0
"""`agentguard agents`: registers agents, gives each its credential, blocks them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from agentguard.cli.control_log import ControlSession, answer, control_session
from agentguard.cli.locate import DataOption, JsonOption
from agentguard.contracts.codes import flatten
from agentguard.contracts.commands import RegisterAgent, Registration
from agentguard.contracts.errors import ConfigError
from agentguard.local.control_writer import Order
from agentguard.local.platform_files import (
    AgentCredential,
    change_credentials,
    read_credentials,
)
from agentguard.registry.agents import (
    CREDENTIAL_BYTES,
    AgentLabels,
    Credential,
    is_expired,
    make_agent,
    make_credential,
)

DAY_MS = 86_400_000

app = typer.Typer(help="Register agents, list them, block them.", no_args_is_help=True)

AgentArgument = Annotated[str, typer.Argument(help="id of the agent")]
TenantOption = Annotated[str, typer.Option(help="tenant; the platform's own unless given")]


@app.command()
def register(
    ctx: typer.Context,
    agent_id: AgentArgument,
    tenant: TenantOption = "",
    owner: Annotated[str | None, typer.Option(help="who answers for the agent")] = None,
    role: Annotated[list[str] | None, typer.Option(help="a role; may be repeated")] = None,
    capability: Annotated[
        list[str] | None, typer.Option(help="a capability; may be repeated")
    ] = None,
    expires_days: Annotated[
        int, typer.Option(min=0, max=3_650, help="days until it expires; 0 is never")
    ] = 0,
    pending: Annotated[
        bool, typer.Option("--pending", help="on record, not yet usable; one person suffices")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register an agent, or register it again with a new credential. Prints the credential once.

    What is not given stays as it is on record.
    """
    with control_session(ctx, data) as session:
        read_credentials(session.data)  # before anything is appended: the credential must land
        named = tenant or session.platform.tenant
        labels = _labels(session.fold.agent(named, agent_id))
        labels = replace(
            labels,
            status=Registration.PENDING if pending else Registration.ENABLED,
            owner=labels.owner if owner is None else owner,
            roles=labels.roles if role is None else tuple(role),
            capabilities=labels.capabilities if capability is None else tuple(capability),
            expires_at_ms=session.clock.now_ms() + expires_days * DAY_MS if expires_days else 0,
        )
        credential = make_credential(session.entropy.token(CREDENTIAL_BYTES))
        body = make_agent(agent_id, tenant=named, credential=credential, labels=labels)
        judgements = session.submit([Order(body=body)])
        if judgements[0].accepted:
            _keep(session, agent_id, credential)
        done = f"agent `{agent_id}` is {labels.status}"
        answer(session, judgements, done, as_json=as_json, extra={"credential": credential.token})
        if not as_json:
            print(f"credential, shown this once: {credential.token}")


@app.command()
def block(
    ctx: typer.Context,
    agent_id: AgentArgument,
    tenant: TenantOption = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Block an agent: everything it asks is denied. One person suffices."""
    with control_session(ctx, data) as session:
        named = tenant or session.platform.tenant
        known = session.fold.agent(named, agent_id)
        if known is None:
            raise ConfigError(f"agent `{agent_id}` is not registered in tenant `{named}`")
        body = replace(known, status=Registration.BLOCKED)
        judgements = session.submit_stricter([Order(body=body)])
        answer(session, judgements, f"agent `{agent_id}` is blocked", as_json=as_json)


@app.command("list")
def list_agents(ctx: typer.Context, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the registered agents."""
    with control_session(ctx, data) as session:
        now_ms = session.clock.now_ms()
        rows = [_row(agent, now_ms) for agent in session.fold.agents()]
        if as_json:
            print(json.dumps({"agents": rows, "controlOffset": session.fold.folded}))
            return
        table = Table("tenant", "agent", "status", "owner", "roles", "credential")
        for row in rows:
            table.add_row(*(flatten(str(value)) for value in list(row.values())[:6]))
        Console().print(table)


def _labels(known: RegisterAgent | None) -> AgentLabels:
    if known is None:
        return AgentLabels()
    return AgentLabels(
        owner=known.owner,
        version=known.version,
        roles=known.roles,
        capabilities=known.capabilities,
        risk_profile=known.risk_profile,
        attestation=known.attestation,
    )


def _keep(session: ControlSession, agent_id: str, credential: Credential) -> None:
    with change_credentials(session.data) as credentials:
        credentials.agents[agent_id] = AgentCredential(token=credential.token)


def _row(agent: RegisterAgent, now_ms: int) -> dict[str, object]:
    return {
        "tenant": agent.tenant,
        "agentId": agent.agent_id,
        "status": "expired" if is_expired(agent, now_ms) else agent.status.value,
        "owner": agent.owner,
        "roles": ", ".join(agent.roles),
        "credentialId": agent.credential_id,
        "expiresAtMs": agent.expires_at_ms,
    }
