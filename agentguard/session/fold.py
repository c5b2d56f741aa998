# SPDX-License-Identifier: Apache-2.0
"""Folds one partition of requests, decisions and signals into the states of its agents."""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple, TypeAlias

from agentguard.contracts.counting import chained_agent, decision_counts, expects_decision
from agentguard.contracts.errors import FatalLogError
from agentguard.contracts.hashing import chain_next, leaf_hash
from agentguard.contracts.ports import AnyRecord, LogRecord
from agentguard.contracts.records import (
    AgentRequest,
    Chunk,
    Decision,
    DecisionCore,
    Deliveries,
    Delivery,
    DoorRecord,
    Enforcement,
    Mode,
    Redeem,
    Signal,
    ToolOutcome,
)
from agentguard.contracts.topics import agent_key, partition_of
from agentguard.session.agent import AgentState
from agentguard.session.effects import (
    fold_decision,
    fold_delivery,
    fold_enforcement,
    fold_outcome,
    fold_redeem,
    fold_request,
)
from agentguard.session.signals import SignalState

DELIVERABLE_REQUESTS_MAX: Final = 8_192

AgentName: TypeAlias = tuple[str, str]
# first offsets of requests, decisions and signals
Starts: TypeAlias = tuple[int, int, int]


class Counted(Enum):
    """What a record of `ag.decisions` came to."""

    EFFECTIVE = "effective"
    LATER = "later"
    VOID = "void"
    # its request is not read yet: k stays before it, offer it again
    UNREAD = "unread"


class Open:
    """A request without an effective decision. `request` is None where the bytes say nothing.

    `is_folded` says that later records of its agent may be in the state already; `core` is its
    decision where that was read before the request was folded.
    """

    __slots__ = ("core", "is_folded", "leaf", "record", "request", "state")

    def __init__(
        self, record: LogRecord, request: AgentRequest | None, state: AgentState | None
    ) -> None:
        self.record = record
        self.request = request
        self.state = state
        self.leaf = leaf_hash(record.value)
        self.is_folded = False
        self.core: DecisionCore | None = None


class Answer(NamedTuple):
    """One answer that reached its caller, with the agent whose it was."""

    state: AgentState
    item: Delivery
    producer: str
    epoch: int


class PartitionFold:
    """State of one partition number across the three topics.

    Requests are first read (`read`), then folded (`apply_request`) in offset order per agent;
    a decision on a request that was read but not folded takes effect when it is. `next_request` is
    the next offset to be read, `next_decision` is k; they begin where the log begins.

    What is decided is a low-water mark plus a set above it: every offset below `next_request`
    that expects a decision and is not among `open`.
    """

    def __init__(
        self, *, cluster: str, partition: int, partitions: int, starts: Starts = (0, 0, 0)
    ) -> None:
        self.cluster = cluster
        self.partition = partition
        self.partitions = partitions
        self.next_request, self.next_decision, self.next_signal = starts
        self.open: dict[int, Open] = {}
        self._agents: dict[AgentName, AgentState] = {}
        self._signals: dict[AgentName, SignalState] = {}
        self._recent: dict[int, AgentState] = {}

    # -- questions ----------------------------------------------------------------------------

    def agent(self, tenant: str, agent_id: str) -> AgentState:
        """Returns an agent's state, a new one for an agent that the partition does not know."""
        state = self._agents.get((tenant, agent_id))
        if state is None:
            home = partition_of(agent_key(tenant, agent_id), self.partitions)
            state = AgentState(self.cluster, tenant, agent_id, is_home=home == self.partition)
            self._agents[(tenant, agent_id)] = state
        return state

    def signals(self, tenant: str, agent_id: str) -> SignalState | None:
        """Returns what signals say about an agent, or None where there never was one."""
        return self._signals.get((tenant, agent_id))

    def is_decided(self, offset: int) -> bool:
        """Returns whether an offset that was read needs no decision any more."""
        waiting = self.open.get(offset)
        return offset < self.next_request and (waiting is None or waiting.core is not None)

    @property
    def low_water(self) -> int:
        """The first offset that still needs a decision; all below it are finished."""
        return next(iter(self.open), self.next_request)

    def misplaced(self, record: LogRecord, value: DoorRecord) -> str:
        """Returns in what a record disagrees with where it lies, or an empty text."""
        if value.cluster != self.cluster:
            return "cluster"
        if value.mode is not Mode.LIVE:
            return "mode"
        named = chained_agent(value)
        if named is None:
            return ""
        if record.key != agent_key(*named):
            return "key"
        return "" if self.agent(*named).is_home else "partition"

    # -- requests -----------------------------------------------------------------------------

    def read(self, record: LogRecord, decoded: AnyRecord | None) -> Open | None:
        """Notes that a record of `ag.requests` was read; returns what now needs a decision.

        `decoded` is None where the bytes are undecodable or their schema is not listed. Raises
        `FatalLogError` where offsets are missing: a state without them would be a guess.
        """
        if record.offset != self.next_request:
            raise FatalLogError(
                f"offset `{self.next_request}` of `{record.topic}/{record.partition}` is missing"
            )
        self.next_request += 1
        if not expects_decision(decoded):
            return None
        request = decoded if isinstance(decoded, AgentRequest) else None
        state = None if request is None else self.agent(request.tenant, request.agent_id)
        waiting = Open(record, request, state)
        self.open[record.offset] = waiting
        if state is not None:
            self._recent[record.offset] = state
            if len(self._recent) > DELIVERABLE_REQUESTS_MAX:
                del self._recent[next(iter(self._recent))]
        return waiting

    def apply_request(self, record: LogRecord, decoded: AnyRecord | None) -> None:
        """Folds a record that was read: it joins its agent's chain and has its effect."""
        named = chained_agent(decoded)
        waiting = self.open.get(record.offset)
        if named is not None:
            state = self.agent(*named)
            leaf = leaf_hash(record.value) if waiting is None else waiting.leaf
            state.requests_chain = chain_next(state.requests_chain, leaf)
            self._fold(state, record, decoded)
        elif isinstance(decoded, Deliveries):
            for answer in self.deliveries(record, decoded):
                self.apply_delivery(answer)
        if waiting is not None:
            waiting.is_folded = True
            if waiting.core is not None:
                self._settle(waiting, waiting.core)

    def _fold(self, state: AgentState, record: LogRecord, decoded: AnyRecord | None) -> None:
        match decoded:
            case AgentRequest() if not self.misplaced(record, decoded):
                fold_request(state, decoded, record.offset)
            case ToolOutcome() if not self.misplaced(record, decoded):
                fold_outcome(state, decoded, record.offset)
            case Chunk() if not self.misplaced(record, decoded):
                state.chunks.add(decoded)
            case Enforcement() if not self.misplaced(record, decoded):
                fold_enforcement(state, decoded)
            case Redeem() if not self.misplaced(record, decoded):
                if decoded.request_partition == self.partition:
                    fold_redeem(state, decoded)
            case _:
                return

    def deliveries(self, record: LogRecord, deliveries: Deliveries) -> list[Answer]:
        """Returns what a `Deliveries` record says, agent by agent, as of its own offset."""
        if self.misplaced(record, deliveries):
            return []
        found = []
        for item in deliveries.items:
            state = self._recent.get(item.request_offset)
            if state is not None and state.tenant == deliveries.tenant:
                found.append(Answer(state, item, deliveries.producer, deliveries.epoch))
        return found

    def apply_delivery(self, answer: Answer) -> None:
        """Folds that one answer reached its caller."""
        fold_delivery(answer.state, answer.item, answer.producer, answer.epoch)

    # -- decisions ----------------------------------------------------------------------------

    def apply_decision(
        self,
        record: LogRecord,
        decision: Decision | None,
        core: DecisionCore | None,
        *,
        readable: bool = True,
        is_own: bool = False,
    ) -> Counted:
        """Folds a record of `ag.decisions`; its first counting one is a request's effective one.

        `is_own` says that the bytes are equal to what this process made for that very request.
        """
        if core is not None and self._may_come(core):
            return Counted.UNREAD
        self.next_decision = record.offset + 1
        if core is None or (decision is None and not is_own):
            return Counted.VOID
        waiting = self.open.get(core.request_offset)
        if waiting is None:
            return Counted.LATER
        request = waiting.request
        if record.offset < (0 if request is None else request.decisions_floor):
            return Counted.VOID
        if waiting.core is not None:
            return Counted.LATER
        if not is_own and not decision_counts(
            cluster=self.cluster,
            partition=self.partition,
            decision=decision,
            core=core,
            request_value=waiting.record.value,
            request=request,
            readable=readable,
        ):
            return Counted.VOID
        self._take_effect(waiting, record, core)
        return Counted.EFFECTIVE

    def _may_come(self, core: DecisionCore) -> bool:
        return (
            core.request_offset >= self.next_request
            and core.request_partition == self.partition
            and core.cluster == self.cluster
            and core.mode is Mode.LIVE
        )

    def _take_effect(self, waiting: Open, record: LogRecord, core: DecisionCore) -> None:
        state = waiting.state
        if state is not None:
            state.decisions_chain = chain_next(state.decisions_chain, leaf_hash(record.value))
            state.decided_at_ms = max(state.decided_at_ms, core.observations.decided_at_ms)
            state.control_floor = max(state.control_floor, core.versions.control_offset)
            state.signal_floor = max(state.signal_floor, core.versions.signal_offset)
        waiting.core = core
        if waiting.is_folded:
            self._settle(waiting, core)

    def _settle(self, waiting: Open, core: DecisionCore) -> None:
        del self.open[waiting.record.offset]
        if waiting.state is not None:
            fold_decision(waiting.state, waiting.record.offset, core)

    def pass_decision(self, record: LogRecord) -> None:
        """Steps over a decision whose request will never come: a finding, not a decision."""
        self.next_decision = record.offset + 1

    # -- signals ------------------------------------------------------------------------------

    def apply_signal(self, record: LogRecord, signal: Signal | None) -> bool:
        """Folds a record of `ag.signals`; returns whether it is one of this cluster's agents."""
        self.next_signal = record.offset + 1
        if signal is None or signal.cluster != self.cluster or signal.mode is not Mode.LIVE:
            return False
        state = self._signals.setdefault((signal.tenant, signal.agent_id), SignalState())
        state.apply(signal, record.value or b"")
        return True
