# SPDX-License-Identifier: Apache-2.0
"""Finds a request and its effective decision on the log and proves both under signed heads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agentguard.audit.merkle import inclusion_proof
from agentguard.audit.note import NoteKey
from agentguard.audit.origins import Origin, parse_origin
from agentguard.audit.proof import RecordProof
from agentguard.audit.seal import open_checkpoint
from agentguard.contracts.counting import decision_counts
from agentguard.contracts.errors import LogError, UndecodableError, VerificationError
from agentguard.contracts.hashing import leaf_hash
from agentguard.contracts.ports import AnyRecord, LogRecord, TopicPartition
from agentguard.contracts.records import AgentRequest, Checkpoint, Decision, DecisionCore
from agentguard.contracts.topics import Topic
from agentguard.pipeline.exporting import AuditPorts, Founding, read_founding
from agentguard.pipeline.ranges import read_range

_CHECKPOINTS = TopicPartition(Topic.CHECKPOINTS, 0)
_CONTROL = TopicPartition(Topic.CONTROL, 0)
_TAIL_RECORDS = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A record on the log."""

    at: TopicPartition
    offset: int
    value: bytes


class Prover:
    """Reads the log as an auditor. Linear in the partitions that it must search."""

    def __init__(self, ports: AuditPorts) -> None:
        self._ports = ports
        self._founding = read_founding(ports)

    @property
    def founding(self) -> Founding:
        """What the log's first control command says."""
        return self._founding

    def find(self, request_id: bytes) -> tuple[Found, Found]:
        """Returns a request and its effective decision. Raises `LogError` where one is missing."""
        request, record = self._request(request_id)
        return request, self._decision(request, record)

    def prove(self, found: Sequence[Found]) -> tuple[RecordProof, ...]:
        """Returns a proof of each record, and of the first control record.

        Raises `VerificationError` (UNSEALED_TAIL) while one is under no checkpoint.
        """
        genesis = next(self._range(_CONTROL, 0, 1))
        first = Found(at=_CONTROL, offset=0, value=genesis.value or b"")
        wanted = {f.at: f.offset for f in (*found, first)}
        heads = self._heads(wanted)
        return tuple(self._prove(f, heads[f.at]) for f in (*found, first))

    # finding

    def _request(self, request_id: bytes) -> tuple[Found, AgentRequest]:
        for partition in range(self._ports.index.partitions(Topic.REQUESTS)):
            at = TopicPartition(Topic.REQUESTS, partition)
            for record in self._with(at, request_id):
                decoded = self._decode(record.value)
                if isinstance(decoded, AgentRequest) and decoded.request_id == request_id:
                    return Found(at=at, offset=record.offset, value=record.value or b""), decoded
        raise LogError("no request with this id is on the log", next_step="check the request id")

    def _decision(self, request: Found, record: AgentRequest) -> Found:
        at = TopicPartition(Topic.DECISIONS, request.at.partition)
        for candidate in self._with(at, leaf_hash(request.value)):
            decision = self._decode(candidate.value)
            core = self._decode(decision.core) if isinstance(decision, Decision) else None
            if not isinstance(decision, Decision) or not isinstance(core, DecisionCore):
                continue
            counts = decision_counts(
                cluster=self._founding.cluster,
                partition=at.partition,
                decision=decision,
                core=core,
                request_value=request.value,
                request=record,
                readable=True,
            )
            is_named = core.request_offset == request.offset
            if counts and is_named and candidate.offset >= record.decisions_floor:
                return Found(at=at, offset=candidate.offset, value=candidate.value or b"")
        raise LogError("the request has no decision yet", next_step="ask again in a second")

    def _with(self, at: TopicPartition, needle: bytes) -> Iterator[LogRecord]:
        """Yields the records that hold these bytes: only they are worth decoding."""
        first, end = self._ports.index.bounds(at)
        return (r for r in self._range(at, first, end) if r.value is not None and needle in r.value)

    # proving

    def _prove(self, found: Found, head: Checkpoint) -> RecordProof:
        leaves = [leaf_hash(r.value) for r in self._range(found.at, 0, head.size)]
        return RecordProof(
            value=found.value,
            index=found.offset,
            path=tuple(inclusion_proof(leaves, found.offset, head.size)),
            note=head.note,
        )

    def _heads(self, wanted: dict[TopicPartition, int]) -> dict[TopicPartition, Checkpoint]:
        """Returns for each partition its newest checkpoint beyond the wanted offset."""
        index = self._ports.index
        domain, cluster = self._founding.genesis.audit_domain, self._founding.cluster
        names = {
            at: str(Origin(domain, cluster, at.topic, index.topic_id(at.topic), at.partition))
            for at in wanted
        }
        first, end = index.bounds(_CHECKPOINTS)
        low, window = end, _TAIL_RECORDS
        found: dict[TopicPartition, Checkpoint] = {}
        while low > first and len(found) < len(wanted):
            low = max(first, end - window)
            window *= 4
            for record in self._range(_CHECKPOINTS, low, end):
                checkpoint = self._decode(record.value)
                if isinstance(checkpoint, Checkpoint):
                    at = TopicPartition(checkpoint.topic, checkpoint.partition)
                    if at in wanted and self._covers(checkpoint, names[at], wanted[at]):
                        found[at] = checkpoint
        missing = [at for at in wanted if at not in found]
        if missing:
            raise VerificationError(
                f"`{missing[0].topic}/{missing[0].partition}` is not sealed that far yet",
                finding="UNSEALED_TAIL",
            )
        return found

    def _covers(self, checkpoint: Checkpoint, name: str, offset: int) -> bool:
        if checkpoint.size <= offset or not checkpoint.origin.startswith(name):
            return False
        key = NoteKey(name=checkpoint.origin, public_key=self._founding.sealing_key)
        try:
            origin = parse_origin(checkpoint.origin)
            open_checkpoint(checkpoint, origin, key, self._ports.verifier)
        except VerificationError:
            return False
        return str(origin._replace(generation=0)) == name

    def _decode(self, value: bytes | None) -> AnyRecord | None:
        try:
            return self._ports.codec.decode(value or b"")
        except UndecodableError:
            return None

    def _range(self, at: TopicPartition, start: int, end: int) -> Iterator[LogRecord]:
        return read_range(self._ports.log, at, start, end, clock=self._ports.clock)
