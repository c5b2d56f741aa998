# SPDX-License-Identifier: Apache-2.0
"""`agentguard eval`: detection quality on recorded calls, without a platform."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from agentguard.cli.locate import JsonOption
from agentguard.local.detection import TENANT, CaseResult, Judge, read_rows
from agentguard.local.sample_traffic import Samples, load
from agentguard.local.scores import Share, false_positives, shares


def command(
    rows: Annotated[
        list[Path] | None,
        typer.Option(help="file of rows (JSON lines, .gz or plain); may be repeated"),
    ] = None,
    cases: Annotated[
        Path | None, typer.Option(help="file of cases instead of the packaged samples")
    ] = None,
    vouched: Annotated[
        bool, typer.Option(help="outputs have the trust label that their tools are registered with")
    ] = False,
    release: Annotated[
        Path | None, typer.Option(help="folder of a policy release; the baseline unless given")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Replay recorded calls through the stages and a release; print what was allowed and stopped.

    Without `--rows` the sample traffic is judged. Rules are tuned on its slack suite only. Rows are
    judged one by one; their tools are registered as their names suggest, all arguments decisive.
    """
    judge = Judge(vouched=vouched, release=release)
    found: list[Share] = []
    if rows:
        for path in rows:
            found += false_positives(_run(judge, read_rows(path), as_json=as_json))
    else:
        samples = load(TENANT) if cases is None else load(TENANT, path=cases)
        found += shares(_run(judge, samples, as_json=as_json))
    if as_json:
        print(json.dumps([asdict(share) for share in found]))
    else:
        _print(found)


def _run(judge: Judge, samples: Samples, *, as_json: bool) -> list[CaseResult]:
    tools = {tool.tool: tool for tool in samples.tools}
    listed: Iterable[CaseResult] = (judge.run(case, tools) for case in samples.cases)
    console = Console(stderr=True)
    quiet = as_json or not console.is_terminal
    return list(
        track(listed, total=len(samples.cases), console=console, disable=quiet, transient=True)
    )


def _print(found: Iterable[Share]) -> None:
    table = Table("source", "measure", "share", "95 % interval", "of")
    for share in found:
        table.add_row(
            share.suite,
            share.measure,
            f"{share.value:.3f}",
            f"{share.low:.3f} - {share.high:.3f}",
            str(share.count),
        )
    Console().print(table)
