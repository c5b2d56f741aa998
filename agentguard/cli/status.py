# SPDX-License-Identifier: Apache-2.0
"""`agentguard status`: which processes live, how far each has read, what is ready and what not."""

from __future__ import annotations

import json

import typer
from rich.console import Console
from rich.table import Table

from agentguard.adapters.system import SystemClock
from agentguard.cli.locate import DataOption, JsonOption, data_folder
from agentguard.contracts.codes import flatten
from agentguard.contracts.records import Heartbeat
from agentguard.local.beats import last_heartbeats
from agentguard.local.platform_files import Platform, read_platform

ALIVE_MS = 5_000
NOT_READY = 1


def command(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show what runs. Exit 0 where every process that was seen is alive and ready, else 1."""
    platform = read_platform(data_folder(data))
    beats = last_heartbeats(platform)
    now = SystemClock().now_ms()
    rows = [_row(b.said, now) for b in beats]
    if as_json:
        print(json.dumps({"cluster": platform.cluster, "processes": rows}))
    else:
        _show(platform, rows)
    good = rows and all(r["alive"] and r["ready"] for r in rows)
    raise typer.Exit(0 if good else NOT_READY)


def _row(beat: Heartbeat, now_ms: int) -> dict[str, object]:
    age = now_ms - beat.clock_ms
    return {
        "process": beat.process,
        "role": beat.role.value,
        "build": beat.build,
        "alive": age < ALIVE_MS,
        "age_ms": age,
        "ready": beat.ready,
        "reason": beat.reason,
        "releases": list(beat.releases),
        "folded": {f"{f.topic}/{f.partition}": f.offset for f in beat.folded},
    }


def _show(platform: Platform, rows: list[dict[str, object]]) -> None:
    console = Console()
    console.print(f"cluster {platform.cluster}  gateway {platform.gateway}", markup=False)
    table = Table("process", "role", "state", "last seen", "read", "releases")
    for row in rows:
        state = "ready" if row["ready"] else f"not ready: {flatten(str(row['reason']))}"
        if not row["alive"]:
            state = "no heartbeat"
        folded = row["folded"]
        read = sum(folded.values()) if isinstance(folded, dict) else 0
        releases = row["releases"]
        table.add_row(
            flatten(str(row["process"])),
            str(row["role"]),
            state,
            f"{int(str(row['age_ms'])) / 1000:.1f} s ago",
            f"{read} records",
            ", ".join(map(flatten, releases)) if isinstance(releases, list) else "",
        )
    console.print(table)
