# SPDX-License-Identifier: Apache-2.0
"""`agentguard decide`: one request through the gateway, the verdict as words and exit code."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Any

import typer

from agentguard.cli.locate import DataOption, JsonOption, data_folder
from agentguard.cli.spec_files import read_spec_file
from agentguard.contracts.codes import flatten
from agentguard.contracts.errors import ConfigError, UndecodableError
from agentguard.contracts.strict_json import encode_canonical, parse_strict
from agentguard.local.platform_files import read_credentials, read_platform

EXIT_CODES = {"allow": 0, "deny": 10, "transform": 11, "escalate": 12}
USAGE, UNREACHABLE = 2, 3
TIMEOUT_S = 35.0


def command(
    tool: Annotated[str, typer.Option(help="name of the tool, as registered")],
    params: Annotated[str, typer.Option(help="its parameters, a JSON object")] = "{}",
    task: Annotated[str, typer.Option(help="what the user asked the agent to do")] = "",
    agent: Annotated[
        str, typer.Option(help="id of the agent; needed where several are known")
    ] = "",
    history: Annotated[
        Path | None,
        typer.Option(help="file: list of {tool, arguments, output, trust} seen before the call"),
    ] = None,
    session: Annotated[str, typer.Option(help="session of the agent")] = "cli",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask whether a call may run. Exit: 0 allow, 10 deny, 11 transform, 12 escalate, 3 no answer."""
    folder = data_folder(data)
    platform, credentials = read_platform(folder), read_credentials(folder)
    who = _agent(agent, list(credentials.agents))
    body = {
        "agentId": who,
        "toolName": tool,
        "parameters": _json(params.encode(), "--params"),
        "context": {
            "userTask": task,
            "sessionId": session,
            "history": [] if history is None else read_spec_file(history),
            "environment": "production",
        },
    }
    answer = ask(platform.gateway, credentials.agents[who].token, body)
    if as_json:
        print(json.dumps(answer))
    else:
        print_verdict(answer)
    raise typer.Exit(_exit_code(answer))


def ask(gateway: str, token: str, body: dict[str, Any]) -> dict[str, Any]:
    """Returns the gateway's answer; an unreachable one is a deny with code `unreachable`."""
    request = urllib.request.Request(  # noqa: S310  the address comes from our own data folder
        f"{gateway}/v1/decisions",
        data=encode_canonical(body),
        headers={"content-type": "application/json", "authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310
            return _object(reply.read())
    except urllib.error.HTTPError as error:
        return _object(error.read())
    except OSError:
        reason = "the gateway does not answer; nothing may run"
        return {"action": "deny", "code": "unreachable", "reason": reason}


def print_verdict(answer: dict[str, Any]) -> None:
    """Prints an answer for a person; every text of it is hostile to a terminal."""
    action = flatten(str(answer.get("action", "deny")))
    print(f"{action}  {flatten(str(answer.get('code', '')))}")
    for line in str(answer.get("reason", "")).splitlines() or [""]:
        print(f"  {flatten(line)}")
    if answer.get("remedy"):
        print(f"  to pass: {flatten(str(answer['remedy']))}")
    if answer.get("requestId"):
        print(f"  request {flatten(str(answer['requestId']))}")


def _object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and answer.get("action") in EXIT_CODES:
        return answer
    return {"action": "deny", "code": "unreachable", "reason": "the answer cannot be read"}


def _exit_code(answer: dict[str, Any]) -> int:
    if answer.get("code") == "unreachable":
        return UNREACHABLE
    return EXIT_CODES.get(str(answer.get("action")), EXIT_CODES["deny"])


def _agent(named: str, known: list[str]) -> str:
    if named in known:
        return named
    if not named and len(known) == 1:
        return known[0]
    if named:
        raise ConfigError(
            f"no credential for agent `{named}`", next_step=f"agentguard agents register {named}"
        )
    raise ConfigError("several agents are known", next_step=f"--agent {' | '.join(sorted(known))}")


def _json(text: bytes, option: str) -> Any:
    try:
        return parse_strict(text)
    except UndecodableError as error:
        print(f"usage: {option} is not strict JSON: {error}", file=sys.stderr)
        raise typer.Exit(USAGE) from error
