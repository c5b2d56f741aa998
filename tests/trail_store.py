# SPDX-License-Identifier: Apache-2.0
"""A founded platform's log in memory, and a sink on it, for tests of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.memory_log import MemoryLog
from agentguard.adapters.mldsa_signer import MlDsaVerifier
from agentguard.contracts import commands as c
from agentguard.contracts import records as r
from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.hashing import leaf_hash
from agentguard.contracts.ports import AnyRecord, LogRecord, TopicPartition
from agentguard.contracts.topics import Topic
from agentguard.control.envelope import make_command
from agentguard.control.fold import ControlFold
from agentguard.local.founding import found
from agentguard.store.ports import RowStore
from agentguard.store.sink import Sink, SinkPorts
from tests.samples_audit import core, decision, request, section

PARTITIONS = 2
TENANT = "acme"
NOW_MS = 1_790_000_000_000
TOPICS = {
    Topic.REQUESTS: PARTITIONS,
    Topic.DECISIONS: PARTITIONS,
    Topic.SIGNALS: PARTITIONS,
    Topic.CONTROL: 1,
    Topic.CHECKPOINTS: 1,
    Topic.DEAD_LETTERS: 1,
}


class StillClock:
    """A clock that moves only when it is told to."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.now = now_ms

    def now_ms(self) -> int:
        return self.now

    def monotonic_ms(self) -> float:
        return float(self.now)


class CountingEntropy:
    """Bytes that differ at every call and are the same in every run."""

    def __init__(self) -> None:
        self.count = 0

    def token(self, size: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(size, "big")


class Letters:
    """A box that keeps what is put into it."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, int, str, bytes]] = []

    def note(self, record: LogRecord, *, error: str, fingerprint: bytes) -> None:
        self.notes.append((record.topic, record.offset, error, fingerprint))


class Trail:
    """A platform that was founded in `folder`, with verbs that append records."""

    def __init__(self, folder: Path, codec: AvroCodec) -> None:
        self.codec = codec
        self.clock = StillClock()
        self.entropy = CountingEntropy()
        self.log = MemoryLog(TOPICS, clock=self.clock, entropy=self.entropy)
        self.founding = found(folder, entropy=self.entropy, clock=self.clock)
        self.cluster = self.founding.cluster
        self.letters = Letters()
        self._writer = self.log.writer("test")
        self._sequence = 0
        self.append(Topic.CONTROL, self.founding.genesis_value)

    def append(self, topic: str, value: AnyRecord | bytes | None, partition: int = 0) -> int:
        frame = value if value is None or isinstance(value, bytes) else self.codec.encode(value)
        offset = self.log.bounds(TopicPartition(topic, partition))[1]
        self._writer.append(topic, frame, key=None, partition=partition)
        return offset

    def command(self, body: c.CommandBody, *, signers: int = 2, scope_version: int = 0) -> int:
        value = make_command(
            body,
            codec=self.codec,
            cluster=self.cluster,
            signers=self.founding.founders[:signers],
            nonce=self.entropy.token(16),
            scope_version=scope_version,
        )
        return self.append(Topic.CONTROL, value)

    def request(self, partition: int = 0, **changes: Any) -> int:
        self._sequence += 1
        made = replace(
            request(self._sequence), cluster=self.cluster, accepted_at_ms=self.clock.now, **changes
        )
        return self.append(Topic.REQUESTS, made, partition)

    def decide(
        self,
        offset: int,
        partition: int = 0,
        *,
        measured: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> int:
        """Appends the decision of the request at an offset; `changes` are the core's."""
        value = self.value(Topic.REQUESTS, partition, offset)
        try:
            of = self.codec.decode(value or b"")
        except UndecodableError:
            of = None
        of = of if isinstance(of, r.AgentRequest) else None
        made = replace(
            core(of, offset=offset, leaf=leaf_hash(value), partition=partition),
            cluster=self.cluster,
            retry_of=None,
            **changes,
        )
        whole = replace(decision(self.codec.encode(made)), cluster=self.cluster)
        if measured:
            whole = replace(whole, measured=replace(whole.measured, **measured))
        return self.append(Topic.DECISIONS, whole, partition)

    def value(self, topic: str, partition: int, offset: int) -> bytes | None:
        reader = self.log.reader({TopicPartition(topic, partition): offset})
        return reader.read(timeout_ms=0, records_max=1)[0].value

    def sink(self, store: RowStore, *, tenant: str = TENANT) -> Sink:
        ports = SinkPorts(
            log=self.log,
            index=self.log,
            store=store,
            codec=self.codec,
            clock=self.clock,
            control=ControlFold(self.codec, MlDsaVerifier(), self.founding.genesis_digest),
            letters=self.letters,
        )
        return Sink(ports, cluster=self.cluster, tenant=tenant, wait=lambda _ms: None)

    def store_all(self, store: RowStore, *, tenant: str = TENANT) -> Sink:
        """Runs a sink from start to clean stop over everything that lies on the log."""
        sink = self.sink(store, tenant=tenant)
        sink.start()
        while sink.step(timeout_ms=0):
            pass
        sink.stop()
        return sink


def door(**fields: Any) -> dict[str, Any]:
    """Returns the fields that every door record begins with."""
    common = {
        "mode": r.Mode.LIVE,
        "producer": "gateway-0",
        "epoch": 1,
        "sequence": 1,
        "control_offset": 0,
    }
    return {**common, **fields}


def outcome(cluster: str, **changes: Any) -> r.ToolOutcome:
    made = r.ToolOutcome(
        **door(cluster=cluster),
        tenant=TENANT,
        agent_id="agent-1",
        outcome_id=b"o" * 16,
        tool="mail.read",
        session_id="s-1",
        status=r.OutcomeStatus.OK,
        registry_label=r.Trust.UNTRUSTED,
        voucher=r.Voucher.SDK,
        section=section(r.SectionName.OUTPUT, b"hello, pay 5 to bob"),
        reported_at_ms=NOW_MS,
    )
    return replace(made, **changes)


def enforcement(cluster: str, **changes: Any) -> r.Enforcement:
    made = r.Enforcement(
        **door(cluster=cluster),
        tenant=TENANT,
        agent_id="agent-1",
        code=r.EnforcementCode.DENIED_AT_GATEWAY,
        reason="shed",
        sequences=(),
        count=1,
        window_ms=0,
        reported_at_ms=NOW_MS,
    )
    return replace(made, **changes)


def deliveries(cluster: str, items: Sequence[tuple[int, int, r.Verdict]]) -> r.Deliveries:
    return r.Deliveries(
        **door(cluster=cluster),
        tenant=TENANT,
        items=tuple(
            r.Delivery(request_offset=n, decision_offset=k, action=action) for n, k, action in items
        ),
    )


def register_agent(**changes: Any) -> c.RegisterAgent:
    made = c.RegisterAgent(
        tenant=TENANT,
        agent_id="agent-1",
        status=c.Registration.PENDING,
        owner="ops",
        version="1",
        roles=("mail",),
        capabilities=("send",),
        risk_profile="normal",
        attestation=c.Attestation.NONE,
        credential_id="abcdefgh",
        credential_hash=b"h" * 32,
        expires_at_ms=0,
    )
    return replace(made, **changes)


def checkpoint(cluster: str, size: int, sealed_at_ms: int) -> r.Checkpoint:
    return r.Checkpoint(
        cluster=cluster,
        mode=r.Mode.LIVE,
        origin="example/ag.requests/0",
        topic=Topic.REQUESTS,
        partition=0,
        generation=0,
        size=size,
        root=size.to_bytes(32, "big"),
        note="note",
        frontier=(),
        next_offset=size,
        sealed_at_ms=sealed_at_ms,
    )
