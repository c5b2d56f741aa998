# SPDX-License-Identifier: Apache-2.0
"""Shows long work as one line that moves: on a terminal only, on standard error."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.status import Status


class Working:
    """A line that says what is being done; nothing where standard error is no terminal."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._status: Status | None = None
        if sys.stderr.isatty():
            self._status = Status(what, console=Console(stderr=True))

    def __enter__(self) -> Working:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def step(self, name: str, done: int, every: int = 0) -> None:
        """Shows which part is being worked on and how far."""
        if self._status is not None:
            of = f" of {every}" if every else ""
            self._status.update(f"{self._what} {name}: {done}{of}")
