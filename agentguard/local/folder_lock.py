# SPDX-License-Identifier: Apache-2.0
"""One process per folder: a lock file that names its holder and dies with it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from agentguard.contracts.errors import AgentGuardError

_HOLDER_BYTES_MAX: Final = 32


class FolderInUseError(AgentGuardError):
    """Another process holds the folder. `holder` is its process id, 0 when it did not say."""

    code = "folder_in_use"
    next_step = "stop that process, or use another folder with --data"

    def __init__(self, folder: Path, holder: int) -> None:
        who = f"process `{holder}`" if holder else "another process"
        super().__init__(f"`{folder}` is in use by {who}")
        self.holder = holder


class FolderLock:
    """An advisory lock on a file; the kernel releases it when its last holder ends.

    A child that inherits `descriptor` holds the lock too, for as long as it lives.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    @property
    def descriptor(self) -> int:
        """The open file; -1 while the lock is not held."""
        return self._descriptor

    def take(self) -> None:
        """Takes the lock and writes this process's id. Raises `FolderInUseError`."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            told = os.pread(descriptor, _HOLDER_BYTES_MAX, 0).split()
            os.close(descriptor)
            holder = int(told[0]) if told and told[0].isdigit() else 0
            raise FolderInUseError(self._path.parent, holder) from error
        self._descriptor = descriptor
        self.name_holder(os.getpid())

    def name_holder(self, process_id: int) -> None:
        """Writes who holds the lock, for the message that another process will print."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{process_id}\n".encode(), 0)

    def release(self) -> None:
        """Releases the lock in this process; a child that inherited it still holds it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
