# SPDX-License-Identifier: Apache-2.0
"""Store: what becomes of each record: a row, a stub with its reason, or a place in a queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from agentguard.contracts.commands import CommandBody, SignedCommand
from agentguard.contracts.counting import expects_decision
from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.hashing import leaf_hash
from agentguard.contracts.ports import AnyRecord, Codec, LogRecord
from agentguard.contracts.records import (
    AgentRequest,
    Checkpoint,
    Chunk,
    ControlCommand,
    DeadLetter,
    Decision,
    DecisionCore,
    Deliveries,
    Enforcement,
    EpochStart,
    Redeem,
    Signal,
    ToolOutcome,
)
from agentguard.contracts.topics import Topic
from agentguard.store.checkpoints import CheckpointThinner
from agentguard.store.decisions import DecisionQueue
from agentguard.store.ports import DeadLetterBox, Judgement
from agentguard.store.reading import FOREIGN_TENANT, UNDECODABLE, Reading, RecordReader
from agentguard.store.registry_rows import registry_row
from agentguard.store.requests import RequestWindow
from agentguard.store.rows import (
    Row,
    command_row,
    dead_letter_row,
    door_row,
    signal_row,
    stub_row,
    tenant_of,
)

Add = Callable[[Row, int], None]


@dataclass(slots=True)
class IntakeCounts:
    """What happened since the start: stub rows by problem, findings about the log itself."""

    problems: dict[str, int] = field(default_factory=dict)
    findings: dict[str, int] = field(default_factory=dict)

    def problem(self, name: str) -> None:
        """Counts a record that could only be stored as a stub."""
        self.problems[name] = self.problems.get(name, 0) + 1

    def finding(self, name: str) -> None:
        """Counts something about the log itself that should not be."""
        self.findings[name] = self.findings.get(name, 0) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """Turns records into rows and hands them to `add` with the size of their record."""

    codec: Codec
    reader: RecordReader
    window: RequestWindow
    queue: DecisionQueue
    thinner: CheckpointThinner
    letters: DeadLetterBox
    add: Add
    counts: IntakeCounts

    def take(self, record: LogRecord) -> None:
        """Takes a record of any topic but the control log's. Raises `OutdatedBuildError`."""
        leaf = leaf_hash(record.value)
        reading = self.reader.read(record)
        if record.topic == Topic.REQUESTS and reading.problem != FOREIGN_TENANT:
            self._remember(record, reading.body)
        if reading.problem or reading.body is None:
            self._stub(record, leaf, reading)
        else:
            self._row(record, leaf, reading.body)

    def take_command(self, record: LogRecord, judgement: Judgement) -> None:
        """Takes a record of the control log with the verdict that the fold came to."""
        leaf = leaf_hash(record.value)
        reading = self.reader.read(record)
        command = reading.body
        if not isinstance(command, ControlCommand):
            self._stub(record, leaf, reading)
            return
        signed = self._inner(command.signed)
        if not isinstance(signed, SignedCommand):
            self._stub(record, leaf, Reading(None, UNDECODABLE))
            return
        body = self._inner(signed.body)
        known = body if isinstance(body, CommandBody) else None
        if self.reader.is_foreign(tenant_of(known)):
            self._stub(record, leaf, Reading(None, FOREIGN_TENANT))
            return
        # current state goes first: a command's own row says that its effect is stored
        state = registry_row(record, known) if judgement.accepted and known else None
        size = len(record.value or b"")
        if state is not None:
            self.add(state, size)
        row = command_row(
            record,
            leaf,
            command,
            signed,
            known,
            verdict=judgement,
        )
        self.add(row, size)

    def stub(self, record: LogRecord, problem: str) -> Row:
        """Returns the stub of a record, counted and reported as a dead letter."""
        self._report(record, Reading(None, problem))
        return stub_row(record, leaf_hash(record.value), problem)

    def _row(self, record: LogRecord, leaf: bytes, body: AnyRecord) -> None:
        row: Row | None = None
        match body:
            case Decision():
                self._decision(record, leaf, body)
            case (
                AgentRequest()
                | ToolOutcome()
                | Chunk()
                | Enforcement()
                | Deliveries()
                | EpochStart()
                | Redeem()
            ):
                row = door_row(record, leaf, body)
            case Signal():
                row = signal_row(record, leaf, body)
            case DeadLetter():
                row = dead_letter_row(record, leaf, body)
            case Checkpoint():
                row = self.thinner.offer(record, leaf, body)
            case _:  # `RecordReader` lets no other type pass
                self._stub(record, leaf, Reading(None, UNDECODABLE))
        if row is not None:
            self.add(row, len(record.value or b""))

    def _decision(self, record: LogRecord, leaf: bytes, decision: Decision) -> None:
        reading = self.reader.core(decision)
        core = reading.body
        if not isinstance(core, DecisionCore):
            self._stub(record, leaf, reading)
        elif self.reader.is_foreign(core.tenant):
            self._stub(record, leaf, Reading(None, FOREIGN_TENANT))
        else:
            self.queue.add(record, leaf, decision, core)

    def _remember(self, record: LogRecord, body: AnyRecord | None) -> None:
        if expects_decision(body):
            self.window.keep(record, body if isinstance(body, AgentRequest) else None)

    def _stub(self, record: LogRecord, leaf: bytes, reading: Reading) -> None:
        self._report(record, reading)
        keep = reading.problem != FOREIGN_TENANT
        row = stub_row(record, leaf, reading.problem, keep_payload=keep)
        self.add(row, len(record.value or b"") if keep else 0)

    def _report(self, record: LogRecord, reading: Reading) -> None:
        self.counts.problem(reading.problem)
        # another tenant's content goes nowhere, and a dead letter is not answered by another
        if reading.problem != FOREIGN_TENANT and record.topic != Topic.DEAD_LETTERS:
            self.letters.note(record, error=reading.problem, fingerprint=reading.fingerprint)

    def _inner(self, frame: bytes) -> AnyRecord | None:
        try:
            return self.codec.decode(frame)
        except UndecodableError:
            return None
