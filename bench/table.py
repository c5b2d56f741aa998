# SPDX-License-Identifier: Apache-2.0
"""Turns measured figures into the tables of `docs/performance.md` and the line of the README."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Run = Mapping[str, Any]
PROCESSES = ("gateway", "decide", "seal", "store", "broker")
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
CPU_AIM_US = {"gateway": 700, "decide": 950, "seal": 200, "store": 170}


def middle(runs: Sequence[Run], key: str) -> float:
    """Returns the median of one figure."""
    return statistics.median(float(r[key]) for r in runs)


def cpu(runs: Sequence[Run], process: str) -> float:
    """Returns the median CPU of a process for each decision, in µs."""
    return statistics.median(float(r["cpu_us"][process]) for r in runs)


def verdict(value: float, aim: float, *, at_least: bool = False) -> str:
    """Returns whether an aim was reached, in a word."""
    return "reached" if (value >= aim if at_least else value <= aim) else "**not reached**"


def latency_row(title: str, runs: Sequence[Run], aim: str) -> str:
    """Returns one row: rate, latencies, how they ended."""
    return (
        f"| {title} | {middle(runs, 'decided_per_s'):.0f} | {middle(runs, 'p50_ms'):.1f} | "
        f"{middle(runs, 'p95_ms'):.1f} | {middle(runs, 'p99_ms'):.1f} | {aim} |"
    )


def echo_row(title: str, figures: Run) -> str:
    """Returns the row of the bare echo."""
    return (
        f"| {title} | – | {figures['p50_ms']:.1f} | {figures['p95_ms']:.1f} | "
        f"{figures['p99_ms']:.1f} | the log alone |"
    )


def render(figures: Mapping[str, Any]) -> str:
    """Returns the tables of one whole run."""
    at_200, at_500 = figures["open_200"], figures["open_500"]
    peak, twice = figures["saturation"], figures["twice"]
    most = middle(peak, "decided_per_s")
    kept = middle(twice, "decided_per_s") / most
    one = figures["one_agent_32"]
    everyone = sum(float(v) for v in peak[-1]["rss_mb"].values())
    noise = [*at_200, *at_500, *peak, *twice]
    p50, p95 = middle(at_200, "p50_ms"), middle(at_200, "p95_ms")
    aim_200 = f"p50 < 8: {verdict(p50, 8)}; p95 < 20: {verdict(p95, 20)}"
    lines = [
        (
            f"{figures['date']}, {figures['machine']}, everything and the load generator on it; "
            f"medians of {len(at_200)} runs of {figures['seconds']:.0f} s; idle "
            f"{middle(noise, 'idle_pct'):.0f} %, steal {middle(noise, 'steal_pct'):.1f} %, "
            f"calibration loop {middle(noise, 'calibration_ms'):.0f} ms "
            f"({min(float(r['calibration_ms']) for r in noise):.0f} at best)."
        ),
        "",
        (
            "| open loop, 1,000 agents of the recorded trajectories | decided/s | p50 ms | p95 ms "
            "| p99 ms | aim |"
        ),
        "|---|---|---|---|---|---|",
        latency_row("200/s", at_200, aim_200),
        echo_row("bare two-hop echo at 200/s", figures["echo_200"]),
        latency_row("500/s", at_500, "stated"),
        echo_row("bare two-hop echo at 500/s", figures["echo_500"]),
        latency_row(
            "saturation (192 in flight)", peak, f"≥ 700/s: {verdict(most, 700, at_least=True)}"
        ),
        latency_row(
            f"offered twice that ({middle(twice, 'offered_per_s'):.0f}/s)",
            twice,
            f"goodput {kept:.0%} of saturation, ≥ 80 %: {verdict(kept, 0.8, at_least=True)}",
        ),
        latency_row(
            "one agent, 32 in flight",
            [one],
            f"≥ 500/s: {verdict(float(one['decided_per_s']), 500, at_least=True)}",
        ),
        latency_row("one agent, closed loop", [figures["one_agent_closed"]], "stated"),
        "",
        "| CPU µs a decision at | gateway | decide | seal | store | broker | load |",
        "|---|---|---|---|---|---|---|",
    ]
    for title, runs in (("200/s", at_200), ("500/s", at_500), ("saturation", peak)):
        cells = " | ".join(f"{cpu(runs, p):.0f}" for p in PROCESSES)
        lines.append(f"| {title} | {cells} | {middle(runs, 'load_cpu_us'):.0f} |")
    reached = "; ".join(
        f"{p} ≤ {aim}: {verdict(cpu(at_500, p), aim)}" for p, aim in CPU_AIM_US.items()
    )
    sealed = figures["sealed_after"]
    lines += [
        "",
        f"Aims at 500/s: {reached}.",
        "",
        "| | measured | aim |",
        "|---|---|---|",
        (
            f"| signed inclusion after the decision | p50 {sealed['p50_ms']:.0f} ms, p95 "
            f"{sealed['p95_ms']:.0f} ms | p95 < 600 ms: {verdict(sealed['p95_ms'], 600)} |"
        ),
        (
            f"| memory of all processes at the end | {everyone:.0f} MB "
            f"({', '.join(f'{k} {v}' for k, v in peak[-1]['rss_mb'].items())}) "
            f"| < 2,500 MB: {verdict(everyone, 2_500)} |"
        ),
        f"| first start to ready, packages and jars there | {figures['first_start_s']} s | – |",
        (
            f"| second start to ready | {figures['second_start_s']} s | < 15 s: "
            f"{verdict(float(figures['second_start_s']), 15)} |"
        ),
        (
            f"| bytes on the log for a decision (request, outputs, decision, seal) "
            f"| {figures['bytes_per_decision_log']} | stated |"
        ),
        f"| bytes in the store for a decision | {figures['bytes_per_decision_store']} | stated |",
    ]
    return "\n".join(lines)


def readme_line(figures: Mapping[str, Any]) -> str:
    """Returns the README's figures: one paragraph."""
    at_200, peak = figures["open_200"], figures["saturation"]
    return (
        f"On {figures['machine']}, load generator included ({figures['date']}): at 200 calls a "
        f"second p50 {middle(at_200, 'p50_ms'):.1f} ms and p95 {middle(at_200, 'p95_ms'):.1f} ms; "
        f"at most {middle(peak, 'decided_per_s'):.0f} decisions a second. Every figure, reached or "
        "not, is in [docs/performance.md](docs/performance.md); `make bench` measures yours."
    )


def insert(path: Path, text: str) -> None:
    """Puts a text between the markers of a document."""
    old = path.read_text(encoding="utf-8")
    pattern = r"(<!-- measured: begin[^>]*-->\n).*?(<!-- measured: end -->)"
    new, count = re.subn(pattern, lambda m: m[1] + text + "\n" + m[2], old, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{path.name} has no place for figures")
    path.write_text(new, encoding="utf-8")
