# SPDX-License-Identifier: Apache-2.0
"""Where the folds meet: everything that a decision is a function of, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agentguard.bounds import CLOCK_AHEAD_MS_MAX
from agentguard.contracts.commands import ActivateRelease
from agentguard.contracts.ports import LogRecord, PolicyEngine
from agentguard.contracts.records import AgentRequest, Classification, Failure, Verdict
from agentguard.control.fold import ControlFold
from agentguard.session.agent import AgentState
from agentguard.session.fold import PartitionFold

GoldenInputs = tuple[tuple[bytes, Verdict], ...]

SCHEMAS: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivePolicy:
    """The release that decides: what the control log says of it, and its engine, ready."""

    activation: ActivateRelease
    engine: PolicyEngine
    golden: GoldenInputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One offset of `ag.requests` that needs a decision.

    `request` is None where the bytes there are no request; `fault` says why. `state` is that of
    the agent it names, before this record.
    """

    record: LogRecord
    leaf: bytes
    request: AgentRequest | None
    state: AgentState | None
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What the process saw and no log says.

    `classification` is given where a model made it, which cannot be repeated to the bit; the
    rules are asked again where it is None.
    """

    decided_at_ms: int
    measured_control_end: int
    failure: Failure = Failure.NONE
    classification: Classification | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The folds as they stand: `partition` at (n, k), `control` at its folded offset."""

    cluster: str
    control: ControlFold
    partition: PartitionFold
    policy: ActivePolicy | None


def decision_time(lane_ms: int, question: Question) -> int:
    """Returns `decided_at_ms`: the latest of lane clock, acceptance and the agent's decisions.

    A request from a door whose clock is too far ahead moves no clock: it is judged at the time
    without it, and that it was too far ahead can be read off the result.
    """
    state = question.state
    base = lane_ms if state is None else max(lane_ms, state.decided_at_ms)
    if question.request is None or is_clock_ahead(question.request, base):
        return base
    return max(base, question.request.accepted_at_ms)


def is_clock_ahead(request: AgentRequest, decided_at_ms: int) -> bool:
    """Returns whether the door's clock was more than 2 s ahead when this was decided."""
    return request.accepted_at_ms > decided_at_ms + CLOCK_AHEAD_MS_MAX
