# SPDX-License-Identifier: Apache-2.0
"""A small sealed platform on the in-memory log, and its export: built once, then attacked."""

from __future__ import annotations

from functools import cache

from agentguard.adapters.avro_codec import AvroCodec, schemas
from agentguard.adapters.memory_log import MemoryLog
from agentguard.adapters.mldsa_signer import MlDsaSigner, MlDsaVerifier
from agentguard.adapters.trails import MemoryTrail
from agentguard.contracts import commands as c
from agentguard.contracts import records as r
from agentguard.contracts.counting import chained_agent
from agentguard.contracts.hashing import chain_next, chain_start, leaf_hash
from agentguard.contracts.ports import AnyRecord, TopicPartition
from agentguard.contracts.topics import SEALED_TOPICS, Topic
from agentguard.control.envelope import make_command
from agentguard.pipeline.exporting import AuditPorts, Exporter
from agentguard.pipeline.sealing import Sealer, SealPlan, SealPorts
from agentguard.resources import resource
from tests import samples_audit as samples

DOMAIN = "audit.example"
FOUNDERS = [MlDsaSigner.from_seed(bytes([i]) * 32) for i in (1, 2)]
SEALING = MlDsaSigner.from_seed(b"s" * 32)
PARTITIONS = 2


class FakeClock:
    def __init__(self, ms: int) -> None:
        self.ms = ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic_ms(self) -> float:
        return float(self.ms)


class CountingEntropy:
    def __init__(self) -> None:
        self.count = 0

    def token(self, size: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(size, "big")


def _key(key_id: str, purpose: c.KeyPurpose, signer: MlDsaSigner) -> c.KeyEntry:
    return c.KeyEntry(
        key_id=key_id,
        person=key_id,
        purpose=purpose,
        algorithm="ML-DSA-44",
        public_key=signer.public_key,
    )


class SealedPlatform:
    """Writes records as gateways and lanes would, with right chains, and seals them."""

    def __init__(self) -> None:
        self.clock = FakeClock(1_790_000_000_000)
        self.entropy = CountingEntropy()
        topics = dict.fromkeys(SEALED_TOPICS[:3], PARTITIONS)
        topics |= {Topic.CONTROL: 1, Topic.CHECKPOINTS: 1, Topic.ANCHORS: 1}
        self.log = MemoryLog(topics, clock=self.clock, entropy=self.entropy)
        self.codec = AvroCodec()
        self.writer = self.log.writer("test")
        self.sequence = 0
        self.requests_chain: dict[tuple[str, str], bytes] = {}
        self.decisions_chain: dict[tuple[str, str], bytes] = {}
        self._found()

    def _found(self) -> None:
        persons = ("founder-1", "founder-2")
        genesis = c.Genesis(
            persons=persons,
            keys=(
                _key("founder-1", c.KeyPurpose.PERSON, FOUNDERS[0]),
                _key("founder-2", c.KeyPurpose.PERSON, FOUNDERS[1]),
                _key("sealing-1", c.KeyPurpose.SEALING, SEALING),
            ),
            schemas=tuple(
                c.SchemaEntry(name=s.name, fingerprint=s.fingerprint, sha256=s.sha256)
                for s in schemas()
            ),
            thresholds=c.Thresholds(loosen=2, enforce_release=2),
            assurance=c.Assurance.SINGLE_OPERATOR,
            recovery=c.Recovery(keys=(), threshold=0, delay_ms=0),
            semantics=1,
            audit_domain=DOMAIN,
            founded_at_ms=self.clock.ms,
        )
        sealed = c.SealedTopics(
            topics=tuple(
                c.SealedTopic(
                    topic=t, topic_id=self.log.topic_id(t), partitions=self.log.partitions(t)
                )
                for t in SEALED_TOPICS
            )
        )
        for body in (genesis, sealed):
            self.put(
                Topic.CONTROL,
                make_command(
                    body,
                    codec=self.codec,
                    cluster=samples.CLUSTER,
                    signers=tuple(zip(persons, FOUNDERS, strict=True)),
                    nonce=self.entropy.token(16),
                ),
            )

    def put(self, topic: str, value: bytes | None, partition: int = 0) -> int:
        self.writer.append(topic, value, key=None, partition=partition)
        return self.log.bounds(TopicPartition(topic, partition))[1] - 1

    def door(self, record: AnyRecord, partition: int = 0) -> tuple[int, bytes, bytes]:
        """Appends a door record; returns offset, value and its agent's chain before it."""
        value = self.codec.encode(record)
        before = b""
        agent = chained_agent(record)
        if agent is not None:
            start = chain_start(samples.CLUSTER, *agent)
            before = self.requests_chain.get(agent, start)
            self.requests_chain[agent] = chain_next(before, leaf_hash(value))
        return self.put(Topic.REQUESTS, value, partition), value, before

    def next_sequence(self) -> int:
        self.sequence += 1
        return self.sequence - 1

    def start_epoch(self) -> None:
        self.door(
            r.EpochStart(
                cluster=samples.CLUSTER,
                mode=r.Mode.LIVE,
                producer="gateway-0",
                epoch=1,
                sequence=self.next_sequence(),
                control_offset=0,
            )
        )

    def call(self, agent: str, partition: int = 0) -> tuple[int, bytes]:
        """A request with its decision; returns the request's offset and value."""
        request = samples.request(self.next_sequence(), agent=agent)
        offset, value, before = self.door(request, partition)
        self.decide(request, offset, value, before, partition)
        return offset, value

    def decide(
        self, request: r.AgentRequest, offset: int, value: bytes, before: bytes, partition: int
    ) -> int:
        agent = (request.tenant, request.agent_id)
        decided = self.decisions_chain.get(agent, chain_start(samples.CLUSTER, *agent))
        at = TopicPartition(Topic.DECISIONS, partition)
        core = samples.core(
            request,
            offset=offset,
            leaf=leaf_hash(value),
            k=self.log.bounds(at)[1],
            partition=partition,
            requests_chain=before,
            decisions_chain=decided,
            verdict=r.Verdict.DENY if request.sequence % 3 else r.Verdict.ALLOW,
        )
        frame = self.codec.encode(samples.decision(self.codec.encode(core)))
        self.decisions_chain[agent] = chain_next(decided, leaf_hash(frame))
        return self.put(Topic.DECISIONS, frame, partition)

    def sealer(self) -> Sealer:
        ports = SealPorts(
            log=self.log,
            index=self.log,
            codec=self.codec,
            clock=self.clock,
            signer=SEALING,
            verifier=MlDsaVerifier(),
        )
        sealer = Sealer(ports, SealPlan(domain=DOMAIN, cluster=samples.CLUSTER))
        sealer.start()
        return sealer

    def audit_ports(self) -> AuditPorts:
        return AuditPorts(
            log=self.log,
            index=self.log,
            codec=self.codec,
            clock=self.clock,
            verifier=MlDsaVerifier(),
        )

    def export(self) -> MemoryTrail:
        trail = MemoryTrail()
        texts = {p.name: p.read_bytes() for p in resource("schemas", "avro").glob("*.avsc")}
        Exporter(self.audit_ports(), trail, schemas=texts).run()
        return trail


def outcome(platform: SealedPlatform, agent: str, request_offset: int) -> r.ToolOutcome:
    return r.ToolOutcome(
        cluster=samples.CLUSTER,
        mode=r.Mode.LIVE,
        producer="gateway-0",
        epoch=1,
        sequence=platform.next_sequence(),
        control_offset=0,
        tenant="acme",
        agent_id=agent,
        outcome_id=b"o" * 16,
        tool="mail.send",
        session_id="s-1",
        status=r.OutcomeStatus.OK,
        registry_label=r.Trust.UNTRUSTED,
        voucher=r.Voucher.GATEWAY,
        section=samples.section(r.SectionName.OUTPUT, b"sent"),
        reported_at_ms=platform.clock.ms,
        request_offset=request_offset,
    )


def busy_platform() -> SealedPlatform:
    """Two agents in two partitions, one undecodable request, outcomes, two anchors."""
    platform = SealedPlatform()
    sealer = platform.sealer()
    platform.start_epoch()
    for n in range(6):
        agent, partition = (("agent-1", 0), ("agent-2", 1))[n % 2]
        offset, _ = platform.call(agent, partition)
        if n < 4:
            platform.door(outcome(platform, agent, offset), partition)
        if n == 2:
            platform.clock.ms += 1_000
            sealer.cycle()
    for record in samples.door_records(platform.sequence):
        platform.door(record, 0)
        platform.next_sequence()
    platform.put(Topic.SIGNALS, platform.codec.encode(samples.signal()))
    junk = b"\xc3\x01 no record of ours"
    offset = platform.put(Topic.REQUESTS, junk)
    core = samples.core_for(junk, None, offset=offset)
    platform.put(
        Topic.DECISIONS, platform.codec.encode(samples.decision(platform.codec.encode(core)))
    )
    platform.clock.ms += 61_000
    sealer.cycle()
    return platform


@cache
def busy_trail() -> dict[str, bytes]:
    """The export of `busy_platform`: name → bytes. Shared: copy before changing."""
    return busy_platform().export().files
