# SPDX-License-Identifier: Apache-2.0
"""Makes a recorded decision again from the logs alone: the same core, or a finding."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from agentguard.contracts.ports import AnyRecord, LogRecord
from agentguard.contracts.records import (
    ClassificationSource,
    Decision,
    DecisionCore,
    Observations,
    Signal,
)
from agentguard.control.fold import ControlFold
from agentguard.decision.decide import decide
from agentguard.decision.world import ActivePolicy, Observed, Question, World
from agentguard.session.fold import PartitionFold, Starts

DecodedRequest: TypeAlias = tuple[LogRecord, AnyRecord | None]
DecodedDecision: TypeAlias = tuple[LogRecord, Decision | None, DecisionCore | None]
DecodedSignal: TypeAlias = tuple[LogRecord, Signal | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The records of one partition number, decoded; None where they are unreadable.

    They begin where the log begins (`starts`) and reach at least as far as the decision saw.
    """

    partition: int
    partitions: int
    starts: Starts
    requests: Iterable[DecodedRequest]
    decisions: Iterable[DecodedDecision]
    signals: Iterable[DecodedSignal] = ()


def fold_at(past: Past, core: DecisionCore) -> PartitionFold:
    """Returns the partition's fold at the positions that a decision names: (n, k) and signals.

    Requests from n on are read, because decisions before k may be about them, and not folded.
    """
    fold = PartitionFold(
        cluster=core.cluster,
        partition=past.partition,
        partitions=past.partitions,
        starts=past.starts,
    )
    for record, decoded in past.requests:
        fold.read(record, decoded)
        if record.offset < core.request_offset:
            fold.apply_request(record, decoded)
    for record, decision, made in past.decisions:
        if record.offset >= core.versions.decisions_offset:
            break
        fold.apply_decision(record, decision, made)
    for record, signal in past.signals:
        if record.offset > core.versions.signal_offset:
            break
        fold.apply_signal(record, signal)
    return fold


def rederive(
    core: DecisionCore,
    fold: PartitionFold,
    control: ControlFold,
    *,
    policy: ActivePolicy | None,
    fault: str = "",
) -> DecisionCore | None:
    """Returns the core as it comes out now, or None where nothing lies at the request's offset.

    `fold` is `fold_at` of it, `control` has folded exactly to its control offset, `policy` is the
    release that it names, `fault` says why the request's bytes are none. Encoded, the result must
    equal the recorded core byte for byte.
    """
    waiting = fold.open.get(core.request_offset)
    if waiting is None:
        return None
    question = Question(
        record=waiting.record,
        leaf=waiting.leaf,
        request=waiting.request,
        state=waiting.state,
        fault=fault,
    )
    world = World(cluster=core.cluster, control=control, partition=fold, policy=policy)
    return decide(question, world, observed(core.observations))


def observed(recorded: Observations) -> Observed:
    """Returns what the deciding process saw; a model's classification is taken as it was given."""
    is_model = recorded.classification.source is ClassificationSource.MODEL
    return Observed(
        decided_at_ms=recorded.decided_at_ms,
        measured_control_end=recorded.measured_control_end,
        failure=recorded.failure,
        classification=recorded.classification if is_model else None,
    )
