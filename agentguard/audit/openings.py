# SPDX-License-Identifier: Apache-2.0
"""Checks the sections of sealed records against their commitments, chunked ones included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from agentguard.audit.findings import Report
from agentguard.bounds import OPEN_CHUNK_SETS_PER_AGENT_MAX, REQUEST_BYTES_MAX
from agentguard.contracts.hashing import SECTION_LABEL
from agentguard.contracts.records import (
    AgentRequest,
    Chunk,
    DecisionCore,
    DoorRecord,
    Section,
    ToolOutcome,
)
from agentguard.contracts.topics import Topic

_AGENTS_MAX = 8  # with open sets at one time: 64 MB at most


@dataclass(slots=True)
class _OpenSet:
    """Bytes of a body as they came, whole chunks in order."""

    body: bytearray = field(default_factory=bytearray)
    next_index: int = 0
    is_broken: bool = False


class SectionCheck:
    """Commitments of one partition. Encrypted sections are counted, not opened."""

    def __init__(self, report: Report, partition: int) -> None:
        self._report = report
        self._partition = partition
        self._sets: dict[tuple[str, str], dict[bytes, _OpenSet]] = {}

    def apply_request(self, record: DoorRecord, offset: int) -> None:
        """Checks every section of a door record; keeps chunks for the record that names them."""
        match record:
            case Chunk():
                self._keep(record)
            case AgentRequest():
                for section in record.sections:
                    body = self._body(section, (record.tenant, record.agent_id))
                    self._check(section, body, Topic.REQUESTS, offset)
            case ToolOutcome():
                body = self._body(record.section, (record.tenant, record.agent_id))
                self._check(record.section, body, Topic.REQUESTS, offset)
            case _:
                pass

    def apply_core(self, core: DecisionCore, offset: int) -> None:
        """Checks the sections of a decision."""
        for section in sections_of(core):
            self._check(section, section.body, Topic.DECISIONS, offset)

    def _keep(self, chunk: Chunk) -> None:
        agent = (chunk.tenant, chunk.agent_id)
        sets = self._sets.setdefault(agent, {})
        found = sets.setdefault(chunk.id, _OpenSet())
        if len(sets) > OPEN_CHUNK_SETS_PER_AGENT_MAX:
            del sets[next(iter(sets))]  # the oldest, as the fold does
        if len(self._sets) > _AGENTS_MAX:
            del self._sets[next(iter(self._sets))]
        if chunk.index != found.next_index:
            found.is_broken = True
        elif len(found.body) + len(chunk.body) <= REQUEST_BYTES_MAX:
            found.body += chunk.body
            found.next_index += 1

    def _body(self, section: Section, agent: tuple[str, str]) -> bytes | None:
        if section.chunks is None:
            return section.body
        found = self._sets.get(agent, {}).pop(section.chunks.id, None)
        if found is None or found.is_broken or found.next_index != section.chunks.count:
            return None
        return bytes(found.body) if len(found.body) == section.chunks.size else None

    def _check(self, section: Section, body: bytes | None, topic: str, offset: int) -> None:
        if section.key_id is not None or section.salt is None:
            self._report.counts["sections_encrypted"] += 1
        elif body is None:
            self._report.counts["sections_without_chunks"] += 1
        elif sha256(SECTION_LABEL + section.salt + body).digest() == section.commitment:
            self._report.counts["sections"] += 1
        else:
            self._report.tampered(
                "SECTION_COMMITMENT",
                f"section `{section.name.value}` differs from its commitment",
                topic=topic,
                partition=self._partition,
                offset=offset,
            )


def sections_of(core: DecisionCore) -> Iterator[Section]:
    """Yields the sections inside a decision."""
    if core.evidence is not None:
        yield core.evidence
    if core.transform is not None:
        yield core.transform.patch
