# SPDX-License-Identifier: Apache-2.0
"""Topic names, record keys, and the partition of a key. `infra/kafka/topics.yaml` has the rest."""

from __future__ import annotations

from enum import StrEnum


class Topic(StrEnum):
    """Every topic of ours."""

    REQUESTS = "ag.requests"
    DECISIONS = "ag.decisions"
    SIGNALS = "ag.signals"
    CONTROL = "ag.control"
    CHECKPOINTS = "ag.checkpoints"
    ANCHORS = "ag.anchors"
    BUNDLES = "ag.bundles"
    HEARTBEATS = "ag.heartbeats"
    SNAPSHOTS = "ag.snapshots"
    ALERTS = "ag.alerts"
    SIEM = "ag.siem"
    DEAD_LETTERS = "ag.dead-letters"
    SHADOW = "ag.shadow"


SEALED_TOPICS = (Topic.REQUESTS, Topic.DECISIONS, Topic.SIGNALS, Topic.CONTROL)


def agent_key(tenant: str, agent_id: str) -> bytes:
    """Returns the record key of an agent. Neither part may hold `|` (registration refuses it)."""
    return f"{tenant}|{agent_id}".encode()


def murmur2(data: bytes) -> int:
    """Returns Kafka's 32-bit MurmurHash2 of a key (seed 0x9747b28c), as an unsigned number."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    length = len(data)
    h = (0x9747B28C ^ length) & mask
    full = length & ~3
    for i in range(0, full, 4):
        k = int.from_bytes(data[i : i + 4], "little")
        k = (k * m) & mask
        k ^= k >> 24
        k = (k * m) & mask
        h = ((h * m) & mask) ^ k
    if length & 3:
        h ^= int.from_bytes(data[full:], "little")
        h = (h * m) & mask
    h ^= h >> 13
    h = (h * m) & mask
    return h ^ (h >> 15)


def partition_of(key: bytes, partitions: int) -> int:
    """Returns the partition that Kafka's own clients choose for this key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
