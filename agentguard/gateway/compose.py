# SPDX-License-Identifier: Apache-2.0
"""Makes the records of one call: earlier outputs first, then the request that refers to them.

All of them go to the agent's partition in one go, without a wait between, so that the log holds
them in this order. A body too big for its record goes before it in chunks.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from msgspec import UNSET

from agentguard.bounds import CHUNK_BYTES_MAX, RECORD_BYTES_MAX, SECTION_INLINE_BYTES_MAX
from agentguard.contracts.hashing import secret_hash, section_commitment
from agentguard.contracts.ports import Codec, Delivery, Entropy, OnDelivery
from agentguard.contracts.records import (
    AgentRequest,
    Chunk,
    ChunkSet,
    OutcomeRef,
    OutcomeStatus,
    Section,
    SectionName,
    ToolOutcome,
    Trust,
    Voucher,
)
from agentguard.contracts.sections import SALT_BYTES
from agentguard.contracts.strict_json import encode_canonical
from agentguard.control.fold import ControlFold
from agentguard.gateway.callers import Caller
from agentguard.gateway.door import Door
from agentguard.gateway.known import KnownOutcomes
from agentguard.gateway.shapes import Asked, AskedOutput, output_text
from agentguard.registry.tools import trust_of

ID_BYTES: Final = 16
SECRET_BYTES: Final = 32
# What a record holds beside its bodies: names of at most 800 bytes each, ids, numbers, references.
_RECORD_ROOM_BYTES: Final = 8_000
_VERSION_7: Final = 0x70
_VARIANT: Final = 0x80


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When a request was accepted and how long its caller waits; `floor` as in `AgentRequest`."""

    accepted_at_ms: int
    budget_ms: int
    floor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """What a repeat is recognised by, and what tells that it has another body."""

    idempotency: bytes
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A request that can be appended, and what its caller must know to use the answer."""

    request: AgentRequest
    value: bytes
    secret: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeFacts:
    """One output to be recorded, with the label that this door gives it."""

    outcome_id: bytes
    tool: str
    session_id: str
    status: OutcomeStatus
    label: Trust
    voucher: Voucher
    name: SectionName
    text: bytes
    reported_at_ms: int
    request_offset: int | None = None


def new_request_id(now_ms: int, random: bytes) -> bytes:
    """Returns 16 bytes in time order: RFC 9562, section 5.7 (UUID version 7); 10 random bytes."""
    tail = bytearray(random)
    tail[0] = (tail[0] & 0x0F) | _VERSION_7
    tail[2] = (tail[2] & 0x3F) | _VARIANT
    return now_ms.to_bytes(6, "big") + bytes(tail)


def id_text(request_id: bytes) -> str:
    """Returns a request id as UUID text."""
    h = request_id.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def keyed_id(cluster_key: bytes, label: bytes, *parts: bytes) -> bytes:
    """Returns HMAC-SHA-256 over length-prefixed parts: an id from content that nobody can test."""
    body = b"".join(len(p).to_bytes(4, "big") + p for p in (label, *parts))
    return hmac.digest(cluster_key, body, "sha256")


class Composer:
    """Makes records out of what callers send, and appends the outcomes among them."""

    def __init__(
        self,
        *,
        door: Door,
        codec: Codec,
        fold: ControlFold,
        entropy: Entropy,
        cluster_key: bytes,
        known: KnownOutcomes,
    ) -> None:
        self._door = door
        self._codec = codec
        self._fold = fold
        self._entropy = entropy
        self._cluster_key = cluster_key
        self._known = known

    def record_history(self, caller: Caller, asked: Asked, now_ms: int) -> tuple[OutcomeRef, ...]:
        """Appends the outputs that the log does not hold yet; returns references to all of them.

        Raises `APPEND_ERRORS`.
        """
        return tuple(
            OutcomeRef(
                id=self._record_output(caller, item, asked.context.session_id, now_ms),
                trust=Trust.UNTRUSTED if item.trust == "untrusted" else Trust.TRUSTED,
            )
            for item in asked.context.history
        )

    def record_outcome(
        self, caller: Caller, facts: OutcomeFacts, on_delivery: OnDelivery | None = None
    ) -> None:
        """Appends one outcome, its body in chunks before it where it is big. Raises `APPEND_ERRORS`."""
        salt = self._entropy.token(SALT_BYTES)
        section, parts = self._section(facts.name, facts.text, salt)
        self._append_chunks(caller, section, parts)
        record = ToolOutcome(
            **self._door.stamp(),
            tenant=caller.tenant,
            agent_id=caller.agent_id,
            outcome_id=facts.outcome_id,
            tool=facts.tool,
            session_id=facts.session_id,
            status=facts.status,
            registry_label=facts.label,
            voucher=facts.voucher,
            section=section,
            reported_at_ms=facts.reported_at_ms,
            request_offset=facts.request_offset,
        )

        def report(delivery: Delivery) -> None:
            if delivery.error:
                self._known.drop(caller.key, facts.outcome_id)
            if on_delivery is not None:
                on_delivery(delivery)

        self._door.append(record, key=caller.key, partition=caller.partition, on_delivery=report)
        self._known.add(caller.key, facts.outcome_id)

    def label(self, caller: Caller, tool: str, trust: str | None) -> Trust:
        """Returns how far an output is believed: as the registry says, or less as its caller says.

        Whether it counts is the fold's to say: the output must answer an effective allow of that
        tool, or come with a voucher that policy accepts.
        """
        if trust == "untrusted":
            return Trust.UNTRUSTED
        return trust_of(self._fold.tool(caller.tenant, tool))

    def compose(
        self,
        caller: Caller,
        asked: Asked,
        refs: tuple[OutcomeRef, ...],
        timing: Timing,
        *,
        tags: Tags | None,
    ) -> Composed:
        """Returns the request, ready to append; its big bodies are appended as chunks by now.

        Only the secret's hash is in the record. Nobody has verified whom the caller says it acts
        for, so the record names nobody. Raises `APPEND_ERRORS`.
        """
        random = self._entropy.token(10 + SECRET_BYTES + 2 * SALT_BYTES)
        request_id = new_request_id(timing.accepted_at_ms, random[:10])
        secret = b"" if asked.dry_run else random[10 : 10 + SECRET_BYTES]
        salts = random[10 + SECRET_BYTES :]
        sections = self._request_sections(caller, asked, salts)
        request = AgentRequest(
            **self._door.stamp(),
            tenant=caller.tenant,
            agent_id=caller.agent_id,
            request_id=request_id,
            accepted_at_ms=timing.accepted_at_ms,
            deadline_ms=timing.accepted_at_ms + timing.budget_ms,
            budget_ms=timing.budget_ms,
            decisions_floor=timing.floor,
            tool=asked.tool_name,
            session_id=asked.context.session_id,
            sections=sections,
            outcome_refs=refs,
            task_voucher=caller.voucher,
            environment=asked.context.environment,
            dry_run=asked.dry_run,
            idempotency_tag=None if tags is None else tags.idempotency,
            body_tag=None if tags is None else tags.body,
            approval_id=asked.approval_id,
            secret_hash=secret_hash(request_id, secret) if secret else None,
            traceparent=asked.trace,
        )
        return Composed(request=request, value=self._codec.encode(request), secret=secret)

    def tags(self, caller: Caller, asked: Asked) -> Tags | None:
        """Returns the tags of a call, None without an idempotency key.

        The body is what is decided on: not the key itself, the caller's patience or its trace.
        """
        if asked.idempotency_key is None:
            return None
        context = asked.context
        body = encode_canonical(
            {
                "tool": asked.tool_name,
                "parameters": asked.parameters,
                "task": context.user_task,
                "session": context.session_id,
                "subject": context.on_behalf_of,
                "environment": context.environment,
                "approval": asked.approval_id,
                "dryRun": asked.dry_run,
                "history": [
                    {
                        "tool": item.tool,
                        "arguments": item.arguments,
                        "output": None if item.output is UNSET else item.output,
                        "trust": item.trust,
                        "outcomeId": item.outcome_id,
                    }
                    for item in context.history
                ],
            }
        )
        key = self._cluster_key
        return Tags(
            idempotency=keyed_id(key, b"idempotency", caller.key, asked.idempotency_key.encode()),
            body=keyed_id(key, b"body", caller.key, body),
        )

    def _record_output(
        self, caller: Caller, item: AskedOutput, session_id: str, now_ms: int
    ) -> bytes:
        """Returns the id of an output in a request's history, recorded if it was not yet."""
        if item.outcome_id is not None:
            given = bytes.fromhex(item.outcome_id)
            if item.output is UNSET or self._known.has(caller.key, given):
                return given
        text = output_text(item.output)
        outcome_id = keyed_id(
            self._cluster_key,
            b"outcome",
            caller.key,
            item.tool.encode(),
            encode_canonical(item.arguments),
            text,
        )[:ID_BYTES]
        if not self._known.has(caller.key, outcome_id):
            facts = OutcomeFacts(
                outcome_id=outcome_id,
                tool=item.tool,
                session_id=session_id,
                status=OutcomeStatus.OK,
                label=self.label(caller, item.tool, item.trust),
                voucher=caller.voucher,
                name=SectionName.OUTPUT,
                text=text,
                reported_at_ms=now_ms,
            )
            self.record_outcome(caller, facts)
        return outcome_id

    def _request_sections(self, caller: Caller, asked: Asked, salts: bytes) -> tuple[Section, ...]:
        """Returns task and parameters; what does not fit the record is appended in chunks."""
        bodies = (
            (SectionName.TASK, asked.context.user_task.encode()),
            (SectionName.PARAMETERS, encode_canonical(asked.parameters)),
        )
        total = sum(len(body) for _, body in bodies)
        room = RECORD_BYTES_MAX - _RECORD_ROOM_BYTES
        longest = max(len(body) for _, body in bodies)
        sections = []
        for i, (name, body) in enumerate(bodies):
            salt = salts[i * SALT_BYTES : (i + 1) * SALT_BYTES]
            is_apart = total > room and len(body) == longest
            section, parts = self._section(name, body, salt, is_apart=is_apart)
            self._append_chunks(caller, section, parts)
            sections.append(section)
        return tuple(sections)

    def _section(
        self, name: SectionName, text: bytes, salt: bytes, *, is_apart: bool = False
    ) -> tuple[Section, tuple[bytes, ...]]:
        """Returns a section and the chunks that carry its body, none where it lies inside."""
        commitment = section_commitment(salt, text)
        if len(text) <= SECTION_INLINE_BYTES_MAX and not is_apart:
            return Section(name=name, commitment=commitment, salt=salt, body=text), ()
        parts = tuple(text[i : i + CHUNK_BYTES_MAX] for i in range(0, len(text), CHUNK_BYTES_MAX))
        chunks = ChunkSet(id=self._entropy.token(ID_BYTES), count=len(parts), size=len(text))
        section = Section(name=name, commitment=commitment, salt=salt, body=b"", chunks=chunks)
        return section, parts

    def _append_chunks(self, caller: Caller, section: Section, parts: Iterable[bytes]) -> None:
        if section.chunks is None:
            return
        for index, part in enumerate(parts):
            record = Chunk(
                **self._door.stamp(),
                tenant=caller.tenant,
                agent_id=caller.agent_id,
                id=section.chunks.id,
                index=index,
                count=section.chunks.count,
                body=part,
            )
            self._door.append(record, key=caller.key, partition=caller.partition)
