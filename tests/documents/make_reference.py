# SPDX-License-Identifier: Apache-2.0
"""Writes the reference pages from the code: `python -P -m tests.documents.make_reference`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import typer
import yaml
from typer.testing import CliRunner

from agentguard import bounds
from agentguard.cli.main import app
from agentguard.config import NOT_YET, SETTINGS
from agentguard.contracts.codes import TEMPLATES
from agentguard.gateway.refusals import STATUS
from agentguard.telemetry import CATALOGUE

ROOT: Final = Path(__file__).resolve().parents[2]
MADE: Final = "*Written by `tests/documents/make_reference.py`; a test compares.*"
WIDTH: Final = 100


def verbs() -> Iterator[tuple[str, ...]]:
    """Yields every verb of the command line as its words, groups before their verbs."""

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield words
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, (*words, name))

    yield from walk(typer.main.get_command(app), ())


def help_of(words: tuple[str, ...]) -> str:
    """Returns the help text of a verb at a fixed width."""
    environment = {"COLUMNS": str(WIDTH), "TERMINAL_WIDTH": str(WIDTH), "NO_COLOR": "1"}
    done = CliRunner(env=environment).invoke(
        app, [*words, "--help"], prog_name="agentguard", terminal_width=WIDTH
    )
    assert done.exit_code == 0, done.output
    return "\n".join(line.rstrip() for line in done.output.strip().splitlines())


def cli() -> str:
    """Every verb with its help text."""
    about = (
        "A running platform is found by `--data`, then `AGENTGUARD_DATA`, then `./data`. An error is "
        "one line `code: message` and one line with the next step, on standard error; a wrong "
        "setting or argument exits with 2."
    )
    shown = (
        f"## `{' '.join(('agentguard', *words))}`\n\n```text\n{help_of(words)}\n```"
        for words in verbs()
    )
    return "\n\n".join(["# Command line", MADE, about, *shown]) + "\n"


def settings() -> str:
    """Every setting, and the names that stop a start."""
    about = (
        "Read once at start, from the environment only. An unknown name that begins with "
        "`AGENTGUARD_` stops the start."
    )
    lines = ["# Settings", "", MADE, "", about, ""]
    lines += [
        *table("setting", "what it is", rows=SETTINGS.items()),
        "",
        "Names of parts that this version does not have stop the start, so that nobody relies on "
        "them: " + ", ".join(f"`{name}`" for name in NOT_YET) + ". So does `JWT_SECRET`: a secret "
        "shared by issuer and verifier lets a verifier forge.",
    ]
    return "\n".join(lines) + "\n"


def metrics() -> str:
    """Every metric of every door."""
    rows = [
        (m.name, m.kind.value, ", ".join(f"`{name}`" for name in m.labels), m.text)
        for m in CATALOGUE
    ]
    head = "Every door answers `GET /metrics` in Prometheus' text format, without a password."
    lines = ["# Metrics", "", MADE, "", head, ""]
    return (
        "\n".join([*lines, *table("metric", "kind", "labels", "what it counts", rows=rows)]) + "\n"
    )


def bound_groups() -> dict[str, list[str]]:
    """Returns the names of the bounds under the headings that their file gives them."""
    groups: dict[str, list[str]] = {}
    heading = ""
    for line in Path(bounds.__file__).read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and not line.startswith("# SPDX"):
            heading = line[2:]
        elif found := re.match(r"([A-Z][A-Z0-9_]*): Final", line):
            groups.setdefault(heading, []).append(found[1])
    return groups


def bounds_page() -> str:
    """Every bound with its value."""
    lines = ["# Bounds", "", MADE, ""]
    lines.append(
        "Each has one name and one place, `agentguard/bounds.py`. The unit is in the name; a name "
        "without one counts things. What a caller sends above a bound is refused with a code of its own."
    )
    for heading, names in bound_groups().items():
        rows = [(name, f"{getattr(bounds, name):,}") for name in names]
        lines += ["", f"## {heading.capitalize()}", "", *table("bound", "value", rows=rows)]
    return "\n".join(lines) + "\n"


def topic_catalogue() -> Mapping[str, Mapping[str, Any]]:
    """Returns the topics of the catalogue."""
    text = (ROOT / "infra" / "kafka" / "topics.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    topics: Mapping[str, Mapping[str, Any]] = found["topics"]
    return topics


def topics() -> str:
    """Every topic with what it holds and how long it is kept."""
    rows = [
        (
            name,
            str(topic["key"]),
            str(topic["partitions"]),
            "yes" if topic.get("sealed") else "",
            ", ".join(map(str, topic["records"])),
            kept(topic["config"]),
        )
        for name, topic in topic_catalogue().items()
    ]
    about = (
        "`infra/kafka/topics.yaml` is the one source of topics, principals and permissions. Values "
        "are Avro single-object frames of the schemas in `schemas/avro/`."
    )
    lines = ["# Topics", "", MADE, "", about, ""]
    lines += table("topic", "key", "partitions", "sealed", "records", "kept", rows=rows)
    return "\n".join(lines) + "\n"


def kept(config: Mapping[str, Any]) -> str:
    """Returns how long a topic keeps its records, in words."""
    if config.get("cleanup.policy") == "compact":
        return "newest of each key"
    size, age = int(config.get("retention.bytes", -1)), int(config.get("retention.ms", -1))
    limits = []
    if size >= 0:
        limits.append(f"{size / 1e9:.1f} GB")
    if age >= 0:
        limits.append(f"{age / 3_600_000:g} h")
    return " or ".join(limits) or "for ever"


def codes() -> str:
    """Every code that an answer can carry."""
    rows = [
        (code.value, str(STATUS.get(code, 200)), template.reason, template.remedy)
        for code, template in TEMPLATES.items()
    ]
    about = (
        "Every answer of the gateway has `action`, `code`, `reason` and `remedy`. `{}` is filled in. "
        "Doors add four codes that say nothing about a call: `pending` (202), `unknown_request` and "
        "`unknown_path` (404), `internal` (500)."
    )
    lines = ["# Codes", "", MADE, "", about, ""]
    lines += table("code", "status", "reason", "what would pass", rows=rows)
    return "\n".join(lines) + "\n"


def table(*head: str, rows: Any) -> Iterator[str]:
    """Yields the lines of a table; the first cell of a row is a name."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for name, *cells in rows:
        shown = [cell.replace("|", "\\|") for cell in cells]
        yield f"| `{name.replace('|', chr(92) + '|')}` | {' | '.join(shown)} |"


PAGES: Final = {
    "docs/cli.md": cli,
    "docs/operate/settings.md": settings,
    "docs/operate/metrics.md": metrics,
    "docs/operate/bounds.md": bounds_page,
    "docs/operate/topics.md": topics,
    "docs/codes.md": codes,
}

if __name__ == "__main__":
    for path, make in PAGES.items():
        (ROOT / path).write_text(make(), encoding="utf-8")
