# SPDX-License-Identifier: Apache-2.0
"""Says what the platform does and how long it took, one line a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agentguard.contracts.ports import Clock


class Steps:
    """Prints lines of two columns; `step` adds the time that a step took."""

    def __init__(self, clock: Clock, tell: Callable[[str], None]) -> None:
        self._clock = clock
        self._tell = tell
        self._started_ms = clock.monotonic_ms()

    def say(self, name: str, text: str) -> None:
        """Prints one line."""
        self._tell(f"{name:<12} {text}")

    @contextmanager
    def step(self, name: str, text: str) -> Iterator[None]:
        """Runs a step and prints what it did with its seconds; a step that fails prints nothing."""
        started_ms = self._clock.monotonic_ms()
        yield
        seconds = (self._clock.monotonic_ms() - started_ms) / 1_000
        self.say(name, f"{text} in {seconds:.1f} s")

    def elapsed_s(self) -> float:
        """Returns the seconds since these steps began."""
        return (self._clock.monotonic_ms() - self._started_ms) / 1_000
