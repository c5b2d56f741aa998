# SPDX-License-Identifier: Apache-2.0
"""Keeps the processes of the embedded platform alive: ordered start and stop, back-off, logs."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from agentguard.contracts.ports import Clock

BACKOFF_MS = (50, 100, 200, 500, 1_000, 2_000)
HEALTHY_AFTER_MS = 10_000
TOLD_EVERY = 30
STOP_WAIT_S = 10.0
WATCH_EVERY_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """One process: its name, its command line, what it finds in its environment."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Supervised:
    """One running process and its history."""

    spec: ProcessSpec
    child: subprocess.Popen[bytes] | None = None
    started_ms: float = 0.0
    restart_at_ms: float = 0.0
    failures: int = 0
    restarts: int = 0
    last_exit: str = ""
    log: IO[bytes] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReport:
    """What `status` shows of one process."""

    name: str
    pid: int
    restarts: int
    last_exit: str


class Supervisor:
    """Starts processes in order, restarts each that ends, stops them in reverse order.

    A process that ends is started again after a back-off of 50 ms to 2 s that grows with each
    failure and is forgotten once it has lived for 10 s.
    """

    def __init__(self, *, logs: Path, clock: Clock, tell: Callable[[str], None]) -> None:
        self._logs = logs
        self._clock = clock
        self._tell = tell
        self._all: list[Supervised] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def start(self, spec: ProcessSpec) -> None:
        """Starts one more process and watches it from now on."""
        kept = Supervised(spec=spec)
        with self._lock:
            if self._stopping.is_set():
                return
            self._spawn(kept)
            self._all.append(kept)
            if not self._watcher.is_alive():
                self._watcher.start()

    def report(self) -> Sequence[ProcessReport]:
        """Returns what runs, in start order."""
        with self._lock:
            return [
                ProcessReport(
                    name=s.spec.name,
                    pid=s.child.pid if s.child is not None else 0,
                    restarts=s.restarts,
                    last_exit=s.last_exit,
                )
                for s in self._all
            ]

    def why_failing(self, name: str) -> str:
        """Returns the last words of a process that cannot stay alive, or an empty text."""
        with self._lock:
            for kept in self._all:
                if kept.spec.name == name and kept.failures >= len(BACKOFF_MS):
                    return f"it keeps ending ({kept.last_exit}): {self._tail(kept)}"
        return ""

    def stop(self) -> None:
        """Stops every process, last started first: SIGTERM, after 10 s SIGKILL."""
        self._stopping.set()
        with self._lock:
            for kept in reversed(self._all):
                self._end(kept)

    def _spawn(self, kept: Supervised) -> None:
        spec = kept.spec
        if kept.log is None:
            self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
            kept.log = (self._logs / f"{spec.name}.log").open("ab", buffering=0)
        kept.child = subprocess.Popen(
            spec.command,
            env={**spec.environment},
            stdin=subprocess.DEVNULL,
            stdout=kept.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        kept.started_ms = self._clock.monotonic_ms()

    def _watch(self) -> None:
        while not self._stopping.wait(WATCH_EVERY_S):
            with self._lock:
                for kept in self._all:
                    self._look_after(kept)

    def _look_after(self, kept: Supervised) -> None:
        now = self._clock.monotonic_ms()
        if kept.child is None:
            if now >= kept.restart_at_ms and not self._stopping.is_set():
                self._start_again(kept, now)
            return
        code = kept.child.poll()
        if code is None:
            return
        if now - kept.started_ms >= HEALTHY_AFTER_MS:
            kept.failures = 0
        kept.child = None
        self._failed(kept, now, _exit_text(code))

    def _start_again(self, kept: Supervised, now: float) -> None:
        kept.restarts += 1
        try:
            self._spawn(kept)
        except OSError as error:  # no memory or no descriptors now: nobody else would try again
            self._failed(kept, now, f"not started: {error.strerror}")

    def _failed(self, kept: Supervised, now: float, what: str) -> None:
        wait_ms = BACKOFF_MS[min(kept.failures, len(BACKOFF_MS) - 1)]
        kept.failures += 1
        kept.restart_at_ms = now + wait_ms
        kept.last_exit = what
        if kept.failures % TOLD_EVERY == len(BACKOFF_MS):
            self._tell(f"{kept.spec.name} keeps ending ({kept.last_exit}): {self._tail(kept)}")

    def _tail(self, kept: Supervised) -> str:
        text = (self._logs / f"{kept.spec.name}.log").read_bytes()[-2_000:]
        lines = text.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "its log is empty"

    def _end(self, kept: Supervised) -> None:
        child = kept.child
        if child is not None and child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(STOP_WAIT_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        kept.child = None
        if kept.log is not None:
            kept.log.close()
            kept.log = None


def _exit_text(code: int) -> str:
    if code >= 0:
        return f"exit {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def base_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Returns what a child inherits: search paths and locale, never another process's secrets."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
    inherited = os.environ  # noqa: TID251  the children's environment is made here, not read
    return {**{k: inherited[k] for k in kept if k in inherited}, **extra}
