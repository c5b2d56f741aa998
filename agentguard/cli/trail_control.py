# SPDX-License-Identifier: Apache-2.0
"""Folds the control log of an export: who may seal, what is sealed, which schemas are listed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.mldsa_signer import MlDsaVerifier
from agentguard.audit.findings import Report
from agentguard.audit.note import NoteKey
from agentguard.audit.origins import anchors_origin
from agentguard.audit.trust import TrustPolicy
from agentguard.contracts.commands import NewGeneration, SealedTopic, SignedCommand
from agentguard.contracts.errors import ConfigError, UndecodableError
from agentguard.contracts.records import ControlCommand
from agentguard.contracts.topics import Topic
from agentguard.control.fold import ControlFold


def _nothing_is_listed(_fingerprint: bytes) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailControl:
    """What an export's control log comes to. Empty where it could not be folded."""

    cluster: str = ""
    domain: str = ""
    assurance: str | None = None
    sealing_key: bytes | None = None
    sealed: tuple[SealedTopic, ...] = ()
    generations: Sequence[NewGeneration] = ()
    is_readable: Callable[[bytes], bool] = _nothing_is_listed

    def trust(self) -> TrustPolicy:
        """Returns the trust in the sealing key that the control log names."""
        if self.sealing_key is None:
            return TrustPolicy(logs=())
        name = anchors_origin(self.domain, self.cluster)
        return TrustPolicy(logs=(NoteKey(name=name, public_key=self.sealing_key),))

    def partitions(self) -> tuple[tuple[str, str, int], ...]:
        """Returns every partition that must be in the trail, as (topic, topic id, partition)."""
        return tuple(
            (topic.topic, topic.topic_id, number)
            for topic in self.sealed
            for number in range(topic.partitions)
        )


def fold_control(
    values: Iterable[bytes | None], genesis_digest: bytes | None, report: Report
) -> TrailControl:
    """Returns what the control log says; a founding command other than the pinned is a finding.

    Rejected commands are counted: they had no effect, and are evidence of an attempt.
    Raises `ConfigError` where this build is too old to judge the log.
    """
    codec = AvroCodec()
    fold = ControlFold(codec, MlDsaVerifier(), genesis_digest)
    generations: list[NewGeneration] = []
    for offset, value in enumerate(values):
        judgement = fold.apply(offset, value)
        report.counts["control_commands"] += 1
        if not judgement.accepted:
            report.counts["control_rejected"] += 1
            if offset == 0:
                report.tampered(
                    "GENESIS",
                    f"the founding command is refused: {judgement.code}",
                    topic=Topic.CONTROL,
                    partition=0,
                    offset=0,
                )
        elif judgement.type == NewGeneration.__name__:
            generations.append(_generation(codec, value))
    genesis, key = fold.genesis, fold.sealing_key()
    if genesis is None:
        return TrailControl()
    return TrailControl(
        cluster=fold.cluster,
        domain=genesis.audit_domain,
        assurance=genesis.assurance.value,
        sealing_key=None if key is None else key.public_key,
        sealed=tuple(fold.sealed_topics()),
        generations=generations,
        is_readable=fold.is_readable,
    )


def _generation(codec: AvroCodec, value: bytes | None) -> NewGeneration:
    """Returns the body of an accepted command."""
    try:
        outer = codec.decode(value or b"")
        signed = codec.decode(outer.signed) if isinstance(outer, ControlCommand) else None
        body = codec.decode(signed.body) if isinstance(signed, SignedCommand) else None
    except UndecodableError as error:
        raise ConfigError("an accepted command cannot be read by this build") from error
    if not isinstance(body, NewGeneration):
        raise ConfigError("an accepted command cannot be read by this build")
    return body
