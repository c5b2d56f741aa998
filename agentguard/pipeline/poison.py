# SPDX-License-Identifier: Apache-2.0
"""Remembers which request was being decided when a lane died: one that kills twice is poison."""

from __future__ import annotations

import struct
from typing import Final, Protocol

KILLS_MAX: Final = 2
ENTRIES_MAX: Final = 64

_CURRENT: Final = struct.Struct("<iq")
_ENTRY: Final = struct.Struct("<iqi")
_NOBODY: Final = -1
NOTES_BYTES: Final = _CURRENT.size + ENTRIES_MAX * _ENTRY.size


class Memory(Protocol):
    """Bytes that outlive the process, such as a mapped file; written in place."""

    def __len__(self) -> int:
        """Returns the size."""

    def __getitem__(self, part: slice, /) -> bytes | bytearray:
        """Returns a copy of a part."""

    def __setitem__(self, part: slice, value: bytes, /) -> None:
        """Overwrites a part."""


def current_request(notes: bytes) -> tuple[int, int] | None:
    """Returns partition and offset of the request at hand, or None where there is none."""
    if len(notes) < _CURRENT.size:
        return None
    partition, offset = _CURRENT.unpack(notes[: _CURRENT.size])
    return (partition - 1, offset) if partition > 0 else None


class PoisonNotes:
    """Notes over `NOTES_BYTES` of memory that survives a kill; all zero is a fresh one.

    The request at hand is written before it is decided and wiped after. What is still there at
    the next start killed the process, whatever killed it; the second time it is poison.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._kills = self._read()
        # partition numbers are kept plus one: zeroes name nobody
        killer = current_request(bytes(memory[: _CURRENT.size]))
        if killer is not None:
            self._add(killer)
        self.end()

    def begin(self, partition: int, offset: int) -> None:
        """Notes that this request is being decided."""
        self._memory[: _CURRENT.size] = _CURRENT.pack(partition + 1, offset)

    def end(self) -> None:
        """Notes that nothing is being decided."""
        self._memory[: _CURRENT.size] = _CURRENT.pack(0, _NOBODY)

    def is_poison(self, partition: int, offset: int) -> bool:
        """Returns whether this request has killed the process often enough."""
        return self._kills.get((partition, offset), 0) >= KILLS_MAX

    def _add(self, place: tuple[int, int]) -> None:
        self._kills[place] = self._kills.pop(place, 0) + 1
        kept = list(self._kills.items())[-ENTRIES_MAX:]
        self._kills = dict(kept)
        body = b"".join(_ENTRY.pack(p + 1, o, n) for (p, o), n in kept)
        self._memory[_CURRENT.size : NOTES_BYTES] = body.ljust(NOTES_BYTES - _CURRENT.size, b"\0")

    def _read(self) -> dict[tuple[int, int], int]:
        body = bytes(self._memory[_CURRENT.size : NOTES_BYTES])
        return {(p - 1, o): n for p, o, n in _ENTRY.iter_unpack(body) if p > 0}
