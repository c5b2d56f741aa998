# SPDX-License-Identifier: Apache-2.0
"""A founded log in memory, a decider that writes real records, and an in-process ASGI caller."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.memory_log import MemoryLog
from agentguard.adapters.mldsa_signer import MlDsaVerifier
from agentguard.adapters.system import SystemClock, SystemEntropy
from agentguard.contracts import records as r
from agentguard.contracts.commands import CommandBody, Kill, Registration, TargetKind
from agentguard.contracts.hashing import leaf_hash
from agentguard.contracts.ports import LogRecord, TopicPartition
from agentguard.contracts.topics import Topic, agent_key, partition_of
from agentguard.control.envelope import NONCE_BYTES, make_command
from agentguard.control.fold import ControlFold
from agentguard.control.scopes import scope_of
from agentguard.gateway.app import Application, create_app
from agentguard.gateway.callers import VOUCHING_CAPABILITY
from agentguard.gateway.parts import DoorIdentity, GatewaySettings, Parts
from agentguard.local.founding import Founding, default_release_command, found
from agentguard.registry.agents import AgentLabels, Credential, make_agent, make_credential
from agentguard.registry.tools import ToolLabels, make_tool
from agentguard.telemetry import Metrics

PARTITIONS = 3
TENANT = "acme"
TOPICS = {
    Topic.REQUESTS: PARTITIONS,
    Topic.DECISIONS: PARTITIONS,
    Topic.SIGNALS: PARTITIONS,
    Topic.CONTROL: 1,
    Topic.HEARTBEATS: 1,
}
CODEC = AvroCodec()
ENTROPY = SystemEntropy()
CLOCK = SystemClock()
AGENTS = {
    "alice": AgentLabels(),
    "bob": AgentLabels(),
    "frozen": AgentLabels(status=Registration.BLOCKED),
    "expired": AgentLabels(expires_at_ms=1),
    "sdk": AgentLabels(capabilities=(VOUCHING_CAPABILITY,)),
}
TOOLS = {
    "mail.send": ToolLabels(output_trust=r.Trust.UNTRUSTED),
    "files.read": ToolLabels(output_trust=r.Trust.TRUSTED),
    # one person alone can say this of a tool; nobody else has agreed yet
    "notes.read": ToolLabels(output_trust=r.Trust.TRUSTED, status=Registration.PENDING),
}


@dataclass(frozen=True, slots=True)
class Set:
    """Everything that is signed, made once per process."""

    founding: Founding
    commands: tuple[bytes, ...]
    credentials: Mapping[str, Credential]


@cache
def signed_set() -> Set:
    folder = Path(tempfile.mkdtemp(prefix="agentguard-gateway-"))
    founding = found(folder, entropy=ENTROPY, clock=CLOCK)
    credentials = {name: make_credential(ENTROPY.token(38)) for name in AGENTS}
    bodies: list[CommandBody] = [
        make_agent(name, tenant=TENANT, credential=credentials[name], labels=labels)
        for name, labels in AGENTS.items()
    ]
    bodies += [make_tool(name, tenant=TENANT, labels=labels) for name, labels in TOOLS.items()]
    commands = tuple(sign(founding, body) for body in bodies)
    release = default_release_command(founding, bytes(32), entropy=ENTROPY)
    return Set(founding, (founding.genesis_value, *commands, release), credentials)


def sign(founding: Founding, body: CommandBody, *, scope_version: int = 0) -> bytes:
    return make_command(
        body,
        codec=CODEC,
        cluster=founding.cluster,
        signers=founding.founders,
        nonce=ENTROPY.token(NONCE_BYTES),
        scope_version=scope_version,
    )


Ruling = Callable[[r.AgentRequest], r.DecisionCore | None]


@dataclass
class World:
    """One log with everything on it, and the parts of a gateway over it."""

    log: MemoryLog
    founding: Founding
    credentials: Mapping[str, Credential]
    metrics: Metrics = field(default_factory=Metrics)
    deaths: list[str] = field(default_factory=list)
    stops: list[int] = field(default_factory=list)
    timeout_ms: int = 2_000
    in_flight_max: int = 256
    slow_client_ms: int = 10_000
    epoch: int = 7

    def parts(self) -> Parts:
        return Parts(
            log=self.log,
            index=self.log,
            codec=CODEC,
            fold=ControlFold(CODEC, MlDsaVerifier(), self.founding.genesis_digest),
            clock=CLOCK,
            entropy=ENTROPY,
            cluster_key=self.founding.cluster_key,
            settings=GatewaySettings(
                cluster=self.founding.cluster,
                audit_domain="agentguard.invalid",
                request_timeout_ms=self.timeout_ms,
                in_flight_max=self.in_flight_max,
                slow_client_ms=self.slow_client_ms,
            ),
            identity=DoorIdentity(producer="gateway-0", epoch=self.epoch),
            metrics=self.metrics,
            on_fatal=self.deaths.append,
            on_stopped=self.stops.append,
        )

    def token(self, agent: str) -> str:
        return self.credentials[agent].token

    def append(self, topic: Topic, value: bytes | None, partition: int = 0) -> int:
        offsets: list[int] = []
        writer = self.log.writer("test")
        writer.append(
            topic,
            value,
            key=None,
            partition=partition,
            on_delivery=lambda delivery: offsets.append(delivery.offset),
        )
        writer.poll()
        return offsets[0]

    def kill(self, kind: TargetKind, target: str) -> None:
        tenant = "" if kind is TargetKind.GLOBAL else TENANT
        body = Kill(kind=kind, tenant=tenant, target=target, reason="test")
        assert scope_of(body)
        self.append(Topic.CONTROL, sign(self.founding, body))

    def requests(self, agent: str | None = None) -> list[tuple[LogRecord, Any]]:
        """Every record of the requests topic that decodes, oldest first in each partition."""
        found: list[tuple[LogRecord, Any]] = []
        for partition in range(PARTITIONS):
            at = TopicPartition(Topic.REQUESTS, partition)
            reader = self.log.reader({at: 0})
            for record in reader.read(timeout_ms=0, records_max=100_000):
                assert record.value is not None
                found.append((record, CODEC.decode(record.value)))
        if agent is None:
            return found
        return [(rec, made) for rec, made in found if getattr(made, "agent_id", "") == agent]

    def of_type(self, kind: type, agent: str | None = None) -> list[Any]:
        return [made for _, made in self.requests(agent) if isinstance(made, kind)]


def new_world(**settings: Any) -> World:
    made = signed_set()
    log = MemoryLog(TOPICS, clock=CLOCK, entropy=ENTROPY, waits=True)
    world = World(log, made.founding, made.credentials, **settings)
    for command in made.commands:
        world.append(Topic.CONTROL, command)
    return world


def place_of(agent: str) -> int:
    return partition_of(agent_key(TENANT, agent), PARTITIONS)


def core_of(
    request: r.AgentRequest,
    record: LogRecord,
    *,
    verdict: r.Verdict = r.Verdict.ALLOW,
    code: str = "",
    **changes: Any,
) -> r.DecisionCore:
    """A real decision of a request; allowed ones carry a grant to its secret."""
    code = code or ("allowed" if verdict is r.Verdict.ALLOW else "no_rule_permits")
    grant = None
    if verdict is r.Verdict.ALLOW and request.secret_hash is not None:
        grant = r.Grant(
            secret_hash=request.secret_hash,
            authorization_details=json.dumps([{"type": "tool_call", "tool": request.tool}]),
            expires_at_ms=request.accepted_at_ms + 30_000,
        )
    core = r.DecisionCore(
        cluster=request.cluster,
        mode=r.Mode.LIVE,
        tenant=request.tenant,
        agent_id=request.agent_id,
        request_id=request.request_id,
        request_partition=record.partition,
        request_offset=record.offset,
        request_leaf=leaf_hash(record.value),
        verdict=verdict,
        codes=(code,),
        reason=r.Reason(template=code, arguments=("baseline/read",)),
        rules=("baseline/read",),
        scopes=("mail.send",),
        obligations=(),
        charges=(),
        observations=r.Observations(
            decided_at_ms=request.accepted_at_ms + 1,
            classification=r.Classification(
                risk=r.Risk.LOW,
                intent="read",
                recommended=verdict,
                confidence_ppm=900_000,
                reasons=("asked_by_task",),
                model="rules/1",
                source=r.ClassificationSource.RULES,
            ),
            failure=r.Failure.NONE,
            measured_control_end=request.control_offset + 1,
        ),
        facts=(),
        versions=r.Versions(
            decisions_offset=0,
            signal_offset=-1,
            signal_digest=bytes(32),
            control_offset=request.control_offset,
            control_chain=bytes(32),
            release=1,
            bundle_digest=bytes(32),
            tool_pin=bytes(32),
            model="rules/1",
            engines="test/1",
            schemas=1,
            semantics=1,
        ),
        requests_chain=bytes(32),
        decisions_chain=bytes(32),
        state_digest=bytes(32),
        grant=grant,
    )
    return replace(core, **changes)


def decision_value(core: r.DecisionCore) -> bytes:
    return CODEC.encode(
        r.Decision(
            cluster=core.cluster,
            mode=r.Mode.LIVE,
            core=CODEC.encode(core),
            measured=r.Measured(
                lane="a",
                worker="0",
                stages=(r.StageTime(stage="evaluate", us=1_500),),
                cache=False,
            ),
            macs=(),
        )
    )


Rule = Callable[[r.AgentRequest, LogRecord], Sequence[r.DecisionCore]]


def allow(request: r.AgentRequest, record: LogRecord) -> Sequence[r.DecisionCore]:
    return (core_of(request, record),)


def deny(request: r.AgentRequest, record: LogRecord) -> Sequence[r.DecisionCore]:
    return (core_of(request, record, verdict=r.Verdict.DENY),)


def silent(request: r.AgentRequest, record: LogRecord) -> Sequence[r.DecisionCore]:
    return ()


@contextlib.contextmanager
def deciding(world: World, rule: Rule = allow, *, wait_ms: int = 50) -> Iterator[None]:
    """Runs a decision process on a thread: every request gets the records that `rule` makes."""
    places = {TopicPartition(Topic.REQUESTS, p): 0 for p in range(PARTITIONS)}
    reader = world.log.reader(places)
    stopping = threading.Event()

    def run() -> None:
        while not stopping.is_set():
            for record in reader.read(timeout_ms=wait_ms, records_max=100):
                request = CODEC.decode(record.value or b"")
                if isinstance(request, r.AgentRequest):
                    for core in rule(request, record):
                        world.append(Topic.DECISIONS, decision_value(core), record.partition)

    thread = threading.Thread(target=run, name="decider")
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)


class Caller:
    """An ASGI client over one running app."""

    def __init__(self, app: Application, world: World) -> None:
        self.app = app
        self.world = world

    async def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        parts: Sequence[bytes] | None = None,
        gone: asyncio.Event | None = None,
    ) -> Reply:
        """Sends one request; `gone` set means that the connection is closed from then on."""
        path, _, query = path.partition("?")
        chunks = list(parts) if parts is not None else [body]
        sent: list[Any] = []
        done = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if chunks:
                chunk = chunks.pop(0)
                return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}
            await (gone or done).wait()
            return {"type": "http.disconnect"}

        async def take(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": list(headers),
        }
        await self.app(scope, receive, take)
        if not sent:
            return Reply(0, {}, b"")
        heads = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        return Reply(sent[0]["status"], heads, b"".join(m["body"] for m in sent[1:]))

    async def post(self, path: str, body: Any, *, agent: str = "alice", **options: Any) -> Reply:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = options.pop("headers", None) or self.headers(agent)
        return await self.send("POST", path, raw, headers=headers, **options)

    async def ask(
        self, agent: str = "alice", *, gone: asyncio.Event | None = None, **changes: Any
    ) -> Reply:
        body = ask_body(agent, **changes)
        return await self.post("/v1/decisions", body, agent=agent, gone=gone)

    async def get(self, path: str, *, agent: str = "alice") -> Reply:
        return await self.send("GET", path, headers=self.headers(agent))

    def headers(self, agent: str) -> list[tuple[bytes, bytes]]:
        return [
            (b"content-type", b"application/json"),
            (b"authorization", f"Bearer {self.world.token(agent)}".encode()),
        ]


def ask_body(agent: str = "alice", **changes: Any) -> dict[str, Any]:
    context = {"userTask": "read the file", "sessionId": "s-1", **changes.pop("context", {})}
    return {
        "agentId": agent,
        "toolName": "files.read",
        "parameters": {"path": "/tmp/a"},
        "context": context,
        **changes,
    }


@contextlib.asynccontextmanager
async def running(world: World, *, is_ready: bool = True) -> AsyncIterator[Caller]:
    """Runs the app through its lifespan; waits until it is ready unless told otherwise."""
    app = create_app(world.parts())
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outbox: asyncio.Queue[Any] = asyncio.Queue()
    life = asyncio.create_task(app({"type": "lifespan"}, inbox.get, outbox.put))
    await inbox.put({"type": "lifespan.startup"})
    await outbox.get()
    caller = Caller(app, world)
    try:
        if is_ready:
            await until_ready(caller)
        yield caller
    finally:
        await inbox.put({"type": "lifespan.shutdown"})
        await outbox.get()
        await life


async def until_ready(caller: Caller) -> None:
    async with asyncio.timeout(10):
        while (await caller.send("GET", "/readyz")).status != 200:  # noqa: ASYNC110  an answer, not an event
            await asyncio.sleep(0.005)


async def until(condition: Callable[[], Any]) -> Any:
    """Waits for something that another thread or task brings about; gives up after 10 s."""
    async with asyncio.timeout(10):
        while not (found := condition()):  # noqa: ASYNC110  other threads bring it about
            await asyncio.sleep(0.005)
        return found
