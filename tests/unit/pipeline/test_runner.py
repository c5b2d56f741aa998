"""The loop of a process: clean stop, exit code, work beside it."""

from __future__ import annotations

import signal
import threading

import pytest

from agentguard.contracts.errors import FatalLogError
from agentguard.pipeline.runner import FATAL, STOPPED, beside, run, stop_on_signals


def test_loop_ends_cleanly_when_it_is_told_to_stop() -> None:
    stop = threading.Event()
    done: list[str] = []

    def step() -> None:
        done.append("step")
        if len(done) == 3:
            stop.set()

    assert run(step, close=lambda: done.append("close"), stop=stop) == STOPPED
    assert done == ["step", "step", "step", "close"]


@pytest.mark.parametrize("error", [FatalLogError("the log client died"), ZeroDivisionError()])
def test_error_ends_the_process_with_another_exit_code(error: Exception) -> None:
    stop = threading.Event()
    closed: list[bool] = []

    def step() -> None:
        raise error

    assert run(step, close=lambda: closed.append(True), stop=stop) == FATAL
    assert closed == []
    assert stop.is_set()


def test_signals_set_the_event_that_ends_the_loop() -> None:
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        stop = stop_on_signals()
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_work_beside_the_loop_ends_with_it() -> None:
    stop, worked = threading.Event(), threading.Event()
    thread = beside(worked.set, every_ms=1, stop=stop)
    assert worked.wait(5)
    stop.set()
    thread.join(5)
    assert not thread.is_alive()
