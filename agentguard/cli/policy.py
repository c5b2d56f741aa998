# SPDX-License-Identifier: Apache-2.0
"""`agentguard policy`: puts a release in force and shows the one that is."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

from agentguard.cli.control_log import ControlSession, answer, control_session
from agentguard.cli.locate import DataOption, JsonOption
from agentguard.contracts.codes import flatten
from agentguard.contracts.commands import ActivateRelease, ReleaseMode
from agentguard.contracts.errors import ConfigError, ReleaseError
from agentguard.control.state import NO_DIGEST
from agentguard.local.bundles import BASELINE, baseline_bundle, bundle_of, find_bundle, put_bundle
from agentguard.local.control_writer import Order
from agentguard.policy.release import read_bundle

DAY_MS = 86_400_000

app = typer.Typer(help="Release policies and show what is in force.", no_args_is_help=True)


@app.command()
def release(
    ctx: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(help="folder of the policies; the baseline unless given")
    ] = None,
    expires_days: Annotated[
        int, typer.Option(min=0, max=3_650, help="days until it expires; 0 is never")
    ] = 0,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a folder of policies in force. Two people must sign."""
    body = baseline_bundle() if folder is None else bundle_of(folder, revision=folder.name)
    named = BASELINE if folder is None else folder.name
    with control_session(ctx, data) as session:
        last = session.fold.last_release()
        digest = put_bundle(session.log, session.codec, session.fold.cluster, body)
        command = ActivateRelease(
            sequence=1 if last is None else last.sequence + 1,
            bundle_digest=digest,
            previous_digest=NO_DIGEST if last is None else last.bundle_digest,
            mode=ReleaseMode.ENFORCE,
            expires_at_ms=session.clock.now_ms() + expires_days * DAY_MS if expires_days else 0,
            rollback_of=0,
        )
        judgements = session.submit([Order(body=command)])
        done = f"release {command.sequence} ({digest.hex()[:16]}) enforces `{named}`"
        extra = {"sequence": command.sequence, "digest": digest.hex()}
        answer(session, judgements, done, as_json=as_json, extra=extra)


@app.command()
def show(
    ctx: typer.Context,
    file: Annotated[
        str, typer.Option("--file", help="print this file of the release, not the list")
    ] = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the release in force and its files."""
    with control_session(ctx, data) as session:
        now_ms = session.clock.now_ms()
        in_force = session.fold.release(now_ms)
        if in_force is None:
            raise ConfigError(
                "no policy release is in force", next_step="agentguard policy release"
            )
        files = _files(session, in_force)
        if file:
            print(_text(files, file))
            return
        found = {
            "sequence": in_force.sequence,
            "digest": in_force.bundle_digest.hex(),
            "expired": session.fold.release_expired(now_ms),
            "expiresAtMs": in_force.expires_at_ms,
            "releases": [r.sequence for r in session.fold.releases()],
            "files": {name: sha256(text).hexdigest() for name, text in sorted(files.items())},
        }
        print(json.dumps(found) if as_json else _words(found))


def _files(session: ControlSession, in_force: ActivateRelease) -> dict[str, bytes]:
    body = find_bundle(session.log, session.codec, in_force.bundle_digest, session.clock)
    if body is None:
        raise ReleaseError(
            f"the body of release {in_force.sequence} is not on the log",
            next_step="agentguard policy release",
        )
    return dict(read_bundle(body).files)


def _text(files: dict[str, bytes], name: str) -> str:
    if name not in files:
        raise ConfigError(f"the release has no file `{name}`", next_step="agentguard policy show")
    lines = files[name].decode("utf-8", "replace").splitlines()
    return "\n".join(flatten(line) for line in lines)


def _words(found: dict[str, object]) -> str:
    state = "expired" if found["expired"] else "in force"
    files = found["files"]
    lines = [f"release {found['sequence']} {state}, digest {found['digest']}"]
    lines += [f"  {flatten(str(n))}" for n in (files if isinstance(files, dict) else ())]
    return "\n".join(lines)
