# SPDX-License-Identifier: Apache-2.0
"""Bodies that travel in parts: the open sets of one agent, bounded in number and bytes."""

from __future__ import annotations

from hashlib import sha256

from agentguard.bounds import (
    CHUNK_BYTES_MAX,
    OPEN_CHUNK_BYTES_PER_AGENT_MAX,
    OPEN_CHUNK_SETS_PER_AGENT_MAX,
    REQUEST_BYTES_MAX,
)
from agentguard.contracts.records import Chunk, Section

CHUNKS_PER_SET_MAX = -(-REQUEST_BYTES_MAX // CHUNK_BYTES_MAX) + 1


class ChunkSets:
    """Open chunk sets in order of their first record; the oldest gives way."""

    __slots__ = ("_sets", "_size")

    def __init__(self) -> None:
        self._sets: dict[bytes, dict[int, bytes]] = {}
        self._size = 0

    def add(self, chunk: Chunk) -> None:
        """Keeps a part. One that cannot belong to a set is ignored: its set stays incomplete."""
        if not 0 <= chunk.index < chunk.count <= CHUNKS_PER_SET_MAX:
            return
        parts = self._sets.setdefault(chunk.id, {})
        if chunk.index in parts:
            return
        parts[chunk.index] = chunk.body
        self._size += len(chunk.body)
        while len(self._sets) > OPEN_CHUNK_SETS_PER_AGENT_MAX or (
            self._size > OPEN_CHUNK_BYTES_PER_AGENT_MAX and len(self._sets) > 1
        ):
            self._drop(next(iter(self._sets)))

    def body(self, section: Section) -> bytes | None:
        """Returns the carried bytes of a section, joined from its chunks, or None if any lacks."""
        wanted = section.chunks
        if wanted is None:
            return section.body
        parts = self._sets.get(wanted.id)
        if parts is None or len(parts) != wanted.count:
            return None
        if sorted(parts) != list(range(wanted.count)):
            return None
        joined = b"".join(parts[i] for i in range(wanted.count))
        if len(joined) != wanted.size or len(joined) > REQUEST_BYTES_MAX:
            return None
        if wanted.sha256 is not None and sha256(joined).digest() != wanted.sha256:
            return None
        return joined

    def close(self, section: Section) -> None:
        """Forgets the set that a record named: it has been used."""
        if section.chunks is not None:
            self._drop(section.chunks.id)

    def snapshot(self) -> list[tuple[bytes, list[tuple[int, int]]]]:
        """Returns which parts are held, by length."""
        return [
            (set_id, [(index, len(parts[index])) for index in sorted(parts)])
            for set_id, parts in self._sets.items()
        ]

    def _drop(self, set_id: bytes) -> None:
        parts = self._sets.pop(set_id, None)
        if parts is not None:
            self._size -= sum(map(len, parts.values()))
