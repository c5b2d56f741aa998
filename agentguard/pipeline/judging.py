# SPDX-License-Identifier: Apache-2.0
"""Answers one request for a lane, or stays silent where the lane itself is at fault."""

from __future__ import annotations

from dataclasses import replace

import structlog

from agentguard.bounds import FAILURE_DENY_BEFORE_DEADLINE_MS
from agentguard.contracts.codes import Code
from agentguard.contracts.ports import Clock
from agentguard.contracts.records import ClassificationSource, DecisionCore, Failure
from agentguard.decision.decide import decide
from agentguard.decision.world import Observed, Question, World, decision_time
from agentguard.pipeline.clock_check import ClockCheck
from agentguard.pipeline.control_feed import ControlFeed
from agentguard.pipeline.health import LaneHealth
from agentguard.pipeline.releases import Releases
from agentguard.session.fold import PartitionFold

_log = structlog.get_logger("lane")


class LaneJudge:
    """Asks `decide` with what the process observes, and tells its own faults from the input's."""

    def __init__(
        self,
        *,
        cluster: str,
        clock: Clock,
        control: ControlFeed,
        releases: Releases,
        health: LaneHealth,
        clock_check: ClockCheck,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._control = control
        self._releases = releases
        self.health = health
        self._clock_check = clock_check

    def answer(self, fold: PartitionFold, question: Question) -> DecisionCore | None:
        """Returns the core, or None while this lane cannot or must not say anything."""
        lane_ms = self._clock.now_ms()
        seen = self._observe(question, lane_ms)
        failure = self._fault(fold, question, seen.decided_at_ms)
        world = self._world(fold)
        request = question.request
        if failure is Failure.NONE or request is None or seen.decided_at_ms >= request.deadline_ms:
            core = self._decide_guarded(question, world, seen)
            if core is not None:
                return core
            failure = Failure.ENGINE
        if not self.health.is_competing or request is None:
            return None
        if lane_ms < request.deadline_ms - FAILURE_DENY_BEFORE_DEADLINE_MS:
            return None
        self.health.failed(failure)
        return decide(question, world, replace(seen, failure=failure))

    def refuse(self, fold: PartitionFold, question: Question) -> DecisionCore:
        """Returns the denial of a request that breaks its decider, without asking any engine."""
        seen = self._observe(question, self._clock.now_ms())
        return decide(question, self._world(fold), replace(seen, failure=Failure.INTERNAL))

    def _observe(self, question: Question, lane_ms: int) -> Observed:
        control = self._control
        return Observed(
            decided_at_ms=decision_time(lane_ms, question),
            measured_control_end=max(control.measured_end, control.fold.folded + 1),
        )

    def _world(self, fold: PartitionFold) -> World:
        return World(
            cluster=self._cluster,
            control=self._control.fold,
            partition=fold,
            policy=self._releases.policy,
        )

    def _decide_guarded(
        self, question: Question, world: World, seen: Observed
    ) -> DecisionCore | None:
        """Returns the core, or None where it is this lane that is at fault.

        Whose fault an error is, the golden inputs tell: an engine that still decides them met a
        hostile request, and that is denied at once; else 20 such requests would stop every lane.
        """
        try:
            core = decide(question, world, seen)
        except Exception:  # noqa: BLE001 (the guard of the lane's loop: a bug denies one request)
            _log.exception("decide_failed", offset=question.record.offset)
            if not self._releases.is_sound():
                return None
            return decide(question, world, replace(seen, failure=Failure.INTERNAL))
        if Code.ENGINE_ERROR in core.codes and not self._releases.is_sound():
            return None
        if core.observations.classification.source is not ClassificationSource.NONE:
            self.health.succeeded()
        return core

    def _fault(self, fold: PartitionFold, question: Question, decided_at_ms: int) -> Failure:
        """Returns what keeps this lane from deciding properly now."""
        control = self._control
        request, state = question.request, question.state
        if self._clock_check.fault:
            return Failure.CLOCK
        if control.why_not_ready():
            return Failure.CONTROL
        if request is not None and request.control_offset > control.fold.folded:
            # a door has read further than this lane: fold up to it, unless there is no such record
            if request.control_offset >= control.measured_end:
                control.ask_end()
            control.pump(0)
            if control.fold.folded < request.control_offset < control.measured_end:
                return Failure.CONTROL
        if state is not None and state.control_floor > control.fold.folded:
            return Failure.CONTROL
        if state is not None and state.signal_floor >= fold.next_signal:
            return Failure.STATE
        if not self._releases.update(control.fold, decided_at_ms):
            return Failure.STATE
        return Failure.NONE
