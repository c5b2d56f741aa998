# SPDX-License-Identifier: Apache-2.0
"""`agentguard keys`: who may sign what; keys join with two people and leave with one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from agentguard.adapters.mldsa_signer import ALGORITHM, read_public_key
from agentguard.cli.control_log import answer, control_session
from agentguard.cli.locate import DataOption, JsonOption
from agentguard.contracts.codes import flatten
from agentguard.contracts.commands import KeyEntry, KeyPurpose, RegisterKey
from agentguard.contracts.errors import ConfigError
from agentguard.local.control_writer import Order

app = typer.Typer(help="List the keys on record, add one, revoke one.", no_args_is_help=True)

KeyIdArgument = Annotated[str, typer.Argument(help="id of the key")]


@app.command("list")
def list_keys(ctx: typer.Context, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the keys in force."""
    with control_session(ctx, data) as session:
        rows = [_row(key) for key in session.fold.keys().values()]
        if as_json:
            print(json.dumps({"keys": rows, "assurance": session.assurance}))
            return
        table = Table("key", "person", "purpose", "algorithm", "public key (begin)")
        for row in rows:
            table.add_row(*(flatten(value) for value in row.values()))
        Console().print(table)
        print(f"assurance: {session.assurance}")


@app.command()
def add(
    ctx: typer.Context,
    key_id: KeyIdArgument,
    file: Annotated[Path, typer.Argument(help="PEM file, public or private; only public is read")],
    person: Annotated[str, typer.Option(help="who holds it")],
    purpose: Annotated[KeyPurpose, typer.Option(help="what it may sign")] = KeyPurpose.PERSON,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a key on record. Two people must sign."""
    entry = KeyEntry(
        key_id=key_id,
        person=person,
        purpose=purpose,
        algorithm=ALGORITHM,
        public_key=read_public_key(file),
    )
    with control_session(ctx, data) as session:
        judgements = session.submit([Order(body=RegisterKey(key=entry, revoked=False))])
        answer(session, judgements, f"key `{key_id}` of `{person}` is on record", as_json=as_json)


@app.command()
def revoke(
    ctx: typer.Context, key_id: KeyIdArgument, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Take a key off the record for ever. Two people where too few would be left."""
    with control_session(ctx, data) as session:
        entry = session.fold.keys().get(key_id)
        if entry is None:
            raise ConfigError(f"no key `{key_id}` is on record", next_step="agentguard keys list")
        judgements = session.submit_stricter([Order(body=RegisterKey(key=entry, revoked=True))])
        answer(session, judgements, f"key `{key_id}` is revoked", as_json=as_json)


def _row(key: KeyEntry) -> dict[str, str]:
    return {
        "keyId": key.key_id,
        "person": key.person,
        "purpose": key.purpose.value,
        "algorithm": key.algorithm,
        "publicKey": key.public_key.hex()[:16],
    }
