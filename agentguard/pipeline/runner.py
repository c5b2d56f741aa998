# SPDX-License-Identifier: Apache-2.0
"""Runs a process's loop until it is told to stop or only a new process helps."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from agentguard.contracts.errors import AgentGuardError

STOPPED: Final = 0
FATAL: Final = 1

_log = structlog.get_logger("runner")


def configure_logging(level: str) -> None:
    """Lets this process write structured lines of this level and above to its standard output."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_encode),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.BytesLoggerFactory(),
        cache_logger_on_first_use=True,
    )


def stop_on_signals() -> threading.Event:
    """Returns an event that SIGTERM and SIGINT set. Call it in the main thread."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def beside(work: Callable[[], object], *, every_ms: int, stop: threading.Event) -> threading.Thread:
    """Starts a thread that does something again and again beside the loop, until `stop`.

    `work` handles its own errors; an error that it does not know ends the thread, and the loop
    finds out by what is then missing (control is no longer fresh).
    """

    def repeat() -> None:
        while not stop.wait(every_ms / 1000):
            work()

    thread = threading.Thread(target=repeat, name="beside", daemon=True)
    thread.start()
    return thread


def run(step: Callable[[], object], *, close: Callable[[], object], stop: threading.Event) -> int:
    """Repeats `step` until `stop` is set; returns the exit code.

    0 after a clean stop. 1 where an error says that only a new process helps, and for every error
    that nobody foresaw: the supervisor starts another process, which reads the log again.
    """
    try:
        while not stop.is_set():
            step()
        close()
    except AgentGuardError as error:
        _log.error("process_ends", code=error.code, error=str(error), next=error.next_step)
        return FATAL
    except Exception:  # noqa: BLE001 (the outermost loop of a process)
        _log.exception("process_ends", code="internal")
        return FATAL
    finally:
        stop.set()
    return STOPPED


def _encode(event: object, **_: object) -> bytes:
    return msgspec.json.encode(event)
