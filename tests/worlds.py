"""A founded cluster on the in-memory log: signed set-up built once per process, then copied."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from pathlib import Path

from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.mldsa_signer import MlDsaVerifier
from agentguard.adapters.regorus_engine import RegorusEngine
from agentguard.contracts.commands import (
    CommandBody,
    Kill,
    RegisterAgent,
    RegisterTool,
    SideEffect,
    TargetKind,
)
from agentguard.contracts.ports import LogRecord
from agentguard.contracts.records import (
    AgentRequest,
    Decision,
    DecisionCore,
    Measured,
    Mode,
    OutcomeStatus,
    Section,
    SectionName,
    ToolOutcome,
    Trust,
    Voucher,
)
from agentguard.contracts.sections import make_section
from agentguard.contracts.topics import Topic, agent_key
from agentguard.control.envelope import make_command
from agentguard.control.fold import ControlFold
from agentguard.decision.decide import decide
from agentguard.decision.world import ActivePolicy, Observed, Question, World, decision_time
from agentguard.local.founding import Founding, default_release_command, found
from agentguard.policy.golden import golden_inputs
from agentguard.policy.release import Release, build_bundle, read_bundle
from agentguard.registry.agents import AgentLabels, make_agent, make_credential
from agentguard.registry.tools import ToolLabels, make_tool
from agentguard.resources import read_folder, resource
from agentguard.session.fold import Counted, Open, PartitionFold

CLUSTER = "ag-test"
TENANT = "acme"
AGENT = "agent-1"
NOW = 1_800_000_000_000
CODEC = AvroCodec()


class CountingEntropy:
    """Bytes that differ and repeat from run to run."""

    def __init__(self, seed: str = "entropy") -> None:
        self._seed = seed
        self._drawn = 0

    def token(self, size: int) -> bytes:
        self._drawn += 1
        out = b""
        while len(out) < size:
            out += sha256(f"{self._seed}|{self._drawn}|{len(out)}".encode()).digest()
        return out[:size]


@dataclass
class FakeClock:
    now: int = NOW
    mono: float = 0.0

    def now_ms(self) -> int:
        return self.now

    def monotonic_ms(self) -> float:
        return self.mono

    def advance(self, ms: int) -> None:
        self.now += ms
        self.mono += ms


@cache
def _verified(scheme: str, public_key: bytes, message: bytes, signature: bytes) -> bool:
    return MlDsaVerifier().verify(
        scheme=scheme, public_key=public_key, message=message, signature=signature
    )


class RememberingVerifier:
    """The real verifier, asked once about each signature: the founding is folded many times."""

    def verify(self, *, scheme: str, public_key: bytes, message: bytes, signature: bytes) -> bool:
        return _verified(scheme, public_key, message, signature)


def schema(**properties: str) -> str:
    return json.dumps(
        {
            "type": "object",
            "properties": {name: {"type": kind} for name, kind in properties.items()},
            "required": sorted(properties),
        }
    )


@cache
def founding() -> Founding:
    folder = Path(tempfile.mkdtemp(prefix="ag-core-"))
    return found(folder, entropy=CountingEntropy("founding"), clock=FakeClock(), cluster=CLUSTER)


@cache
def bundle() -> bytes:
    return build_bundle(read_folder(resource("policies", "baseline")))


@cache
def release() -> Release:
    return read_bundle(bundle())


@cache
def engine() -> RegorusEngine:
    return RegorusEngine(release())


def agents() -> tuple[RegisterAgent, ...]:
    credential = make_credential(bytes(38))
    return tuple(
        make_agent(
            name, tenant=TENANT, credential=credential, labels=AgentLabels(owner="o", roles=("r",))
        )
        for name in (AGENT,)
    )


def tools() -> tuple[RegisterTool, ...]:
    read = ToolLabels(operation="read", side_effect=SideEffect.READ, output_trust=Trust.TRUSTED)
    return (
        make_tool(
            "notes.read",
            tenant=TENANT,
            schema_json=schema(name="string"),
            labels=read,
            description="Read a note by its name",
        ),
        make_tool(
            "web.read",
            tenant=TENANT,
            schema_json=schema(url="string"),
            labels=ToolLabels(operation="read", side_effect=SideEffect.READ),
            description="Read a web page",
        ),
        make_tool(
            "mail.send",
            tenant=TENANT,
            schema_json=schema(to="string", body="string"),
            description="Send an email to a recipient",
            labels=ToolLabels(
                operation="send",
                side_effect=SideEffect.SEND,
                decisive_arguments=("to",),
                resource="https://mail.example/api",
                scopes=("mail.send",),
            ),
        ),
        make_tool(
            "bank.pay",
            tenant=TENANT,
            schema_json=schema(payee="string", amount="number", currency="string"),
            description="Pay money to a payee",
            labels=ToolLabels(
                operation="pay",
                side_effect=SideEffect.PAY,
                categories=("payments", "sensitive"),
                decisive_arguments=("payee", "amount"),
            ),
        ),
    )


def command(body: CommandBody, *, nonce: int, scope_version: int = 0) -> bytes:
    made = founding()
    return make_command(
        body,
        codec=CODEC,
        cluster=CLUSTER,
        signers=made.founders,
        nonce=nonce.to_bytes(16, "big"),
        scope_version=scope_version,
    )


@cache
def control_values() -> tuple[bytes, ...]:
    """The founding commands as values of `ag.control`: Genesis, agents, tools, release."""
    made = founding()
    bodies = (*agents(), *tools())
    return (
        made.genesis_value,
        *(command(body, nonce=i + 1) for i, body in enumerate(bodies)),
        default_release_command(made, release().digest, entropy=CountingEntropy("release")),
    )


def kill_command(kind: TargetKind = TargetKind.GLOBAL, target: str = "", nonce: int = 999) -> bytes:
    tenant = "" if kind is TargetKind.GLOBAL else TENANT
    return command(Kill(kind=kind, tenant=tenant, target=target, reason="test"), nonce=nonce)


def control(extra: Sequence[bytes] = ()) -> ControlFold:
    fold = ControlFold(CODEC, RememberingVerifier(), founding().genesis_digest)
    for offset, value in enumerate((*control_values(), *extra)):
        judgement = fold.apply(offset, value)
        assert judgement.accepted, judgement
    return fold


@cache
def shared_control() -> ControlFold:
    """One fold of the founding commands, for tests that only ask it."""
    return control()


def section(name: SectionName, text: str | bytes) -> Section:
    body = text.encode() if isinstance(text, str) else text
    return make_section(name, body, sha256(b"salt" + body).digest())


def request(
    sequence: int,
    *,
    tool: str = "notes.read",
    parameters: object = None,
    task: str = "Read the note called plan",
    agent_id: str = AGENT,
    **changes: object,
) -> AgentRequest:
    body = json.dumps({"name": "plan"} if parameters is None else parameters)
    made = AgentRequest(
        cluster=CLUSTER,
        mode=Mode.LIVE,
        producer="gateway-1",
        epoch=1,
        sequence=sequence,
        control_offset=0,
        tenant=TENANT,
        agent_id=agent_id,
        request_id=sequence.to_bytes(16, "big"),
        accepted_at_ms=NOW,
        deadline_ms=NOW + 1_000,
        budget_ms=1_000,
        decisions_floor=0,
        tool=tool,
        session_id="s1",
        sections=(section(SectionName.TASK, task), section(SectionName.PARAMETERS, body)),
        outcome_refs=(),
        task_voucher=Voucher.GATEWAY,
        environment="test",
        dry_run=False,
        secret_hash=bytes(32),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def outcome(
    sequence: int,
    text: str,
    *,
    tool: str = "web.read",
    outcome_id: bytes | None = None,
    **changes: object,
) -> ToolOutcome:
    made = ToolOutcome(
        cluster=CLUSTER,
        mode=Mode.LIVE,
        producer="gateway-1",
        epoch=1,
        sequence=sequence,
        control_offset=0,
        tenant=TENANT,
        agent_id=AGENT,
        outcome_id=outcome_id or sequence.to_bytes(16, "big"),
        tool=tool,
        session_id="s1",
        status=OutcomeStatus.OK,
        registry_label=Trust.UNTRUSTED,
        voucher=Voucher.NOBODY,
        section=section(SectionName.OUTPUT, text),
        reported_at_ms=NOW,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


KEY = agent_key(TENANT, AGENT)


@dataclass
class Bench:
    """One partition fold with one agent, fed by hand: what a lane does, without a log."""

    control: ControlFold = field(default_factory=control)
    clock_ms: int = NOW
    fold: PartitionFold = field(
        default_factory=lambda: PartitionFold(cluster=CLUSTER, partition=0, partitions=1)
    )
    requests: list[LogRecord] = field(default_factory=list)
    decoded: list[object] = field(default_factory=list)
    decisions: list[LogRecord] = field(default_factory=list)
    cores: list[DecisionCore] = field(default_factory=list)

    def world(self) -> World:
        activation = self.control.release(self.clock_ms)
        policy = None
        if activation is not None:
            policy = ActivePolicy(
                activation=activation, engine=engine(), golden=golden_inputs(release())
            )
        return World(cluster=CLUSTER, control=self.control, partition=self.fold, policy=policy)

    def append(self, value: object, *, key: bytes | None = KEY) -> LogRecord:
        raw = value if isinstance(value, bytes) or value is None else CODEC.encode(value)
        record = LogRecord(Topic.REQUESTS, 0, len(self.requests), key, raw, 0)
        self.requests.append(record)
        self.decoded.append(None if isinstance(value, bytes) else value)
        return record

    def put(self, value: object, *, key: bytes | None = KEY) -> LogRecord:
        """Appends a record that needs no decision and folds it."""
        record = self.append(value, key=key)
        decoded = self.decoded[-1]
        assert self.fold.read(record, decoded) is None
        self.fold.apply_request(record, decoded)
        return record

    def ask(self, value: object, *, key: bytes | None = KEY, **seen: object) -> DecisionCore:
        """Appends a request, decides it, folds it as pending; the decision stays unread."""
        record = self.append(value, key=key)
        decoded = self.decoded[-1]
        waiting = self.fold.read(record, decoded)
        assert waiting is not None
        core = decide(self.question(waiting), self.world(), self.seen(waiting, **seen))
        self.fold.apply_request(record, decoded)
        return core

    def question(self, waiting: Open) -> Question:
        return Question(
            record=waiting.record,
            leaf=waiting.leaf,
            request=waiting.request,
            state=waiting.state,
            fault="not a request",
        )

    def seen(self, waiting: Open, **changes: object) -> Observed:
        made = Observed(
            decided_at_ms=decision_time(self.clock_ms, self.question(waiting)),
            measured_control_end=self.control.folded + 1,
        )
        return replace(made, **changes)  # type: ignore[arg-type]

    def write(self, core: DecisionCore) -> LogRecord:
        """Appends a decision without reading it back."""
        decision = Decision(
            cluster=CLUSTER,
            mode=Mode.LIVE,
            core=CODEC.encode(core),
            measured=Measured(lane="a", worker="w0", stages=(), cache=False),
            macs=(),
        )
        record = LogRecord(Topic.DECISIONS, 0, len(self.decisions), KEY, CODEC.encode(decision), 0)
        self.decisions.append(record)
        self.cores.append(core)
        return record

    def read_back(self, record: LogRecord) -> Counted:
        decision = CODEC.decode(record.value or b"")
        assert isinstance(decision, Decision)
        core = CODEC.decode(decision.core)
        assert isinstance(core, DecisionCore)
        return self.fold.apply_decision(record, decision, core)

    def decide(self, value: object, *, key: bytes | None = KEY, **seen: object) -> DecisionCore:
        """Asks, writes the decision and reads it back as the effective one."""
        core = self.ask(value, key=key, **seen)
        assert self.read_back(self.write(core)) is Counted.EFFECTIVE
        return core
