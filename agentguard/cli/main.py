# SPDX-License-Identifier: Apache-2.0
"""`agentguard`: mounts the verbs and turns every error into one line with the next step."""

from __future__ import annotations

import importlib
import sys

import typer

from agentguard.contracts.errors import AgentGuardError

app = typer.Typer(
    name="agentguard",
    help="Decides before each tool call of an AI agent whether it may run.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

USAGE = 2


def mount(parent: typer.Typer, module: str) -> None:
    """Adds a module's verbs: `app` as a group, or `command` as a single verb."""
    found = importlib.import_module(f"agentguard.cli.{module}")
    if hasattr(found, "app"):
        parent.add_typer(found.app, name=module.replace("_", "-"))
    else:
        parent.command(name=module.replace("_", "-"))(found.command)


for verb in ("up", "status", "decide", "agents", "tools", "policy", "kill", "audit", "verify"):
    mount(app, verb)


def main() -> None:
    """Runs the command line; an error of ours prints `code: message` and the next step."""
    try:
        app()
    except AgentGuardError as error:
        print(f"{error.code}: {error}\n  next: {error.next_step}", file=sys.stderr)
        sys.exit(USAGE if error.code == "config" else 1)


if __name__ == "__main__":
    main()
