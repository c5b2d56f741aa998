# SPDX-License-Identifier: Apache-2.0
"""Holds requests and decisions of one partition against each other.

Every request offset gets exactly one effective decision, or is reported; every effective decision
carries the chains of what its agent did before, which are computed here again from the leaves.
Requests are read only as far as decisions name them, so memory holds the undecided window.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from agentguard.audit.doors import DoorCheck
from agentguard.audit.findings import Report
from agentguard.audit.openings import SectionCheck
from agentguard.contracts.counting import chained_agent, decision_counts, expects_decision
from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.hashing import chain_next, chain_start, leaf_hash
from agentguard.contracts.ports import AnyRecord, Codec
from agentguard.contracts.records import (
    AgentRequest,
    Decision,
    DecisionCore,
    Deliveries,
    DoorRecord,
    Enforcement,
    EnforcementCode,
    Failure,
    ToolOutcome,
    Verdict,
)
from agentguard.contracts.topics import Topic

# How long after its acceptance a request may still be without a decision: the longest deadline
# (30 s) and what a lane needs beyond it.
DECIDED_WITHIN_MS = 35_000
_CHAIN_MEMORY = 512
_DECIDED, _ALLOWED, _OUTCOME, _NOT_DELIVERED = 1, 2, 4, 8

Agent = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Pending:
    value: bytes | None
    record: AnyRecord | None
    chain: bytes


@dataclass(slots=True)
class _Decided:
    """Effective decisions of one agent: the chain after each of the last ones, by offset."""

    start: bytes
    heads: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=_CHAIN_MEMORY))
    count: int = 0

    def before(self, offset: int) -> bytes | None:
        """Returns the chain over decisions before an offset; None where that is forgotten."""
        for at, head in reversed(self.heads):
            if at < offset:
                return head
        return self.start if self.count <= len(self.heads) else None

    def append(self, offset: int, leaf: bytes) -> None:
        """Adds an effective decision."""
        head = self.heads[-1][1] if self.heads else self.start
        self.heads.append((offset, chain_next(head, leaf)))
        self.count += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionFacts:
    """What is known of a partition before its records are held against each other.

    `settled` is how many requests were signed long enough before the last head of the decisions
    to be decided there; `decisions_ms` when that head was signed.
    """

    cluster: str
    partition: int
    requests_size: int
    settled: int
    decisions_ms: int
    requests_ms: int


class CompletenessCheck:
    """One pass over one partition of `ag.requests` and `ag.decisions`."""

    def __init__(
        self,
        facts: PartitionFacts,
        *,
        codec: Codec,
        is_readable: Callable[[bytes], bool],
        doors: DoorCheck,
        report: Report,
    ) -> None:
        self._facts = facts
        self._codec = codec
        self._is_readable = is_readable
        self._doors = doors
        self._report = report
        self._sections = SectionCheck(report, facts.partition)
        self._chains: dict[Agent, bytes] = {}
        self._decided: dict[Agent, _Decided] = {}
        self._pending: dict[int, _Pending] = {}
        self._flags = bytearray()

    def run(self, requests: Iterator[bytes | None], decisions: Iterator[bytes | None]) -> None:
        """Reads both partitions to their ends and notes every finding."""
        numbered = enumerate(requests)
        for offset, value in enumerate(decisions):
            decision, core = self._decision(value, offset)
            if decision is None or core is None:
                continue
            while len(self._flags) <= core.request_offset < self._facts.requests_size:
                if not self._next_request(numbered):
                    break
            self._judge(offset, value, decision, core)
        while self._next_request(numbered):
            pass
        self._report_undecided()
        allowed = sum(1 for f in self._flags if f & _ALLOWED)
        told = sum(1 for f in self._flags if f & _ALLOWED and f & (_OUTCOME | _NOT_DELIVERED))
        self._report.counts["allowed"] += allowed
        self._report.counts["allowed_without_outcome"] += allowed - told

    # requests

    def _next_request(self, numbered: Iterator[tuple[int, bytes | None]]) -> bool:
        entry = next(numbered, None)
        if entry is None:
            return False
        offset, value = entry
        self._flags.append(0)
        record = self._decode(value)
        agent = chained_agent(record)
        chain = b""
        if agent is not None:
            chain = self._chains.get(agent) or chain_start(self._facts.cluster, *agent)
            self._chains[agent] = chain_next(chain, leaf_hash(value))
        if expects_decision(record):
            self._pending[offset] = _Pending(value, record, chain)
            self._report.counts["requests"] += 1
        if isinstance(record, DoorRecord):
            self._doors.apply(record, self._facts.partition, offset)
            self._sections.apply_request(record, offset)
        match record:
            case ToolOutcome() if record.request_offset is not None:
                self._mark_answer(record.request_offset, _OUTCOME, offset)
            case Enforcement() if record.code is EnforcementCode.NOT_DELIVERED:
                if record.request_offset is not None:
                    self._mark_answer(record.request_offset, _NOT_DELIVERED, offset)
            case Deliveries():
                self._report.counts["deliveries"] += len(record.items)
            case _:
                pass
        return True

    def _decode(self, value: bytes | None) -> AnyRecord | None:
        if value is None or not self._is_readable(value[2:10]):
            return None
        try:
            return self._codec.decode(value)
        except UndecodableError:
            return None

    def _mark_answer(self, request_offset: int, flag: int, offset: int) -> None:
        if not 0 <= request_offset < len(self._flags):
            self._note("ANSWER", f"an answer names request {request_offset}", offset)
        elif self._flags[request_offset] & flag:
            self._note("ANSWER", f"request {request_offset} is answered again", offset)
        else:
            self._flags[request_offset] |= flag

    # decisions

    def _decision(
        self, value: bytes | None, offset: int
    ) -> tuple[Decision | None, DecisionCore | None]:
        record = self._decode(value)
        core = self._decode(record.core) if isinstance(record, Decision) else None
        self._report.counts["decision_records"] += 1
        if not isinstance(record, Decision) or not isinstance(core, DecisionCore):
            self._note("NOT_COUNTING", "no readable decision", offset, topic=Topic.DECISIONS)
            return None, None
        self._sections.apply_core(core, offset)
        return record, core

    def _judge(
        self, offset: int, value: bytes | None, decision: Decision, core: DecisionCore
    ) -> None:
        pending = self._pending.get(core.request_offset)
        if pending is None:
            self._judge_stray(offset, core)
            return
        if not decision_counts(
            cluster=self._facts.cluster,
            partition=self._facts.partition,
            decision=decision,
            core=core,
            request_value=pending.value,
            request=pending.record,
            readable=True,
        ):
            self._judge_not_counting(offset, core, pending)
            return
        floor = pending.record.decisions_floor if isinstance(pending.record, AgentRequest) else 0
        if offset < floor:
            self._note("BEFORE_FLOOR", "a decision before its request was asked for", offset)
            return
        self._check_chains(offset, core, pending)
        del self._pending[core.request_offset]
        self._flags[core.request_offset] |= _DECIDED
        if core.verdict in (Verdict.ALLOW, Verdict.TRANSFORM):
            self._flags[core.request_offset] |= _ALLOWED
        self._report.counts["decisions"] += 1
        if core.agent_id:
            self._decided_of(core).append(offset, leaf_hash(value))

    def _judge_stray(self, offset: int, core: DecisionCore) -> None:
        """A decision of a request that is decided, gets none, or is not in the trail."""
        at = core.request_offset
        if 0 <= at < len(self._flags):
            if self._flags[at] & _DECIDED:
                self._report.counts["duplicate_decisions"] += 1
            else:
                self._note("NOT_COUNTING", f"record {at} gets no decision", offset)
        elif core.observations.decided_at_ms + DECIDED_WITHIN_MS <= self._facts.requests_ms:
            self._report.tampered(
                "NO_REQUEST",
                f"a decision names request {at}, and the trail ends at {len(self._flags)}",
                topic=Topic.DECISIONS,
                partition=self._facts.partition,
                offset=offset,
            )
        else:
            self._report.counts["decisions_beyond_the_trail"] += 1

    def _judge_not_counting(self, offset: int, core: DecisionCore, pending: _Pending) -> None:
        request = pending.record
        is_named = isinstance(request, AgentRequest) and (
            core.cluster == self._facts.cluster and core.request_id == request.request_id
        )
        if is_named and core.request_leaf != leaf_hash(pending.value):
            self._report.tampered(
                "REQUEST_LEAF",
                f"the decision at {offset} was made about other bytes than the trail holds here",
                topic=Topic.REQUESTS,
                partition=self._facts.partition,
                offset=core.request_offset,
            )
            return
        self._note("NOT_COUNTING", "a decision that does not name its request", offset)

    def _check_chains(self, offset: int, core: DecisionCore, pending: _Pending) -> None:
        if not core.agent_id or core.observations.failure not in (Failure.NONE, Failure.ENGINE):
            return  # a lane that could not decide may not have had the agent's state
        if core.requests_chain != pending.chain:
            self._chain("what its agent did before", offset)
        k = core.versions.decisions_offset
        expected = self._decided_of(core).before(k)
        if expected is None:
            self._report.incomplete(
                "CHAIN_UNCHECKED",
                f"the decision refers to state before {k}, further back than is kept",
                topic=Topic.DECISIONS,
                partition=self._facts.partition,
                offset=offset,
            )
        elif k > offset or core.decisions_chain != expected:
            self._chain("the decisions before it", offset)

    def _chain(self, what: str, offset: int) -> None:
        self._report.tampered(
            "CHAIN",
            f"the decision was made on another history of {what} than the trail holds",
            topic=Topic.DECISIONS,
            partition=self._facts.partition,
            offset=offset,
        )

    def _decided_of(self, core: DecisionCore) -> _Decided:
        agent = (core.tenant, core.agent_id)
        found = self._decided.get(agent)
        if found is None:
            found = self._decided[agent] = _Decided(chain_start(self._facts.cluster, *agent))
        return found

    # the end

    def _report_undecided(self) -> None:
        for offset, pending in self._pending.items():
            record = pending.record
            if offset < self._facts.settled or self._is_due(record):
                self._report.tampered(
                    "NO_DECISION",
                    "the request has no decision",
                    topic=Topic.REQUESTS,
                    partition=self._facts.partition,
                    offset=offset,
                )
            elif isinstance(record, AgentRequest) and self._is_in_time(record):
                self._report.counts["pending"] += 1
            else:
                self._report.incomplete(
                    "UNDECIDED_TAIL",
                    "not decided yet",
                    topic=Topic.REQUESTS,
                    partition=self._facts.partition,
                    offset=offset,
                )

    def _is_due(self, record: AnyRecord | None) -> bool:
        return (
            isinstance(record, AgentRequest)
            and record.accepted_at_ms + DECIDED_WITHIN_MS <= self._facts.decisions_ms
        )

    def _is_in_time(self, record: AgentRequest) -> bool:
        # its own deadline, and never beyond what any deadline may be
        latest = min(record.deadline_ms, record.accepted_at_ms + DECIDED_WITHIN_MS)
        return latest > self._facts.decisions_ms

    def _note(self, name: str, message: str, offset: int, *, topic: str = Topic.DECISIONS) -> None:
        self._report.note(
            name, message, topic=topic, partition=self._facts.partition, offset=offset
        )
