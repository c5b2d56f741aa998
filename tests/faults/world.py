"""A platform of its own with registered agents and tools, and everything a test does to it."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.kafka_log import KafkaLog
from agentguard.adapters.mldsa_signer import MlDsaVerifier
from agentguard.adapters.system import SystemClock, SystemEntropy
from agentguard.contracts.commands import CommandBody, Registration, SideEffect
from agentguard.contracts.records import Trust
from agentguard.control.fold import ControlFold
from agentguard.local.control_writer import ControlWriter, Order
from agentguard.local.held_keys import held_by_persons
from agentguard.local.platform_files import Platform, read_credentials, read_platform
from agentguard.registry.agents import AgentLabels, Credential, make_agent, make_credential
from agentguard.registry.tools import ToolLabels, make_tool
from tests.live_platform import LivePlatform

T = TypeVar("T")

CODEC = AvroCodec()
CLOCK = SystemClock()
ENTROPY = SystemEntropy()
WAIT_S = 30.0
LOOK_EVERY_S = 0.1
# how the supervisor's children and the broker are told apart in a list of processes
MARKS = {
    "decide": "streams/decide.py",
    "seal": "streams/seal.py",
    "store": "streams/store.py",
    "gateway": "agentguard.gateway",
    "broker": "kafka.Kafka",
}
SENDERS = tuple(f"sender-{number}" for number in range(8))
STATES = {
    "blocked": AgentLabels(status=Registration.BLOCKED),
    "pending": AgentLabels(status=Registration.PENDING),
    "expired": AgentLabels(expires_at_ms=1),
}
FREE = ("alone", "victim", "poisoned", "other")
READ = ToolLabels(operation="read", side_effect=SideEffect.READ, output_trust=Trust.TRUSTED)
TEXT_SCHEMA = '{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}'


def until(condition: Callable[[], T], *, wait_s: float = WAIT_S, what: str = "") -> T:
    """Polls until something is there; wall-clock time only bounds how long it is waited for."""
    deadline = time.monotonic() + wait_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {wait_s:.0f} s: {what}"
        time.sleep(LOOK_EVERY_S)
    return found


def processes() -> dict[int, tuple[int, str]]:
    """Every process: its parent and its command line."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    found = {}
    for line in listed.stdout.splitlines():
        pid, parent, arguments = line.split(None, 2)
        found[int(pid)] = (int(parent), arguments)
    return found


@dataclass
class World:
    """One running platform and the credentials of its agents."""

    live: LivePlatform
    tokens: dict[str, str] = field(default_factory=dict)

    # -- the platform ---------------------------------------------------------------------------

    @property
    def platform(self) -> Platform:
        return read_platform(self.live.data)

    def log(self, principal: str) -> KafkaLog:
        who = self.platform.principals[principal]
        return KafkaLog(
            self.platform.bootstrap,
            username=who.username,
            password=who.password,
            client_id=f"test-{principal}",
        )

    def pid(self, name: str) -> int:
        """The process id of one of the platform's processes, 0 while it does not run."""
        assert self.live.process is not None
        mine = self.live.process.pid
        for pid, (parent, arguments) in processes().items():
            if parent == mine and MARKS[name] in arguments:
                return pid
        return 0

    def kill(self, name: str) -> int:
        """Kills a process at once; returns the id it had."""
        pid = until(lambda: self.pid(name), what=f"{name} runs")
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_restarted(self, name: str, killed: int) -> None:
        until(lambda: self.pid(name) not in (0, killed), what=f"{name} runs again")

    def is_ready(self, door: str) -> bool:
        """Whether the gateway or the store says that it is ready."""
        try:
            with urllib.request.urlopen(f"{self.live.addresses[door]}/readyz", timeout=5) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def wait_ready(self) -> None:
        for door in ("gateway", "store"):
            until(lambda door=door: self.is_ready(door), what=f"{door} is ready")  # type: ignore[misc]

    # -- control --------------------------------------------------------------------------------

    def submit(self, bodies: Sequence[CommandBody]) -> None:
        """Signs commands with both founders' keys; each must be accepted."""
        log = self.log("control")
        digest = bytes.fromhex(self.platform.genesis_digest)
        fold = ControlFold(CODEC, MlDsaVerifier(), digest)
        writer = ControlWriter(log, fold, codec=CODEC, clock=CLOCK, entropy=ENTROPY)
        try:
            writer.catch_up()
            orders = [Order(body=body) for body in bodies]
            found = writer.submit(orders, held_by_persons(self.live.data, fold))
        finally:
            writer.close()
            log.close()
        assert all(judgement.accepted for judgement in found), found

    def register(self) -> None:
        """Registers the agents and tools that the tests of this folder use."""
        tenant = self.platform.tenant
        bodies: list[CommandBody] = []
        for name in (*SENDERS, *FREE, *STATES):
            credential: Credential = make_credential(ENTROPY.token(38))
            self.tokens[name] = credential.token
            labels = STATES.get(name, AgentLabels())
            bodies.append(make_agent(name, tenant=tenant, credential=credential, labels=labels))
        for name, labels in (
            ("notes.read", READ),
            ("killed.read", READ),
            ("blocked.read", replace(READ, status=Registration.BLOCKED)),
            ("pending.read", replace(READ, status=Registration.PENDING)),
            ("mail.send", ToolLabels(operation="send", side_effect=SideEffect.SEND)),
        ):
            bodies.append(
                make_tool(
                    name,
                    tenant=tenant,
                    schema_json=TEXT_SCHEMA,
                    labels=labels,
                    description="Read a note by its name",
                )
            )
        self.submit(bodies)

    # -- the store ------------------------------------------------------------------------------

    def sql(self, question: str) -> list[list[Any]]:
        """Asks the store's read-only door."""
        user = read_credentials(self.live.data).store
        proof = base64.b64encode(f"{user.user}:{user.password}".encode()).decode()
        request = urllib.request.Request(
            self.live.addresses["store"],
            data=f"{question} FORMAT JSONCompact".encode(),
            headers={"authorization": f"Basic {proof}"},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            return list(json.loads(reply.read())["data"])


def open_world(folder: Path) -> World:
    """Starts a platform in a folder and registers what the tests need."""
    world = World(LivePlatform.in_folder(folder / "data"))
    # room for a crowded machine; what a deadline does is tested with the caller's own
    world.live.environment["REQUEST_TIMEOUT_MS"] = "5000"
    world.live.start()
    world.register()
    return world


def ask(world: World, agent: str, *, tool: str = "notes.read", **changes: Any) -> dict[str, Any]:
    """One call over HTTP; the answer with its `status`."""
    body = {
        "agentId": agent,
        "toolName": tool,
        "parameters": {"name": "plan"},
        "context": {"userTask": "Read the note plan", "sessionId": "s-1"},
        **changes,
    }
    request = urllib.request.Request(
        f"{world.live.addresses['gateway']}/v1/decisions",
        data=json.dumps(body).encode(),
        headers={
            "content-type": "application/json",
            "authorization": f"Bearer {world.tokens[agent]}",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S) as reply:
            return {**json.loads(reply.read()), "status": reply.status}
    except urllib.error.HTTPError as error:
        return {**json.loads(error.read()), "status": error.code}
