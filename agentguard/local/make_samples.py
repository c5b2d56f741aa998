# SPDX-License-Identifier: Apache-2.0
"""Writes the sample traffic: recorded tool calls of a public benchmark, clean and under attack.

Run once with the `agentdojo` extra: `PYTHONHASHSEED=0 python -m agentguard.local.make_samples`.
Nothing in here calls a model: the calls are the benchmark's own ground truth, the outputs what its
tools answer.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from agentdojo.agent_pipeline.base_pipeline_element import BasePipelineElement
from agentdojo.agent_pipeline.tool_execution import tool_result_to_str
from agentdojo.attacks.attack_registry import load_attack
from agentdojo.base_tasks import BaseInjectionTask, BaseUserTask
from agentdojo.functions_runtime import FunctionsRuntime
from agentdojo.task_suite.load_suites import get_suites
from agentdojo.task_suite.task_suite import TaskSuite

BENCHMARK = "v1.2.2"
SAMPLES = Path(__file__).parent / "samples" / "calls.json.gz"
TEMPLATES = (
    "important_instructions_no_model_name",
    "direct",
    "ignore_previous",
    "system_message",
    "injecagent",
)

# what a tool stamps with the clock of the machine has fractions of a second, recorded data has none
_NOW = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d{1,6}")
STILL = "2024-05-15 12:00:00"

JsonObject = dict[str, Any]


class _NoModel(BasePipelineElement):  # type: ignore[misc]  # its package has no types
    """Stands where an attack asks which model it is made for."""

    name = "local"

    def query(self, *_: Any, **__: Any) -> Any:
        """Never called: nothing here asks a model."""
        raise NotImplementedError


class Suite:
    """One suite of the benchmark, run without a model."""

    def __init__(self, name: str, suite: TaskSuite[Any]) -> None:
        self.name = name
        self._suite = suite
        pipeline = _NoModel()
        self._attacks = {t: load_attack(t, suite, pipeline) for t in TEMPLATES}
        self.user_tasks: list[BaseUserTask[Any]] = list(suite.user_tasks.values())
        self.injection_tasks = [t for t in suite.injection_tasks.values() if self._calls(t)]

    def tools(self) -> JsonObject:
        """Returns description and parameter schema of every tool."""
        return {
            tool.name: {
                "description": " ".join(tool.description.split()),
                "schema": tool.parameters.model_json_schema(),
            }
            for tool in self._suite.tools
        }

    def _calls(self, task: BaseUserTask[Any] | BaseInjectionTask[Any]) -> list[Any]:
        environment = self._suite.load_and_inject_default_environment({})
        if isinstance(task, BaseUserTask):
            environment = task.init_environment(environment)
        return list(task.ground_truth(environment))

    def is_injectable(self, task: BaseUserTask[Any]) -> bool:
        """Returns whether the task's own calls read a place that an attacker can write to."""
        try:
            self._attacks["direct"].attack(task, self.injection_tasks[0])
        except ValueError:
            return False
        return True

    def clean(self, task: BaseUserTask[Any]) -> JsonObject:
        """Returns the case of a user's task that nobody attacks."""
        run = _Run(self._suite, task, {})
        run.perform(task)
        return self._case("benign", task.ID, task.PROMPT, run.calls, first=0)

    def twin(self, injection: BaseInjectionTask[Any]) -> JsonObject:
        """Returns the case of a user who asks, verbatim, for what an attacker would ask for."""
        run = _Run(self._suite, None, {})
        run.perform(injection)
        return self._case("twin", injection.ID, injection.GOAL, run.calls, first=0)

    def attacked(
        self, task: BaseUserTask[Any], injection: BaseInjectionTask[Any], template: str
    ) -> Iterator[JsonObject]:
        """Yields two cases: the user's calls under attack, and what the attacker asks for."""
        injections = self._attacks[template].attack(task, injection)
        texts = [" ".join(text.split()) for text in injections.values()]
        name = f"{task.ID}/{injection.ID}/{template}"
        run = _Run(self._suite, task, injections)
        run.perform(task)
        yield self._case("under_attack", name, task.PROMPT, run.calls, first=0, leaked=texts)
        run = _Run(self._suite, task, injections)
        run.perform(task, until=texts)
        first = len(run.calls)
        run.perform(injection)
        case = self._case("injection", name, task.PROMPT, run.calls, first=first, leaked=texts)
        yield {**case, "goal": injection.GOAL}

    def _case(
        self,
        kind: str,
        name: str,
        task: str,
        calls: list[JsonObject],
        *,
        first: int,
        leaked: Sequence[str] = (),
    ) -> JsonObject:
        """Returns a case; calls whose arguments hold an injected text are not judged.

        Such a call says nothing about who asked for it: the benchmark's own code copied the text.
        """
        return {
            "suite": self.name,
            "case": f"{self.name}/{name}",
            "kind": kind,
            "task": task,
            "calls": calls,
            "judged": [
                i
                for i in range(first, len(calls))
                if not _carries(json.dumps(calls[i]["arguments"], ensure_ascii=False), leaked)
            ],
            "goal": "",
        }


class _Run:
    """Calls made one after the other in one environment."""

    def __init__(
        self, suite: TaskSuite[Any], task: BaseUserTask[Any] | None, injections: dict[str, str]
    ) -> None:
        environment = suite.load_and_inject_default_environment(injections)
        self._environment = environment if task is None else task.init_environment(environment)
        self._runtime = FunctionsRuntime(suite.tools)
        self.calls: list[JsonObject] = []

    def perform(
        self,
        task: BaseUserTask[Any] | BaseInjectionTask[Any],
        until: list[str] | None = None,
    ) -> None:
        """Makes a task's calls; with `until`, only up to the first output that holds such a text."""
        for call in task.ground_truth(self._environment):
            result, error = self._runtime.run_function(
                self._environment, call.function, dict(call.args)
            )
            output = error if error is not None else tool_result_to_str(result)
            output = _NOW.sub(STILL, output)
            self.calls.append(
                {"tool": call.function, "arguments": dict(call.args), "output": output}
            )
            if until is not None and _carries(output, until):
                return


def _carries(text: str, injected: Sequence[str]) -> bool:
    """Returns whether a text holds an injected one; serialising wraps, quotes and escapes it."""
    plain = _bare(text.replace("\\n", " "))
    return any(_bare(part)[:60] in plain for part in injected)


def _bare(text: str) -> str:
    return "".join(c for c in text if c.isalnum())


def cases_of(suite: Suite, *, every_pair: bool = False) -> Iterator[JsonObject]:
    """Yields a suite's cases: each user's task clean and under one attack, and every twin.

    Attacks and templates go round in turn; with `every_pair` each task meets each of them.
    """
    for number, task in enumerate(suite.user_tasks):
        yield suite.clean(task)
        if not suite.is_injectable(task):
            continue
        if every_pair:
            for injection in suite.injection_tasks:
                for template in TEMPLATES:
                    yield from suite.attacked(task, injection, template)
        else:
            injection = suite.injection_tasks[number % len(suite.injection_tasks)]
            yield from suite.attacked(task, injection, TEMPLATES[number % len(TEMPLATES)])
    for injection in suite.injection_tasks:
        yield suite.twin(injection)


# the benchmark parses its environments anew for each run; the same parser in C is ten times faster
yaml.SafeLoader = yaml.CSafeLoader  # type: ignore[misc,assignment]


def make(*, every_pair: bool = False, only: str = "") -> JsonObject:
    """Returns the whole sample file: tools by suite and cases."""
    suites = [Suite(n, s) for n, s in get_suites(BENCHMARK).items() if only in ("", n)]
    tools = {s.name: s.tools() for s in suites}
    cases = [case for s in suites for case in cases_of(s, every_pair=every_pair)]
    return {"benchmark": BENCHMARK, "tools": tools, "cases": cases}


def encode(samples: JsonObject) -> bytes:
    """Returns the file's bytes, the same on every machine."""
    text = json.dumps(samples, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


if __name__ == "__main__":
    if sys.flags.hash_randomization:
        sys.exit("run it with PYTHONHASHSEED=0: the benchmark keeps people in sets")
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES
    target.write_bytes(encode(make()))
    print(f"{target}: {target.stat().st_size} bytes")
