# SPDX-License-Identifier: Apache-2.0
"""Who reads what together on the blocking path: the three topics that a lane joins by partition."""

from __future__ import annotations

from typing import Final

from agentguard.contracts.errors import ConfigError
from agentguard.contracts.ports import LogIndex, TopicPartition
from agentguard.contracts.topics import Topic

LANE_TOPICS: Final = (Topic.REQUESTS, Topic.DECISIONS, Topic.SIGNALS)
LANES: Final = ("a", "b")


def lane_group(lane: str) -> str:
    """Returns the consumer group of a lane."""
    return f"decide-{lane}"


def lane_partitions(index: LogIndex) -> int:
    """Returns the partition count that requests, decisions and signals share.

    Raises `ConfigError` where they differ: a lane would not read the decisions of its requests.
    """
    counts = {topic: index.partitions(topic) for topic in LANE_TOPICS}
    if len(set(counts.values())) != 1:
        raise ConfigError(f"topics of a lane differ in partitions: {counts}")
    return counts[Topic.REQUESTS]


def places(partition: int) -> tuple[TopicPartition, TopicPartition, TopicPartition]:
    """Returns requests, decisions and signals of one partition number."""
    return (
        TopicPartition(Topic.REQUESTS, partition),
        TopicPartition(Topic.DECISIONS, partition),
        TopicPartition(Topic.SIGNALS, partition),
    )
