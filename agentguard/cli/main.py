# SPDX-License-Identifier: Apache-2.0
"""`agentguard`: mounts the verbs and turns every error into one line with the next step."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

import typer

from agentguard.contracts.errors import AgentGuardError, ConfigError

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
    """Adds a module's verbs: `app` as a group, or `command` as a single verb.

    The base installation has no client of the log: a verb that needs one says which extra has it.
    """
    name = module.replace("_", "-")
    try:
        found = importlib.import_module(f"agentguard.cli.{module}")
    except ModuleNotFoundError as error:
        parent.command(name=name, help="Needs agentguard[platform].")(_missing(error.name or ""))
        return
    if hasattr(found, "app"):
        parent.add_typer(found.app, name=name)
    else:
        parent.command(name=name)(found.command)


def _missing(package: str) -> Callable[[], None]:
    def command() -> None:
        raise ConfigError(
            f"this verb needs the package `{package}`",
            next_step="pip install 'agentguard[platform]'",
        )

    return command


for verb in (
    "up", "status", "doctor", "decide", "agents", "tools", "policy", "kill", "keys", "audit",
    "verify", "eval",
):  # fmt: skip
    mount(app, verb)


def main() -> None:
    """Runs the command line; an error of ours prints `code: message` and the next step."""
    try:
        app(prog_name="agentguard")
    except AgentGuardError as error:
        print(f"{error.code}: {error}\n  next: {error.next_step}", file=sys.stderr)
        sys.exit(USAGE if error.code == "config" else 1)


if __name__ == "__main__":
    main()
