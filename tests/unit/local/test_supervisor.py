"""The supervisor starts again what ends, says what cannot stay alive, and outlives its own failures."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentguard.adapters.system import SystemClock
from agentguard.local.supervisor import ProcessSpec, Supervisor

WAIT_S = 15.0


def until(condition: Callable[[], object]) -> None:
    """Waits for something that another process brings about."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def script(path: Path, body: str) -> ProcessSpec:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return ProcessSpec(name="work", command=(str(path),), environment={"PATH": "/usr/bin:/bin"})


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(logs=tmp_path / "log", clock=SystemClock(), tell=lambda _: None)
    yield made
    made.stop()


def pid(supervisor: Supervisor) -> int:
    (report,) = supervisor.report()
    return report.pid


def test_killed_process_runs_again(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(script(tmp_path / "work", "exec sleep 60"))
    first = pid(supervisor)
    os.kill(first, signal.SIGKILL)
    until(lambda: pid(supervisor) not in (0, first))
    (report,) = supervisor.report()
    assert (report.restarts, report.last_exit) == (1, "signal SIGKILL")
    assert supervisor.why_failing("work") == ""


def test_process_that_cannot_be_started_for_a_while_runs_again_later(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    path = tmp_path / "work"
    supervisor.start(script(path, "exec sleep 60"))
    first = pid(supervisor)
    hidden = path.rename(tmp_path / "hidden")
    os.kill(first, signal.SIGKILL)
    until(lambda: supervisor.report()[0].last_exit.startswith("not started"))
    hidden.rename(path)
    until(lambda: pid(supervisor) not in (0, first))


def test_process_that_keeps_ending_is_named_with_its_last_words(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    supervisor.start(script(tmp_path / "work", "echo the port is taken; exit 3"))
    until(lambda: supervisor.why_failing("work"))
    assert supervisor.why_failing("work") == "it keeps ending (exit 3): the port is taken"
    assert supervisor.why_failing("another") == ""
