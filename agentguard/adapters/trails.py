# SPDX-License-Identifier: Apache-2.0
"""Exported trails in a folder and in memory: `Trail` to read, `TrailSink` to write."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from agentguard.contracts.errors import ConfigError, VerificationError


class FolderTrail:
    """A trail in a folder. Names never leave it: a link is reported like a file not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def create(cls, folder: Path) -> FolderTrail:
        """Returns a new trail in a folder that does not exist or is empty. Raises `ConfigError`."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            has_content = any(folder.iterdir())
        except OSError as error:
            raise ConfigError(f"folder `{folder.name}` cannot be made") from error
        if has_content:
            raise ConfigError(
                f"folder `{folder.name}` is not empty", next_step="name a folder that is empty"
            )
        return cls(folder)

    def names(self) -> Sequence[str]:
        """Returns the name of everything in the folder that is not a folder."""
        found = self._folder.rglob("*")
        return sorted(
            p.relative_to(self._folder).as_posix()
            for p in found
            if p.is_symlink() or not p.is_dir()
        )

    def open(self, name: str) -> BinaryIO:
        """Returns a file to read. Raises `VerificationError` (MISSING_FILE)."""
        path = self._folder / name
        try:
            if not path.resolve().is_relative_to(self._folder.resolve()):
                raise VerificationError(f"`{name}` leads out", finding="MISSING_FILE")
            return path.open("rb")
        except OSError as error:
            raise VerificationError(f"`{name}` cannot be read", finding="MISSING_FILE") from error

    def create_file(self, name: str) -> BinaryIO:
        """Returns a new file to write, its folders made."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb")


class _Kept(io.BytesIO):
    def __init__(self, files: dict[str, bytes], name: str) -> None:
        super().__init__()
        self._files = files
        self._name = name

    def close(self) -> None:
        """Keeps what was written."""
        if not self.closed:
            self._files[self._name] = self.getvalue()
        super().close()


class MemoryTrail:
    """A trail in memory, for tests and for answers that fit there."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = dict(files or {})

    def names(self) -> Sequence[str]:
        """Returns the names of all files."""
        return sorted(self.files)

    def open(self, name: str) -> BinaryIO:
        """Returns a file to read. Raises `VerificationError` (MISSING_FILE)."""
        if name not in self.files:
            raise VerificationError(f"`{name}` is missing", finding="MISSING_FILE")
        return io.BytesIO(self.files[name])

    def create_file(self, name: str) -> BinaryIO:
        """Returns a new file to write; it is kept once closed."""
        return _Kept(self.files, name)
