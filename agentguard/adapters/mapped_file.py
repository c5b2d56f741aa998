# SPDX-License-Identifier: Apache-2.0
"""A small file mapped into memory: what is written there survives a kill of the process."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from agentguard.contracts.errors import ConfigError


def map_file(path: Path, size: int) -> mmap.mmap:
    """Returns `size` bytes of a file, made of zeroes where it is new or has another size.

    Raises `ConfigError` where the file cannot be made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(handle).st_size != size:
                os.ftruncate(handle, 0)
                os.ftruncate(handle, size)
            return mmap.mmap(handle, size)
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the file `{path.name}` cannot be mapped") from error
