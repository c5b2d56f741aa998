# SPDX-License-Identifier: Apache-2.0
"""Store: turns a record into the row of its table. Pure: same record, same place, same row.

Content is not copied: a text column is an ALIAS that cuts it out of `payload` by the position
found here, so that what analysts read are the sealed bytes themselves.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

import msgspec

from agentguard.contracts.codes import reason_text
from agentguard.contracts.commands import CommandBody, SignedCommand
from agentguard.contracts.hashing import command_digest
from agentguard.contracts.ports import LogRecord
from agentguard.contracts.records import (
    AgentRequest,
    Checkpoint,
    Chunk,
    ControlCommand,
    DeadLetter,
    Decision,
    DecisionCore,
    Deliveries,
    DoorRecord,
    Enforcement,
    EpochStart,
    Redeem,
    Section,
    SectionName,
    Signal,
    ToolOutcome,
)
from agentguard.contracts.sections import find_section
from agentguard.contracts.topics import Topic
from agentguard.store.ports import Cells, Judgement
from agentguard.store.shapes import (
    CHECKPOINTS,
    CHUNKS,
    COMMANDS,
    DEAD_LETTERS,
    DECISIONS,
    DELIVERIES,
    ENFORCEMENTS,
    EPOCHS,
    OUTCOMES,
    REDEMPTIONS,
    REQUESTS,
    SIGNALS,
    STUBS,
    Shape,
)

DAY_MS = 86_400_000
TIME_MS_MAX = 4_102_444_800_000  # 2100-01-01: DateTime64 and the partition key hold it
POSITION_MAX = 65_535  # `*_at` and `*_bytes` are UInt16; records of ours are at most 60,000 bytes
NO_ID = UUID(int=0)
NO_OFFSET = -1


class Row(NamedTuple):
    """One row. `day` is its partition in the table: an insert holds rows of one day only."""

    shape: Shape
    day: int
    cells: Cells


class Source(NamedTuple):
    """What a decision's row takes from the request that it decides."""

    event_time_ms: int
    tenant: str
    agent_id: str
    request_id: UUID
    tool: str
    session_id: str
    accepted_at_ms: int


def event_time_ms(own_ms: int, log_ms: int) -> int:
    """Returns the record's own time where it lies within a day of the log's, else the log's.

    A record can so neither hide in a far partition nor spread a batch over many of them.
    """
    log = storable_time_ms(log_ms)
    own = storable_time_ms(own_ms)
    return own if abs(own - log) <= DAY_MS else log


def storable_time_ms(time_ms: int) -> int:
    """Returns a time that a record names, cut to what the store's type holds."""
    return min(max(time_ms, 0), TIME_MS_MAX)


def stub_row(record: LogRecord, leaf: bytes, problem: str, *, keep_payload: bool = True) -> Row:
    """Returns the row of a record that cannot be shown: its place, its leaf and why."""
    time_ms = event_time_ms(record.timestamp_ms, record.timestamp_ms)
    payload = (record.value or b"") if keep_payload else b""
    cells = _place(record, leaf, problem=problem, payload=payload)
    return _row(STUBS[record.topic], time_ms, (*cells, time_ms))


def door_row(record: LogRecord, leaf: bytes, body: DoorRecord) -> Row:
    """Returns the row of a record that a door wrote to `ag.requests`."""
    match body:
        case AgentRequest():
            return _request_row(record, leaf, body)
        case ToolOutcome():
            return _outcome_row(record, leaf, body)
        case Enforcement():
            return _enforcement_row(record, leaf, body)
        case Deliveries():
            return _deliveries_row(record, leaf, body)
        case Redeem():
            own = (
                body.request_partition,
                body.request_offset,
                body.purpose,
                body.redeemer,
            )
            return _door_row(REDEMPTIONS, record, leaf, body, (body.tenant, body.agent_id, *own))
        case Chunk():
            own_chunk = (body.tenant, body.agent_id, body.id.hex(), body.index, body.count)
            return _door_row(CHUNKS, record, leaf, body, own_chunk)
        case EpochStart():
            own_epoch = (
                _or_none(body.previous_epoch),
                _or_none(body.previous_last_sequence),
            )
            return _door_row(EPOCHS, record, leaf, body, own_epoch)


def source_of(record: LogRecord, request: AgentRequest | None) -> Source:
    """Returns what a decision's row takes from the record that it decides; None: unreadable."""
    if request is None:
        time_ms = event_time_ms(record.timestamp_ms, record.timestamp_ms)
        return Source(time_ms, "", "", NO_ID, "", "", time_ms)
    time_ms = event_time_ms(request.accepted_at_ms, record.timestamp_ms)
    return Source(
        time_ms,
        request.tenant,
        request.agent_id,
        UUID(bytes=request.request_id),
        request.tool,
        request.session_id,
        request.accepted_at_ms,
    )


def decision_row(
    record: LogRecord,
    leaf: bytes,
    decision: Decision,
    core: DecisionCore,
    *,
    source: Source | None,
    problem: str = "",
) -> Row:
    """Returns the row of a decision. `source` is given exactly where the decision counts.

    One that does not count keeps the names it claims, under its own place in the log.
    """
    counts = source is not None
    src = source or Source(
        event_time_ms(record.timestamp_ms, record.timestamp_ms),
        core.tenant,
        core.agent_id,
        NO_ID if core.request_id is None else UUID(bytes=core.request_id),
        "",
        "",
        core.observations.decided_at_ms,
    )
    seen, versions, grant = core.observations, core.versions, core.grant
    view, measured = seen.classification, decision.measured
    decided = seen.decided_at_ms
    cells: Cells = (
        *_place(record, leaf, problem=problem, payload=record.value or b""),
        src.event_time_ms, src.tenant, src.agent_id, Topic.REQUESTS, core.request_partition,
        core.request_offset, counts, src.request_id, src.tool, src.session_id, core.mode,
        core.verdict, core.codes[0] if core.codes else "", core.codes,
        _reason(core.reason.template, core.reason.arguments), core.remedy or "",
        core.rules, core.scopes, [o.type for o in core.obligations], view.risk, view.intent,
        view.recommended, view.confidence_ppm, view.reasons, view.model, view.source,
        seen.failure, {f.name: f.value for f in core.facts}, [c.counter for c in core.charges],
        [c.amount for c in core.charges], core.transform is not None,
        grant.secret_hash.hex() if grant else "", grant.authorization_details if grant else "",
        storable_time_ms(grant.expires_at_ms) if grant else 0,
        core.approval.group if core.approval else "", _or_none(core.retry_of),
        storable_time_ms(decided), storable_time_ms(decided - src.accepted_at_ms),
        {s.stage: s.us for s in measured.stages}, measured.cache, measured.lane,
        measured.worker, versions.decisions_offset, versions.signal_offset,
        versions.control_offset, versions.release, versions.bundle_digest.hex(),
        versions.tool_pin.hex(), versions.engines, versions.schemas, versions.semantics,
        *_position(record.value, core.evidence),
    )  # fmt: skip
    return _row(DECISIONS, src.event_time_ms, cells)


def signal_row(record: LogRecord, leaf: bytes, signal: Signal) -> Row:
    """Returns the row of a signal."""
    time_ms = event_time_ms(signal.issued_at_ms, record.timestamp_ms)
    own: Cells = (
        time_ms,
        signal.tenant,
        signal.agent_id,
        signal.session_id or "",
        signal.mode,
        signal.kind,
        signal.level,
        signal.reason,
        signal.evidence_refs,
    )
    return _row(SIGNALS, time_ms, (*_place(record, leaf), *own))


def command_row(
    record: LogRecord,
    leaf: bytes,
    command: ControlCommand,
    signed: SignedCommand,
    body: CommandBody | None,
    *,
    verdict: Judgement,
) -> Row:
    """Returns the row of a control command with the fold's verdict. `body` None: unreadable."""
    time_ms = event_time_ms(record.timestamp_ms, record.timestamp_ms)
    own: Cells = (
        time_ms,
        tenant_of(body),
        command.mode,
        signed.type,
        verdict.accepted,
        verdict.code,
        signed.scope,
        signed.scope_version,
        signed.audience,
        signed.fold_min,
        storable_time_ms(signed.not_before_ms),
        storable_time_ms(signed.not_after_ms),
        [s.key_id for s in command.signatures],
        command_digest(command.signed).hex(),
        body_json(body),
    )
    return _row(COMMANDS, time_ms, (*_place(record, leaf), *own))


def dead_letter_row(record: LogRecord, leaf: bytes, letter: DeadLetter) -> Row:
    """Returns the row of a dead letter."""
    time_ms = event_time_ms(letter.noted_at_ms, record.timestamp_ms)
    own: Cells = (
        time_ms,
        letter.mode,
        letter.source_topic,
        letter.source_partition,
        letter.source_offset,
        letter.stage,
        letter.error,
        letter.fingerprint.hex(),
    )
    return _row(DEAD_LETTERS, time_ms, (*_place(record, leaf), *own))


def checkpoint_row(record: LogRecord, leaf: bytes, checkpoint: Checkpoint) -> Row:
    """Returns the row of a signed tree head."""
    time_ms = event_time_ms(checkpoint.sealed_at_ms, record.timestamp_ms)
    own: Cells = (
        time_ms,
        checkpoint.mode,
        checkpoint.origin,
        checkpoint.topic,
        checkpoint.partition,
        checkpoint.generation,
        checkpoint.size,
        checkpoint.root,
        checkpoint.note,
        checkpoint.next_offset,
    )
    return _row(CHECKPOINTS, time_ms, (*_place(record, leaf), *own))


@lru_cache(maxsize=1_024)
def _reason(template: str, arguments: tuple[str, ...]) -> str:
    """Returns the text of a reason without its quotes. Few differ; each costs 10 µs to flatten."""
    return reason_text(template, arguments, {})


def tenant_of(body: CommandBody | None) -> str:
    """Returns the tenant that a command names; empty where it names none."""
    return getattr(body, "tenant", "")


def body_json(body: CommandBody | None) -> str:
    """Returns a command's body as JSON for reading, bytes in hexadecimal; None is empty."""
    if body is None:
        return ""
    plain = msgspec.to_builtins(body, builtin_types=(bytes,))
    return json.dumps(plain, default=_hex, ensure_ascii=False, separators=(",", ":"))


def _hex(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError("only bytes are not JSON here")


def _request_row(record: LogRecord, leaf: bytes, request: AgentRequest) -> Row:
    time_ms = event_time_ms(request.accepted_at_ms, record.timestamp_ms)
    cells: Cells = (
        *_place(record, leaf), time_ms, request.tenant, request.agent_id,
        UUID(bytes=request.request_id), request.tool, request.session_id, request.environment,
        request.dry_run, storable_time_ms(request.deadline_ms), request.task_voucher,
        request.on_behalf_of or "", request.approval_id or "",
        [r.id.hex() for r in request.outcome_refs], request.traceparent or "",
        request.decisions_floor,
        *_position(record.value, find_section(request.sections, SectionName.TASK)),
        *_position(record.value, find_section(request.sections, SectionName.PARAMETERS)),
        *_door(request),
    )  # fmt: skip
    return _row(REQUESTS, time_ms, cells)


def _outcome_row(record: LogRecord, leaf: bytes, outcome: ToolOutcome) -> Row:
    chunks = outcome.section.chunks
    own: Cells = (
        outcome.tenant,
        outcome.agent_id,
        outcome.outcome_id.hex(),
        outcome.tool,
        outcome.session_id,
        outcome.status,
        outcome.registry_label,
        outcome.voucher,
        _or_none(outcome.request_offset),
        chunks.size if chunks else len(outcome.section.body),
        *_position(record.value, outcome.section),
    )
    return _door_row(OUTCOMES, record, leaf, outcome, own, own_ms=outcome.reported_at_ms)


def _enforcement_row(record: LogRecord, leaf: bytes, report: Enforcement) -> Row:
    own: Cells = (
        report.tenant,
        report.agent_id,
        report.code,
        report.reason,
        report.count,
        report.window_ms,
        NO_ID if report.request_id is None else UUID(bytes=report.request_id),
        _or_none(report.request_offset),
        report.sequences or (),
    )
    return _door_row(ENFORCEMENTS, record, leaf, report, own, own_ms=report.reported_at_ms)


def _deliveries_row(record: LogRecord, leaf: bytes, batch: Deliveries) -> Row:
    own: Cells = (
        batch.tenant,
        [i.request_offset for i in batch.items],
        [i.decision_offset for i in batch.items],
        [i.action for i in batch.items],
    )
    return _door_row(DELIVERIES, record, leaf, batch, own)


def _door_row(
    shape: Shape,
    record: LogRecord,
    leaf: bytes,
    body: DoorRecord,
    own: Cells,
    *,
    own_ms: int | None = None,
) -> Row:
    log_ms = record.timestamp_ms
    time_ms = event_time_ms(log_ms if own_ms is None else own_ms, log_ms)
    return _row(shape, time_ms, (*_place(record, leaf), time_ms, *own, *_door(body)))


def _row(shape: Shape, time_ms: int, cells: Cells) -> Row:
    return Row(shape, time_ms // DAY_MS, cells)


def _place(
    record: LogRecord, leaf: bytes, *, problem: str = "", payload: bytes | None = None
) -> Cells:
    body = (record.value or b"") if payload is None else payload
    log_ms = storable_time_ms(record.timestamp_ms)
    return (record.topic, record.partition, record.offset, leaf, body, log_ms, problem)


def _door(body: DoorRecord) -> Cells:
    return (body.mode, body.producer, body.epoch, body.sequence, body.control_offset)


def _or_none(offset: int | None) -> int:
    return NO_OFFSET if offset is None else offset


def _position(value: bytes | None, section: Section | None) -> Sequence[int]:
    """Returns where a readable section's bytes lie inside the record, and how many they are.

    Avro writes them verbatim, so the first place where these bytes occur reads the same. Nothing
    (0, 0) where the section is absent, encrypted or in chunks.
    """
    if not value or section is None or section.key_id is not None or section.chunks is not None:
        return (0, 0)
    at = value.find(section.body)
    if at < 0 or at > POSITION_MAX or len(section.body) > POSITION_MAX:
        return (0, 0)
    return (at, len(section.body))
