# SPDX-License-Identifier: Apache-2.0
"""A lane: one static member that folds its partitions and writes decisions next to their requests.

A lane's own failure is not a verdict: it stays silent, yields to a decision that appears, and
writes its failure only just before the deadline; after 20 in a row it stops competing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from agentguard.contracts.errors import (
    AgentGuardError,
    FatalLogError,
    LogError,
    QueueFullError,
)
from agentguard.contracts.ports import (
    Clock,
    Codec,
    Delivery,
    Log,
    LogIndex,
    LogReader,
    LogRecord,
    LogWriter,
    TopicPartition,
)
from agentguard.contracts.records import (
    Decision,
    DecisionCore,
    Measured,
    Signal,
    StageTime,
    Verdict,
)
from agentguard.contracts.topics import Topic
from agentguard.decision.world import Question
from agentguard.pipeline.clock_check import ClockCheck
from agentguard.pipeline.control_feed import ControlFeed
from agentguard.pipeline.dead_letters import DeadLetters
from agentguard.pipeline.framing import frame_decision
from agentguard.pipeline.health import LaneHealth
from agentguard.pipeline.heartbeats import Heartbeats
from agentguard.pipeline.intake import Intake
from agentguard.pipeline.judging import LaneJudge
from agentguard.pipeline.poison import PoisonNotes
from agentguard.pipeline.releases import Releases
from agentguard.pipeline.share import Held, Queued, Share
from agentguard.pipeline.topology import LANE_TOPICS, lane_group, lane_partitions, places
from agentguard.session.agent import AgentState
from agentguard.session.fold import PartitionFold

RECORDS_PER_READ_MAX: Final = 500
IDLE_WAIT_MS: Final = 50
BUSY_WAIT_MS: Final = 2
COMMIT_EVERY_MS: Final = 1_000
ORPHAN_AFTER_MS: Final = 1_000
NOBODY_KNOWS: Final = 2**63

_log = structlog.get_logger("lane")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneName:
    """Which lane of which cluster this is; `worker` tells the members of one lane apart."""

    cluster: str
    lane: str
    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LanePorts:
    """What a lane asks of the outside, opened and wired by its script."""

    log: Log
    index: LogIndex
    codec: Codec
    clock: Clock
    writer: LogWriter
    control: ControlFeed
    releases: Releases
    heartbeats: Heartbeats
    letters: DeadLetters
    clock_check: ClockCheck
    notes: PoisonNotes


class Sent:
    """A decision that was appended and not read back yet."""

    __slots__ = ("control_offset", "core", "head", "share", "value")

    def __init__(self, share: Share, head: Queued, core: DecisionCore, value: bytes) -> None:
        self.share = share
        self.head = head
        self.core = core
        self.value = value
        self.control_offset = core.versions.control_offset


class Lane:
    """One member of a lane. Belongs to one thread."""

    def __init__(self, name: LaneName, ports: LanePorts) -> None:
        self._name = name
        self._ports = ports
        self._partitions = lane_partitions(ports.index)
        self._shares: dict[int, Share] = {}
        self._sent: dict[bytes, Sent] = {}
        self._undelivered: list[Sent] = []
        self._commit_at_ms = 0.0
        self.health = LaneHealth(ports.clock)
        self._judge = LaneJudge(
            cluster=name.cluster,
            clock=ports.clock,
            control=ports.control,
            releases=ports.releases,
            health=self.health,
            clock_check=ports.clock_check,
        )
        self.decided = 0
        self._intake = Intake(ports.codec, ports.control, ports.letters)
        self._reader: LogReader | None = None

    # -- the loop -----------------------------------------------------------------------------

    def step(self, timeout_ms: int = IDLE_WAIT_MS) -> int:
        """Reads, folds and decides what is there; returns how many records that was.

        Raises `FatalLogError` and `LogError` where only a new process helps.
        """
        ports = self._ports
        if self._reader is None:
            self._reader = self._join(timeout_ms)
            return 0
        is_busy = any(share.is_waiting() for share in self._shares.values())
        records = self._reader.read(
            timeout_ms=min(timeout_ms, BUSY_WAIT_MS) if is_busy else timeout_ms,
            records_max=RECORDS_PER_READ_MAX,
        )
        ports.control.pump(0)
        if records:
            self.health.note_reads()
        # decisions first: what has been decided is no longer pending for what comes
        for record in records:
            if record.topic != Topic.REQUESTS:
                self._take_other(record)
        for record in records:
            if record.topic == Topic.REQUESTS:
                self._take_request(record)
        if is_busy or any(share.is_waiting() for share in self._shares.values()):
            self._decide_heads()
        ports.writer.poll()
        if self._undelivered:
            self._send_again()
        ports.clock_check.look()
        self._every_second()
        return len(records)

    def close(self, timeout_ms: int = 1_000) -> None:
        """Delivers what is on its way, stores positions and leaves."""
        self._ports.writer.flush(timeout_ms)
        if self._reader is not None:
            self._reader.commit(self.positions())
            self._reader.close()

    def positions(self) -> dict[TopicPartition, int]:
        """Returns the contiguous finished prefix of every partition, as next offsets."""
        found = {}
        for number, share in self._shares.items():
            requests, decisions, signals = places(number)
            found[requests] = share.fold.low_water
            found[decisions] = share.fold.next_decision
            found[signals] = share.fold.next_signal
        return found

    def state_of(self, partition: int, tenant: str, agent_id: str) -> AgentState:
        """Returns what this lane holds of an agent. Raises `KeyError` for a foreign partition."""
        return self._shares[partition].fold.agent(tenant, agent_id)

    def why_not_ready(self) -> str:
        """Returns why this lane decides nothing properly now, or an empty text."""
        if not self._shares:
            return "no partition is assigned"
        if not all(share.is_caught_up for share in self._shares.values()):
            return "the log is not read to where it ended at the start"
        ports = self._ports
        reason = ports.clock_check.fault or ports.control.why_not_ready()
        if reason:
            return reason
        if not ports.releases.update(ports.control.fold, ports.clock.now_ms()):
            return ports.releases.fault
        return self.health.why_not_ready()

    def _join(self, timeout_ms: int) -> LogReader | None:
        """Joins the lane once the control log is read: before, nothing can be judged readable."""
        ports = self._ports
        ports.control.pump(timeout_ms)
        ports.writer.poll()
        ports.clock_check.look()
        self._every_second()
        if ports.control.why_not_ready():
            return None
        # compiling a release takes long: do it before the first request waits for it
        ports.releases.update(ports.control.fold, ports.clock.now_ms())
        return ports.log.member(
            group=lane_group(self._name.lane),
            instance=f"{self._name.lane}-{self._name.worker}",
            topics=LANE_TOPICS,
            start=self._start,
        )

    # -- reading ------------------------------------------------------------------------------

    def _start(self, gained: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Makes empty folds for what was gained; every partition is read from its start."""
        self._shares = {}
        self._sent = {}
        self._undelivered = []
        starts: dict[TopicPartition, int] = {}
        for number in sorted({at.partition for at in gained}):
            bounds = [self._ports.index.bounds(at) for at in places(number)]
            first = (bounds[0][0], bounds[1][0], bounds[2][0])
            fold = PartitionFold(
                cluster=self._name.cluster,
                partition=number,
                partitions=self._partitions,
                starts=first,
            )
            self._shares[number] = Share(fold, (bounds[0][1], bounds[1][1], bounds[2][1]))
            starts.update(zip(places(number), first, strict=True))
        # a silence before this says nothing about what was gained now
        self.health.note_reads()
        _log.info("lane_assigned", partitions=sorted(self._shares))
        return starts

    def _take_request(self, record: LogRecord) -> None:
        share = self._shares.get(record.partition)
        if share is None:
            return
        decoded, fault = self._intake.decode(record)
        head = share.read(record, decoded, fault=fault, read_ms=self._ports.clock.monotonic_ms())
        share.apply_held()
        while head is not None and share.is_caught_up and self._may_decide(head):
            if not self._decide(share, head):
                return
            head = share.settle(head)

    def _take_other(self, record: LogRecord) -> None:
        share = self._shares.get(record.partition)
        if share is None:
            return
        if record.topic == Topic.SIGNALS:
            decoded, fault = self._intake.decode(record)
            signal = decoded if isinstance(decoded, Signal) else None
            if not share.fold.apply_signal(record, signal) and not fault:
                self._intake.note(record, "not_a_signal")
            return
        sent = self._sent.get(record.value or b"")
        # a copy in another partition is nobody's decision: it is read like every other record
        if sent is not None and sent.head.record.partition == record.partition:
            del self._sent[sent.value]
        else:
            sent = None
        decision: Decision | None = None
        core: DecisionCore | None = None if sent is None else sent.core
        is_readable = True
        if sent is None:
            decision, core, is_readable = self._intake.decode_decision(record)
        share.apply_decision(
            Held(
                record,
                decision,
                core,
                readable=is_readable,
                is_own=sent is not None,
                since_ms=self._ports.clock.monotonic_ms(),
            )
        )

    # -- deciding -----------------------------------------------------------------------------

    def _may_decide(self, head: Queued) -> bool:
        """Returns whether it is this lane's turn: lane a decides at once."""
        del head
        return True

    def _decide_heads(self) -> None:
        for share in self._shares.values():
            if not share.is_caught_up:
                continue
            for head in share.heads():
                item: Queued | None = head
                while item is not None and self._may_decide(item) and self._decide(share, item):
                    item = share.settle(item)

    def _decide(self, share: Share, head: Queued) -> bool:
        """Decides a request and appends the decision; False where it has to wait."""
        waiting = head.waiting
        if waiting is None or waiting.core is not None:
            return True
        question = Question(
            record=head.record,
            leaf=waiting.leaf,
            request=waiting.request,
            state=waiting.state,
            fault=head.fault or "it is no request",
        )
        began = self._ports.clock.monotonic_ms()
        core = self._answer(share, question)
        if core is None:
            return False
        spent = StageTime(stage="decide", us=int((self._ports.clock.monotonic_ms() - began) * 1000))
        return self._write(share, head, question, core, spent)

    def _answer(self, share: Share, question: Question) -> DecisionCore | None:
        notes, record = self._ports.notes, question.record
        if notes.is_poison(record.partition, record.offset):
            return self._judge.refuse(share.fold, question)
        notes.begin(record.partition, record.offset)
        try:
            core = self._judge.answer(share.fold, question)
        except AgentGuardError:
            notes.end()  # the log's fault, not the request's
            raise
        notes.end()
        return core

    def _write(
        self, share: Share, head: Queued, question: Question, core: DecisionCore, spent: StageTime
    ) -> bool:
        measured = Measured(
            lane=self._name.lane, worker=self._name.worker, stages=(spent,), cache=False
        )
        value = frame_decision(self._ports.codec, core, measured)
        if value is None:
            core = self._judge.refuse(share.fold, question)
            value = frame_decision(self._ports.codec, core, measured)
            if value is None:
                raise FatalLogError("a denial does not fit the log")
        return self._append(Sent(share, head, core, value))

    def _append(self, sent: Sent) -> bool:
        if not self._send(sent):
            return False
        self._sent[sent.value] = sent
        self.decided += 1
        return True

    def _send(self, sent: Sent) -> bool:
        record = sent.head.record
        try:
            self._ports.writer.append(
                Topic.DECISIONS,
                sent.value,
                key=record.key,
                partition=record.partition,
                on_delivery=partial(self._delivered, sent),
            )
        except QueueFullError:
            return False
        return True

    def _delivered(self, sent: Sent, delivery: Delivery) -> None:
        if delivery.error and sent.value in self._sent:
            self._undelivered.append(sent)

    def _send_again(self) -> None:
        """Sends decisions again whose delivery failed; one may be on the log twice then.

        What was allowed under an older control prefix is not repeated: only a new process, which
        folds from the start, can ask the same question again.
        """
        failed, self._undelivered = self._undelivered, []
        for sent in failed:
            waiting = sent.head.waiting
            if waiting is None or waiting.core is not None:
                self._sent.pop(sent.value, None)
                continue
            is_safe = sent.core.verdict is Verdict.DENY
            if not is_safe and self._ports.control.fold.folded != sent.control_offset:
                raise FatalLogError("an allow was not delivered before the control log moved on")
            if not self._send(sent):
                self._undelivered.append(sent)

    # -- now and then -------------------------------------------------------------------------

    def _every_second(self) -> None:
        ports = self._ports
        now = ports.clock.monotonic_ms()
        if now < self._commit_at_ms:
            return
        self._commit_at_ms = now + COMMIT_EVERY_MS
        if self._reader is not None and self._shares:
            self._reader.commit(self.positions())
            self._pass_orphans(now)
        if not self.health.is_competing and not ports.control.why_not_ready():
            self.health.examine(is_sound=ports.releases.is_sound())
        self._watch()
        reason = self.why_not_ready()
        ports.heartbeats.beat(
            folded=self.positions(),
            releases=ports.releases.held(),
            ready=not reason,
            reason=reason or ports.releases.fault,
        )
        ports.clock_check.expect()

    def _pass_orphans(self, now: float) -> None:
        """Steps over decisions whose requests do not exist, as the log itself says."""
        for number, share in self._shares.items():
            held = share.stuck(now, ORPHAN_AFTER_MS)
            while held is not None and held.core is not None:
                if held.core.request_offset < self._end_of_requests(number):
                    break
                self._intake.note(held.record, "no_such_request")
                share.pass_stuck()
                held = share.stuck(now, ORPHAN_AFTER_MS)

    def _watch(self) -> None:
        """Raises `FatalLogError` where requests grow and this member reads none of them.

        A static member can die for good inside a living process.
        """
        if not self.health.is_suspicious():
            return
        for number, share in self._shares.items():
            end = self._end_of_requests(number)
            if share.fold.next_request < end < NOBODY_KNOWS:
                raise FatalLogError("requests grow and this member reads none of them")
        self.health.note_reads()

    def _end_of_requests(self, partition: int) -> int:
        """Returns where the partition's requests end now; beyond every offset if nobody answers."""
        try:
            return self._ports.index.bounds(places(partition)[0])[1]
        except LogError:
            return NOBODY_KNOWS
