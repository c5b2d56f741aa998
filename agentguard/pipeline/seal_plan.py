# SPDX-License-Identifier: Apache-2.0
"""Reads from the control log which trees the sealer keeps, and whether its key may sign them."""

from __future__ import annotations

from agentguard.audit.note import Head
from agentguard.audit.origins import Origin
from agentguard.contracts.errors import ConfigError, LogError, VerificationError
from agentguard.contracts.ports import TopicPartition
from agentguard.contracts.topics import SEALED_TOPICS, Topic
from agentguard.control.fold import ControlFold
from agentguard.pipeline.ranges import read_range
from agentguard.pipeline.sealing import SealPlan, SealPorts

_CONTROL = TopicPartition(Topic.CONTROL, 0)


def read_plan(ports: SealPorts, genesis_digest: bytes | None) -> SealPlan:
    """Returns what is to be sealed, as the control log says now.

    Raises `LogError` where it does not begin with the pinned Genesis, `ConfigError` where this
    key is not the sealing key, `VerificationError` (REPLACED) where a sealed topic was recreated.
    """
    fold = ControlFold(ports.codec, ports.verifier, genesis_digest)
    _, end = ports.index.bounds(_CONTROL)
    for record in read_range(ports.log, _CONTROL, 0, end, clock=ports.clock):
        fold.apply(record.offset, record.value)
    if fold.genesis is None:
        raise LogError("the control log does not begin with this cluster's Genesis")
    key = fold.sealing_key()
    if key is None or key.public_key != ports.signer.public_key:
        raise ConfigError(
            "the sealing key in this folder is not the one that the control log names",
            next_step="agentguard keys list",
        )
    generations: dict[TopicPartition, int] = {}
    known: list[Head] = []
    for topic in SEALED_TOPICS:
        topic_id = ports.index.topic_id(topic)
        for number in range(ports.index.partitions(topic)):
            step = fold.generation(topic, topic_id, number)
            if step is not None:
                generations[TopicPartition(topic, number)] = step.generation
                origin = Origin(
                    fold.genesis.audit_domain,
                    fold.cluster,
                    topic,
                    topic_id,
                    number,
                    step.generation,
                )
                known.append(
                    Head(origin=str(origin), size=step.first_offset, root=step.survivors_root)
                )
    for sealed in fold.sealed_topics():
        if ports.index.topic_id(sealed.topic) != sealed.topic_id:
            raise VerificationError(
                f"topic `{sealed.topic}` is not the one that the control log names",
                finding="REPLACED",
            )
    return SealPlan(
        domain=fold.genesis.audit_domain,
        cluster=fold.cluster,
        generations=generations,
        known=known,
    )
