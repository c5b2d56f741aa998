# SPDX-License-Identifier: Apache-2.0
"""Readers of the same logs come to the same state, whatever order the topics arrived in."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentguard.contracts.hashing import leaf_hash
from agentguard.contracts.ports import AnyRecord, LogRecord
from agentguard.contracts.records import (
    AgentRequest,
    Charge,
    Chunk,
    ChunkSet,
    Decision,
    DecisionCore,
    Deliveries,
    Delivery,
    Enforcement,
    EnforcementCode,
    Measured,
    Mode,
    OutcomeRef,
    Redeem,
    RedeemPurpose,
    SectionName,
    Signal,
    SignalKind,
    Trust,
    Verdict,
    Voucher,
)
from agentguard.contracts.topics import Topic, agent_key
from agentguard.pipeline.share import Held, Share
from agentguard.session.fold import Counted, PartitionFold
from tests import worlds as w

AGENTS = ("agent-1", "agent-2")
VERDICTS = (Verdict.ALLOW, Verdict.DENY, Verdict.TRANSFORM, Verdict.ESCALATE)
# small bounds, so that short histories reach every one of them
BOUNDS = {
    "agentguard.session.effects.CALLS_REMEMBERED_PER_AGENT_MAX": 3,
    "agentguard.session.effects.IDEMPOTENCY_TAGS_PER_AGENT_MAX": 2,
    "agentguard.session.effects.PRODUCERS_PER_AGENT_MAX": 2,
    "agentguard.session.agent.SESSIONS_PER_AGENT_MAX": 2,
    "agentguard.session.agent.OUTPUTS_PER_AGENT_MAX": 3,
    "agentguard.session.agent.EVIDENCE_PER_SESSION_BYTES_MAX": 90,
    "agentguard.session.agent.EVIDENCE_PER_AGENT_BYTES_MAX": 120,
    "agentguard.session.calls.SEEN_TOOLS_MAX": 2,
    "agentguard.session.fold.DELIVERABLE_REQUESTS_MAX": 4,
}
CORE = w.Bench().ask(w.request(1))


@dataclass
class Logs:
    """Three topics of one partition, with what their records decode to."""

    requests: list[tuple[LogRecord, AnyRecord | None]] = field(default_factory=list)
    decisions: list[tuple[LogRecord, Decision, DecisionCore]] = field(default_factory=list)
    signals: list[tuple[LogRecord, Signal]] = field(default_factory=list)

    def put(self, value: AnyRecord | None, *, agent_id: str | None) -> None:
        key = None if agent_id is None else agent_key(w.TENANT, agent_id)
        raw = b"what nobody can read" if value is None else w.CODEC.encode(value)
        offset = len(self.requests)
        self.requests.append((LogRecord(Topic.REQUESTS, 0, offset, key, raw, 0), value))


def request_of(draw: st.DrawFn, number: int, agent_id: str) -> AgentRequest:
    pick = draw(st.integers(0, 1_000_000))
    made = w.request(
        draw(st.sampled_from((number, number, number, 1))),
        tool=("notes.read", "web.read", "bank.pay", "mail.send")[pick % 4],
        agent_id=agent_id,
        session_id=f"s{pick % 5}",
        accepted_at_ms=w.NOW + number * 9_000 - pick % 40_000,
        dry_run=pick % 13 == 0,
        idempotency_tag=bytes([pick % 3]) * 32 if pick % 2 else None,
        body_tag=bytes([pick % 2]) * 32 if pick % 5 else None,
        decisions_floor=draw(st.sampled_from((0, 0, 0, 3))),
        producer=f"gateway-{pick % 3}",
        epoch=1 + pick % 2,
        outcome_refs=tuple(
            OutcomeRef(id=bytes([i]) * 16, trust=Trust.UNTRUSTED if pick % 3 else Trust.TRUSTED)
            for i in range(pick % 4)
        ),
    )
    if pick % 6:
        return made
    task, parameters = made.sections
    chunks = ChunkSet(id=bytes([pick % 2]) * 16, count=2, size=len(parameters.body))
    return replace(made, sections=(task, replace(parameters, body=b"", chunks=chunks)))


def door_record(draw: st.DrawFn, logs: Logs, agent_id: str) -> None:
    number, pick = len(logs.requests), draw(st.integers(0, 1_000_000))
    of = pick % (number + 1)
    named = logs.requests[of][1] if of < number else None
    request = named if isinstance(named, AgentRequest) else None
    stamp = {
        "cluster": w.CLUSTER,
        "mode": Mode.LIVE,
        "producer": f"gateway-{pick % 3}" if pick % 7 == 0 or request is None else request.producer,
        "epoch": 1 if request is None else request.epoch,
        "sequence": number,
        "control_offset": 0,
        "tenant": w.TENANT,
    }
    match draw(st.integers(0, 4)):
        case 0:
            made: AnyRecord = w.outcome(
                number,
                "what it said, at some length " * (1 + pick % 2),
                tool="web.read" if request is None else request.tool,
                outcome_id=bytes([pick % 4]) * 16,
                agent_id=agent_id,
                session_id=f"s{pick % 3}",
                registry_label=Trust.TRUSTED if pick % 3 else Trust.UNTRUSTED,
                voucher=Voucher.SDK if pick % 5 == 0 else Voucher.NOBODY,
                reported_at_ms=w.NOW + number * 9_000 - pick % 7_000_000,
                request_offset=of,
            )
        case 1:
            made = Enforcement(
                **stamp,
                agent_id=agent_id,
                code=EnforcementCode.NOT_DELIVERED,
                reason="deadline",
                count=1,
                window_ms=0,
                reported_at_ms=w.NOW,
                sequences=(),
                request_id=None if request is None else request.request_id,
                request_offset=of if pick % 2 else None,
            )
        case 2:
            made = Redeem(
                **stamp,
                agent_id=agent_id,
                request_partition=0,
                request_offset=of,
                purpose=RedeemPurpose.CALL,
                section_commitment=bytes(32),
                redeemer="r",
            )
        case 3:
            item = Delivery(request_offset=of, decision_offset=0, action=Verdict.ALLOW)
            logs.put(Deliveries(**stamp, items=(item,)), agent_id=None)
            return
        case _:
            body = w.section(SectionName.PARAMETERS, '{"name": "plan"}').body
            made = Chunk(
                **stamp,
                agent_id=agent_id,
                id=bytes([pick % 2]) * 16,
                index=pick % 3 % 2,
                count=2,
                body=body[:8] if pick % 3 % 2 == 0 else body[8:],
            )
    logs.put(made, agent_id=agent_id)


def decide(draw: st.DrawFn, logs: Logs, offset: int) -> None:
    """Appends a decision of a request; now and then one that does not count."""
    record, request = logs.requests[offset]
    pick = draw(st.integers(0, 1_000_000))
    named = request if isinstance(request, AgentRequest) else None
    is_sound = pick % 9 > 0
    charges = (
        Charge(
            counter="calls",
            amount=1,
            unit="call",
            categories=("untrusted_output",) if pick % 3 else ("sensitive",),
        ),
        Charge(counter="spend", amount=pick % 700, unit="EUR.minor", categories=()),
        Charge(counter="denials", amount=pick % 2, unit="call", categories=()),
    )
    core = replace(
        CORE,
        tenant="" if named is None else named.tenant,
        agent_id="" if named is None else named.agent_id,
        request_id=None if named is None else named.request_id,
        request_offset=offset,
        request_leaf=leaf_hash(record.value) if is_sound else bytes(32),
        verdict=VERDICTS[pick % 4],
        charges=charges,
        observations=replace(CORE.observations, decided_at_ms=w.NOW + pick % (26 * 3_600_000)),
        versions=replace(CORE.versions, control_offset=pick % 50, signal_offset=pick % 7),
    )
    decision = Decision(
        cluster=w.CLUSTER if pick % 11 else "another",
        mode=Mode.LIVE if pick % 17 else Mode.REPLAY,
        core=w.CODEC.encode(core),
        measured=Measured(lane="a", worker="0", stages=(), cache=False),
        macs=(),
    )
    at = len(logs.decisions)
    value = w.CODEC.encode(decision)
    logs.decisions.append((LogRecord(Topic.DECISIONS, 0, at, record.key, value, 0), decision, core))


@st.composite
def histories(draw: st.DrawFn) -> Logs:
    logs = Logs()
    for _ in range(draw(st.integers(2, 26))):
        agent_id = draw(st.sampled_from(AGENTS))
        match draw(st.integers(0, 6)):
            case 0 | 1 | 2:
                logs.put(request_of(draw, len(logs.requests), agent_id), agent_id=agent_id)
            case 3 if draw(st.booleans()):
                logs.put(None, agent_id=agent_id)
            case _:
                door_record(draw, logs, agent_id)
    asked = [r.offset for r, v in logs.requests if v is None or isinstance(v, AgentRequest)]
    for offset in draw(st.permutations(asked)):
        for _ in range(draw(st.sampled_from((0, 1, 1, 1, 2)))):
            decide(draw, logs, offset)
    for number in range(draw(st.integers(0, 3))):
        signal = Signal(
            cluster=w.CLUSTER,
            mode=Mode.LIVE,
            tenant=w.TENANT,
            agent_id=AGENTS[number % 2],
            kind=SignalKind.QUARANTINE,
            level=1,
            reason="r",
            evidence_refs=(),
            issued_at_ms=0,
            session_id="s1" if number else None,
        )
        value = w.CODEC.encode(signal)
        logs.signals.append((LogRecord(Topic.SIGNALS, 0, number, None, value, 0), signal))
    return logs


class Reader:
    """A reader that takes the topics in any order, and may fold requests later than it reads."""

    def __init__(self, logs: Logs) -> None:
        self.logs = logs
        self.fold = PartitionFold(cluster=w.CLUSTER, partition=0, partitions=1)
        self.read = self.folded = self.decided = self.signalled = 0
        self.effective: dict[int, int] = {}

    def step(self, kind: str) -> None:
        match kind:
            case "read" if self.read < len(self.logs.requests):
                self.fold.read(*self.logs.requests[self.read])
                self.read += 1
            case "fold" if self.folded < self.read:
                self.fold.apply_request(*self.logs.requests[self.folded])
                self.folded += 1
            case "decision" if self.decided < len(self.logs.decisions):
                record, decision, core = self.logs.decisions[self.decided]
                counted = self.fold.apply_decision(record, decision, core)
                self.decided += counted is not Counted.UNREAD
                if counted is Counted.EFFECTIVE:
                    self.effective[core.request_offset] = record.offset
            case "signal" if self.signalled < len(self.logs.signals):
                self.fold.apply_signal(*self.logs.signals[self.signalled])
                self.signalled += 1
            case _:
                return

    def finish(self) -> Reader:
        for kind in ("read", "fold", "decision", "signal"):
            for _ in range(len(self.logs.requests) + len(self.logs.decisions)):
                self.step(kind)
        return self

    def digests(self) -> list[bytes]:
        return [self.fold.agent(w.TENANT, a).digest() for a in AGENTS]

    def quarantines(self) -> list[str]:
        found = (self.fold.signals(w.TENANT, a) for a in AGENTS)
        return ["" if s is None else s.quarantine("s1") for s in found]


def taints(reader: Reader) -> list[bool]:
    states = (reader.fold.agent(w.TENANT, a) for a in AGENTS)
    return [s.is_tainted for state in states for s in state.sessions.values()]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    logs=histories(),
    order=st.lists(st.sampled_from(("read", "fold", "fold", "decision", "signal")), max_size=160),
)
def test_every_interleaving_of_the_topics_comes_to_the_same_state(
    logs: Logs, order: list[str]
) -> None:
    with ExitStack() as bounds:
        for name, value in BOUNDS.items():
            bounds.enter_context(mock.patch(name, value))
        plain = Reader(logs).finish()
        mixed = Reader(logs)
        for kind in order:
            mixed.step(kind)
        mixed.finish()
        assert mixed.effective == plain.effective
        assert mixed.digests() == plain.digests()
        assert taints(mixed) == taints(plain)
        assert mixed.quarantines() == plain.quarantines()
        assert mixed.fold.low_water == plain.fold.low_water


def undecided(fold: PartitionFold) -> dict[int, str]:
    """Offsets without a decision, each with its agent."""
    waiting = ((at, o.state) for at, o in fold.open.items() if o.core is None)
    return {at: "" if state is None else state.agent_id for at, state in waiting}


def shared(logs: Logs, order: list[str]) -> Share:
    """Reads as a lane does that only stands by: it folds a request once its decision is read."""
    fold = PartitionFold(cluster=w.CLUSTER, partition=0, partitions=1)
    share = Share(fold, (0, 0, 0))
    requests, decisions = iter(logs.requests), iter(logs.decisions)
    plenty = ["read"] * len(logs.requests) + ["decision"] * len(logs.decisions)
    for kind in [*order, *plenty]:
        if kind == "read":
            for record, decoded in islice(requests, 1):
                share.read(record, decoded, fault="", read_ms=0)
                share.apply_held()
        elif kind == "decision":
            for record, decision, core in islice(decisions, 1):
                held = Held(record, decision, core, readable=True, is_own=False, since_ms=0)
                share.apply_decision(held)
    return share


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(logs=histories(), order=st.lists(st.sampled_from(("read", "decision")), max_size=90))
def test_a_lane_that_stands_by_comes_to_the_state_of_every_other_reader(
    logs: Logs, order: list[str]
) -> None:
    with ExitStack() as bounds:
        for name, value in BOUNDS.items():
            bounds.enter_context(mock.patch(name, value))
        plain = Reader(logs).finish()
        share = shared(logs, order)
        assert share.fold.next_decision == plain.fold.next_decision
        assert undecided(share.fold) == undecided(plain.fold)
        for agent_id in AGENTS:
            if agent_id not in undecided(plain.fold).values():
                state = share.fold.agent(w.TENANT, agent_id)
                assert state.digest() == plain.fold.agent(w.TENANT, agent_id).digest()
