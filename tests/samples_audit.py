# SPDX-License-Identifier: Apache-2.0
"""One valid record of each kind that a sealed trail holds, for tests of seal and verify."""

from __future__ import annotations

from agentguard.contracts import records as r
from agentguard.contracts.hashing import leaf_hash
from agentguard.contracts.sections import make_section

CLUSTER = "cluster-a"
ZERO = bytes(32)


def section(name: r.SectionName, text: bytes) -> r.Section:
    return make_section(name, text, bytes([len(text) % 256]) * 32)


def request(sequence: int, *, agent: str = "agent-1", tool: str = "mail.send") -> r.AgentRequest:
    return r.AgentRequest(
        cluster=CLUSTER,
        mode=r.Mode.LIVE,
        producer="gateway-0",
        epoch=1,
        sequence=sequence,
        control_offset=0,
        tenant="acme",
        agent_id=agent,
        request_id=sequence.to_bytes(16, "big"),
        accepted_at_ms=1_790_000_000_000 + sequence,
        deadline_ms=1_790_000_001_000 + sequence,
        budget_ms=1_000,
        decisions_floor=0,
        tool=tool,
        session_id="s-1",
        sections=(
            section(r.SectionName.TASK, b"send the report"),
            section(r.SectionName.PARAMETERS, b'{"to":"x@example.com"}'),
        ),
        outcome_refs=(r.OutcomeRef(id=b"o" * 16, trust=r.Trust.TRUSTED),),
        task_voucher=r.Voucher.SDK,
        environment="production",
        dry_run=False,
        on_behalf_of="user-7",
        idempotency_tag=b"i" * 32,
        body_tag=b"b" * 32,
        approval_id="ap-1",
        secret_hash=b"s" * 32,
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )


def core(
    of: r.AgentRequest | None,
    *,
    offset: int,
    leaf: bytes,
    k: int = 0,
    partition: int = 0,
    requests_chain: bytes = ZERO,
    decisions_chain: bytes = ZERO,
    verdict: r.Verdict = r.Verdict.DENY,
) -> r.DecisionCore:
    return r.DecisionCore(
        cluster=CLUSTER,
        mode=r.Mode.LIVE,
        tenant=of.tenant if of else "",
        agent_id=of.agent_id if of else "",
        request_id=of.request_id if of else None,
        request_partition=partition,
        request_offset=offset,
        request_leaf=leaf,
        verdict=verdict,
        codes=("not_asked",),
        reason=r.Reason(template="not_asked", arguments=("mail.send",)),
        rules=("baseline/asked",),
        scopes=("mail.send",),
        obligations=(r.Obligation(type="notify", properties=(r.Fact(name="to", value="soc"),)),),
        charges=(r.Charge(counter="calls", amount=1, unit="call", categories=("mail",)),),
        observations=r.Observations(
            decided_at_ms=1_790_000_000_500 + offset,
            classification=r.Classification(
                risk=r.Risk.HIGH,
                intent="send",
                recommended=r.Verdict.DENY,
                confidence_ppm=900_000,
                reasons=("not_asked",),
                model="rules/1",
                source=r.ClassificationSource.RULES,
            ),
            failure=r.Failure.NONE,
            measured_control_end=1,
        ),
        facts=(r.Fact(name="calls_1m", value="1"),),
        versions=r.Versions(
            decisions_offset=k,
            signal_offset=0,
            signal_digest=ZERO,
            control_offset=0,
            control_chain=ZERO,
            release=1,
            bundle_digest=ZERO,
            tool_pin=ZERO,
            model="rules/1",
            engines="regorus/0.13.0",
            schemas=1,
            semantics=1,
        ),
        requests_chain=requests_chain,
        decisions_chain=decisions_chain,
        state_digest=b"d" * 32,
        remedy="ask the user",
        transform=r.Transform(
            patch=section(r.SectionName.TRANSFORM, b"{}"), result_commitment=b"c" * 32
        ),
        grant=r.Grant(secret_hash=b"g" * 32, authorization_details="[]", expires_at_ms=5),
        approval=r.Approval(group="finance", digest=b"a" * 32),
        retry_of=0,
        evidence=section(r.SectionName.EVIDENCE, b'{"sentence":"send it"}'),
    )


def decision(core_frame: bytes) -> r.Decision:
    return r.Decision(
        cluster=CLUSTER,
        mode=r.Mode.LIVE,
        core=core_frame,
        measured=r.Measured(
            lane="a", worker="0", stages=(r.StageTime(stage="classify", us=120),), cache=True
        ),
        macs=(r.Mac(reader="gateway", mac=b"m" * 32),),
    )


def door_records(sequence: int) -> tuple[r.DoorRecord, ...]:
    """The kinds of door record that answer no request here, numbered from `sequence`."""
    common = {
        "cluster": CLUSTER,
        "mode": r.Mode.LIVE,
        "producer": "gateway-0",
        "epoch": 1,
        "control_offset": 0,
        "tenant": "acme",
    }
    return (
        r.Chunk(
            sequence=sequence,
            agent_id="agent-1",
            id=b"c" * 16,
            index=0,
            count=2,
            body=b"x",
            **common,
        ),
        r.Enforcement(
            sequence=sequence + 1,
            agent_id="agent-1",
            code=r.EnforcementCode.DENIED_AT_GATEWAY,
            reason="shed",
            count=3,
            window_ms=1_000,
            reported_at_ms=1_790_000_000_000,
            request_id=b"r" * 16,
            request_offset=None,
            sequences=(900, 901),
            **common,
        ),
        r.Deliveries(
            sequence=sequence + 2,
            items=(r.Delivery(request_offset=1, decision_offset=0, action=r.Verdict.ALLOW),),
            **common,
        ),
        r.Redeem(
            sequence=sequence + 3,
            agent_id="agent-1",
            request_partition=0,
            request_offset=1,
            purpose=r.RedeemPurpose.CALL,
            section_commitment=b"p" * 32,
            redeemer="gateway-0",
            **common,
        ),
    )


def signal() -> r.Signal:
    return r.Signal(
        cluster=CLUSTER,
        mode=r.Mode.LIVE,
        tenant="acme",
        agent_id="agent-1",
        kind=r.SignalKind.RISK,
        level=2,
        reason="burst",
        evidence_refs=("ag.requests/0@4",),
        issued_at_ms=1_790_000_000_000,
        session_id="s-1",
    )


def core_for(value: bytes, of: r.AgentRequest | None, *, offset: int) -> r.DecisionCore:
    return core(of, offset=offset, leaf=leaf_hash(value))
