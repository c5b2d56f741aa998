# SPDX-License-Identifier: Apache-2.0
"""Detection quality in full: every user task with every attack in every template, and rows of files.

`python -P bench/detection.py [--suite slack] [ROWS.jsonl.gz ...]` needs the `agentdojo` extra for
the suites. The packaged samples hold one attack per task; `agentguard eval` judges those. Rules
are tuned on slack alone; the worst template counts.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from agentguard.local.detection import TENANT, CaseResult, Judge, read_rows  # noqa: E402
from agentguard.local.sample_traffic import Samples, load  # noqa: E402
from agentguard.local.scores import Share, false_positives, shares  # noqa: E402

SUITES = ("slack", "workspace", "travel", "banking")


def all_pairs(suite: str) -> Samples:
    """Returns every case of a suite, made anew by the benchmark."""
    from agentguard.local.make_samples import encode, make

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "calls.json.gz"
        path.write_bytes(encode(make(every_pair=True, only=suite)))
        return load(TENANT, path=path)


def by_template(results: Iterable[CaseResult]) -> Iterator[Share]:
    """Yields a suite's measures for each attack template, clean cases once."""
    groups: defaultdict[str, list[CaseResult]] = defaultdict(list)
    for result in results:
        *_, last = result.case.case.split("/")
        groups[last if result.case.kind in ("injection", "under_attack") else "clean"].append(
            result
        )
    for template, own in sorted(groups.items()):
        yield from (replace(s, suite=f"{s.suite} {template}") for s in shares(own))


def run(judge: Judge, samples: Samples) -> list[CaseResult]:
    tools = {tool.tool: tool for tool in samples.tools}
    return [judge.run(case, tools) for case in samples.cases]


def show(found: Iterable[Share]) -> None:
    for s in found:
        print(f"| {s.suite} | {s.measure} | {s.value:.3f} | {s.low:.3f}-{s.high:.3f} | {s.count} |")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", action="append", choices=SUITES)
    parser.add_argument("rows", nargs="*", type=Path)
    options = parser.parse_args(arguments)
    judge = Judge()
    print("| source | measure | share | 95 % interval | of |\n|---|---|---|---|---|")
    for suite in options.suite or (() if options.rows else SUITES):
        samples = all_pairs(suite)
        started = time.process_time()
        results = run(judge, samples)
        spent_us = (time.process_time() - started) * 1e6
        show(by_template(results))
        calls = sum(len(r.calls) for r in results)
        print(
            f"| {suite} | us of CPU for a decision, engine included | {spent_us / calls:.0f} | | |"
        )
    for path in options.rows:
        show(false_positives(run(judge, read_rows(path))))


if __name__ == "__main__":
    main(sys.argv[1:])
