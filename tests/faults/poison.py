"""Records that nobody of ours would write, one set for each topic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from agentguard.contracts.records import (
    AgentRequest,
    Anchor,
    AnchoredHead,
    Bundle,
    Checkpoint,
    Classification,
    ClassificationSource,
    ControlCommand,
    Decision,
    DecisionCore,
    Failure,
    Grant,
    Heartbeat,
    Measured,
    Mode,
    Observations,
    Reason,
    Risk,
    Role,
    SectionName,
    Signal,
    SignalKind,
    Snapshot,
    Verdict,
    Versions,
    Voucher,
)
from agentguard.contracts.sections import make_section
from tests.faults.world import CLOCK, CODEC

UNKNOWN_SCHEMA = b"\xc3\x01" + b"\xee" * 8 + b"\x02\x04body"
GARBAGE = bytes(range(256)) * 4
DIGEST = sha256(b"nothing").digest()


@dataclass(frozen=True)
class Poison:
    """One record to be appended and what it is."""

    name: str
    value: bytes | None
    key: bytes | None


def poisons(topic: str, right: Any, key: bytes, stranger: Any) -> Iterator[Poison]:
    """What can be wrong about a record of a topic, told of a right one that belongs there."""
    frame = CODEC.encode(right)
    yield Poison("null", None, key)
    yield Poison("empty", b"", key)
    yield Poison("garbage", GARBAGE, key)
    yield Poison("unknown_schema", UNKNOWN_SCHEMA, key)
    yield Poison("marker_only", frame[:2], key)
    yield Poison("header_only", frame[:10], key)
    yield Poison("truncated", frame[: len(frame) // 2], key)
    yield Poison("longer", frame + b"\x00", key)
    yield Poison("wrong_cluster", CODEC.encode(replace(right, cluster="ag-another")), key)
    yield Poison("wrong_mode", CODEC.encode(replace(right, mode=Mode.SHADOW)), key)
    yield Poison("other_type", CODEC.encode(stranger), key)
    yield Poison("wrong_key", frame, b"nobody|nothing")
    if topic in ("ag.requests", "ag.decisions", "ag.signals", "ag.control"):
        yield Poison("no_key", frame, None)


def request(cluster: str, tenant: str, agent: str, *, number: int) -> AgentRequest:
    now = CLOCK.now_ms()
    return AgentRequest(
        cluster=cluster,
        mode=Mode.LIVE,
        producer="poison",
        epoch=1,
        sequence=number,
        control_offset=0,
        tenant=tenant,
        agent_id=agent,
        request_id=sha256(f"poison {number}".encode()).digest()[:16],
        accepted_at_ms=now,
        deadline_ms=now + 30_000,
        budget_ms=30_000,
        decisions_floor=0,
        tool="notes.read",
        session_id="s",
        sections=(
            make_section(SectionName.TASK, b"Read the note plan", bytes(32)),
            make_section(SectionName.PARAMETERS, b'{"name":"plan"}', bytes(32)),
        ),
        outcome_refs=(),
        task_voucher=Voucher.GATEWAY,
        environment="test",
        dry_run=False,
        secret_hash=bytes(32),
    )


def core(asked: AgentRequest, *, partition: int, offset: int, leaf: bytes) -> DecisionCore:
    """An allow that no lane made."""
    return DecisionCore(
        cluster=asked.cluster,
        mode=Mode.LIVE,
        tenant=asked.tenant,
        agent_id=asked.agent_id,
        request_id=asked.request_id,
        request_partition=partition,
        request_offset=offset,
        request_leaf=leaf,
        verdict=Verdict.ALLOW,
        codes=("allowed",),
        reason=Reason(template="allowed", arguments=("poison",)),
        rules=(),
        scopes=(),
        obligations=(),
        charges=(),
        observations=Observations(
            decided_at_ms=CLOCK.now_ms(),
            classification=Classification(
                risk=Risk.LOW,
                intent="",
                recommended=Verdict.ALLOW,
                confidence_ppm=0,
                reasons=(),
                model="",
                source=ClassificationSource.NONE,
            ),
            failure=Failure.NONE,
            measured_control_end=0,
        ),
        facts=(),
        versions=Versions(
            decisions_offset=0,
            signal_offset=0,
            signal_digest=bytes(32),
            control_offset=0,
            control_chain=bytes(32),
            release=1,
            bundle_digest=bytes(32),
            tool_pin=bytes(32),
            model="",
            engines="",
            schemas=1,
            semantics=1,
        ),
        requests_chain=bytes(32),
        decisions_chain=bytes(32),
        state_digest=bytes(32),
        grant=Grant(
            secret_hash=bytes(32), authorization_details="[]", expires_at_ms=CLOCK.now_ms() + 10**6
        ),
    )


def decision(cluster: str, made: DecisionCore | bytes) -> Decision:
    return Decision(
        cluster=cluster,
        mode=Mode.LIVE,
        core=made if isinstance(made, bytes) else CODEC.encode(made),
        measured=Measured(lane="a", worker="0", stages=(), cache=False),
        macs=(),
    )


def signal(cluster: str, tenant: str, agent: str) -> Signal:
    return Signal(
        cluster=cluster,
        mode=Mode.LIVE,
        tenant=tenant,
        agent_id=agent,
        kind=SignalKind.RISK,
        level=1,
        reason="poison",
        evidence_refs=(),
        issued_at_ms=CLOCK.now_ms(),
    )


def command(cluster: str) -> ControlCommand:
    return ControlCommand(cluster=cluster, mode=Mode.LIVE, signed=GARBAGE, signatures=())


def heartbeat(cluster: str) -> Heartbeat:
    return Heartbeat(
        cluster=cluster,
        mode=Mode.LIVE,
        process="decide-a-0",
        role=Role.DECIDE,
        build="poison",
        config_digest=bytes(32),
        folded=(),
        releases=(),
        ready=True,
        reason="",
        clock_ms=0,
    )


def bundle(cluster: str, digest: bytes) -> Bundle:
    """A body under a digest that is not its own."""
    return Bundle(cluster=cluster, mode=Mode.LIVE, digest=digest, body=GARBAGE)


def checkpoint(cluster: str, origin: str, topic: str) -> Checkpoint:
    """A head far beyond the log, signed by nobody."""
    return Checkpoint(
        cluster=cluster,
        mode=Mode.LIVE,
        origin=origin,
        topic=topic,
        partition=0,
        generation=0,
        size=1_000_000,
        root=bytes(32),
        note=f"{origin}\n1000000\nAAAA\n\n- x y\n",
        frontier=(bytes(32),),
        next_offset=1_000_000,
        sealed_at_ms=CLOCK.now_ms(),
    )


def anchor(cluster: str, origin: str, last: Anchor | None) -> Anchor:
    made = Anchor(
        **{
            name: getattr(last, name)
            for name in (last.__dataclass_fields__ if last is not None else ())
        }
    )
    head = AnchoredHead(origin=origin, size=1_000_000, root=bytes(32))
    return replace(made, cluster=cluster, heads=(head,))


def snapshot(cluster: str, tenant: str, agent: str) -> Snapshot:
    return Snapshot(
        cluster=cluster,
        mode=Mode.LIVE,
        lane="a",
        partition=0,
        tenant=tenant,
        agent_id=agent,
        requests_offset=10**9,
        decisions_offset=10**9,
        requests_chain=bytes(32),
        decisions_chain=bytes(32),
        semantics=1,
        state=GARBAGE,
        mac=bytes(32),
    )
