"""The whole path in one process: a real gateway and a real lane on one in-memory log."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from agentguard.contracts.topics import Topic
from agentguard.control.fold import ControlFold
from agentguard.gateway.parts import DoorIdentity, GatewaySettings, Parts
from agentguard.registry.agents import make_credential
from agentguard.telemetry import Metrics
from tests import worlds as w
from tests.gateway.world import Caller, running
from tests.lanes import TOPICS, Platform

TOKEN = make_credential(bytes(38)).token


@dataclass
class Whole(Platform):
    """A founded log, the parts of a gateway over it, and a lane that decides on a thread."""

    waits: bool = True
    metrics: Metrics = field(default_factory=Metrics)
    timeout_ms: int = 5_000

    def parts(self) -> Parts:
        return Parts(
            log=self.log,
            index=self.log,
            codec=w.CODEC,
            fold=ControlFold(w.CODEC, w.RememberingVerifier(), w.founding().genesis_digest),
            clock=self.clock,
            entropy=w.CountingEntropy("gateway"),
            cluster_key=w.founding().cluster_key,
            settings=GatewaySettings(
                cluster=w.CLUSTER,
                audit_domain="agentguard.invalid",
                request_timeout_ms=self.timeout_ms,
            ),
            identity=DoorIdentity(producer="gateway-0", epoch=1),
            metrics=self.metrics,
        )

    def token(self, agent: str) -> str:
        """The credential of the one agent that is registered."""
        assert agent == w.AGENT
        return TOKEN

    @contextlib.contextmanager
    def deciding(self, wait_ms: int = 2) -> Iterator[None]:
        """Runs the lane until the end; what ends it early is raised then."""
        lane = self.ready_lane()
        stopping = threading.Event()
        deaths: list[Exception] = []

        def run() -> None:
            try:
                while not stopping.is_set():
                    lane.step(wait_ms)
            except Exception as error:  # noqa: BLE001  raised below
                deaths.append(error)

        thread = threading.Thread(target=run, name="lane")
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()
        if deaths:
            raise deaths[0]

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Caller]:
        """Opens gateway and lane; ends both."""
        with patch("agentguard.gateway.decisions_feed.READ_MS", 2), self.deciding():
            async with running(self) as caller:  # type: ignore[arg-type]
                yield caller

    def values(self) -> Iterator[tuple[Topic, bytes]]:
        """Every value and every key on the log."""
        for topic in TOPICS:
            for record in self.records(topic):
                yield topic, record.value or b""
                yield topic, record.key or b""


def call(
    tool: str = "notes.read",
    parameters: Mapping[str, Any] | None = None,
    task: str = "Read the note called plan",
    **members: Any,
) -> dict[str, Any]:
    """A request body of the one agent; `context` members are merged in."""
    context = {"userTask": task, "sessionId": "s-1", **members.pop("context", {})}
    return {
        "agentId": w.AGENT,
        "toolName": tool,
        "parameters": {"name": "plan"} if parameters is None else parameters,
        "context": context,
        **members,
    }
