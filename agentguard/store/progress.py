# SPDX-License-Identifier: Apache-2.0
"""Store: how far the tables follow the log. Positions are kept in the store itself, no group's.

A position is a statement about the tables: everything below it is there, written and checked. Kept
beside the rows it can neither outlive them (a store whose folder is lost begins again by itself)
nor be shared by two stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agentguard.contracts.errors import StoreError
from agentguard.contracts.ports import LogIndex, TopicPartition
from agentguard.store.ports import RowStore
from agentguard.store.shapes import PROGRESS, TABLES_OF


class Progress:
    """Reads and writes the sink's positions."""

    def __init__(self, store: RowStore, index: LogIndex, topics: Sequence[str]) -> None:
        self._store = store
        self._index = index
        self._ids = {topic: index.topic_id(topic) for topic in topics}
        self._saved: dict[TopicPartition, int] = {}
        self.partitions = [
            TopicPartition(topic, number)
            for topic in topics
            for number in range(index.partitions(topic))
        ]

    def load(self) -> dict[TopicPartition, int]:
        """Returns where to go on in each partition: 0 where nothing is stored.

        Raises `StoreError` (not retryable) where the tables belong to a topic that was deleted and
        made anew: its offsets say nothing about this one's.
        """
        stored = self._store.greatest(
            PROGRESS.table, "next_offset", ("topic", "topic_id", "partition")
        )
        positions = dict.fromkeys(self.partitions, 0)
        for (topic, topic_id, partition), position in stored.items():
            if not isinstance(topic, str) or not isinstance(partition, int):
                raise StoreError("the store's progress cannot be read")
            at = TopicPartition(topic, partition)
            if at not in positions:
                continue
            if topic_id != self._ids[topic]:
                error = StoreError(
                    f"the store belongs to another log: topic `{topic}` was made anew",
                    next_step="stop the platform and move the store's folder aside",
                )
                error.retryable = False
                raise error
            positions[at] = max(position, positions[at])
        self._saved = {at: p for at, p in positions.items() if p}
        return positions

    def ends(self) -> dict[TopicPartition, int]:
        """Returns the greatest offset that any table of a topic holds, for each partition."""
        ends: dict[TopicPartition, int] = {}
        for topic in self._ids:
            for table in TABLES_OF[topic]:
                found = self._store.greatest(table, "offset", ("topic", "partition"))
                for (name, partition), offset in found.items():
                    if name == topic and isinstance(partition, int):
                        at = TopicPartition(topic, partition)
                        ends[at] = max(offset, ends.get(at, -1))
        return ends

    def save(self, positions: Mapping[TopicPartition, int]) -> None:
        """Writes the positions that moved. Everything below them must be in the tables."""
        moved = {at: p for at, p in positions.items() if p > self._saved.get(at, 0)}
        if not moved:
            return
        rows = [
            (at.topic, self._ids[at.topic], at.partition, position)
            for at, position in moved.items()
        ]
        self._store.insert(PROGRESS.table, PROGRESS.columns, rows)
        self._saved.update(moved)
