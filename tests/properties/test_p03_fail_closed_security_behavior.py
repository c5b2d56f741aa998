"""Feature: ai-agent-security-platform, Property 3: Fail-Closed Security Behavior.

For every subset of what can be down, slow or wrong around a gateway, its caller gets deny, or an
error that says deny, within the deadline: never allow, never a grant, never silence.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from agentguard.adapters.memory_log import AppendFault
from agentguard.contracts import records as r
from agentguard.contracts.commands import TargetKind
from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.ports import LogRecord, TopicPartition
from agentguard.contracts.topics import Topic
from tests.gateway.world import (
    CODEC,
    Reply,
    World,
    core_of,
    deciding,
    new_world,
    running,
)

TIMEOUT_MS = 60
# far above the deadline: only an answer that never comes is caught by it
HANG_S = 2.0

MUTANTS = [
    ("agentguard.gateway.running.Gateway.follow_control", lambda self: None),
    ("agentguard.gateway.enforce.takeback", lambda *_, **__: None),
    ("agentguard.gateway.waiting.decision_counts", lambda **_: True),
    ("agentguard.gateway.running.Gateway.expire", lambda self, wait: None),
    ("agentguard.pipeline.control_feed.ControlFeed.is_fresh", lambda self: True),
]

Cores = Sequence[r.DecisionCore]
Fault = Callable[[World, r.AgentRequest, LogRecord], Cores]


def silent(world: World, request: r.AgentRequest, record: LogRecord) -> Cores:
    return ()


def failure_deny(world: World, request: r.AgentRequest, record: LogRecord) -> Cores:
    return (core_of(request, record, verdict=r.Verdict.DENY, code="lane_failure"),)


def junk(world: World, request: r.AgentRequest, record: LogRecord) -> Cores:
    for value in (None, b"", b"\xc3\x01", b"\xc3\x01" + bytes(8), record.value):
        world.append(Topic.DECISIONS, value, record.partition)
    return ()


def of_another_mode(world: World, request: r.AgentRequest, record: LogRecord) -> Cores:
    return (core_of(request, record, mode=r.Mode.SHADOW),)


def of_another_cluster(world: World, request: r.AgentRequest, record: LogRecord) -> Cores:
    return (core_of(request, record, cluster="another"),)


def of_another_request(world: World, request: r.AgentRequest, record: LogRecord) -> Cores:
    return (core_of(request, record, request_leaf=bytes(32)),)


def under_old_control(world: World, request: r.AgentRequest, record: LogRecord) -> Cores:
    core = core_of(request, record)
    return (replace(core, versions=replace(core.versions, control_offset=0)),)


def with_a_foreign_grant(world: World, request: r.AgentRequest, record: LogRecord) -> Cores:
    grant = r.Grant(secret_hash=bytes(32), authorization_details="[]", expires_at_ms=2**50)
    return (core_of(request, record, grant=grant),)


def with_a_broken_transform(world: World, request: r.AgentRequest, record: LogRecord) -> Cores:
    return (core_of(request, record, verdict=r.Verdict.TRANSFORM, code="transformed"),)


def lag(world: World, over: threading.Event) -> None:
    """The log says that control goes on beyond what this gateway has read, and it has heard so."""
    asked, heard = world.log.bounds, threading.Semaphore(0)

    def bounds(at: TopicPartition) -> tuple[int, int]:
        if at.topic != Topic.CONTROL:
            return asked(at)
        heard.release()
        return 0, 10**6

    world.log.bounds = bounds  # type: ignore[method-assign]
    for _ in range(2):  # the second question comes after the first answer was noted
        while not heard.acquire(timeout=0.01) and not over.is_set():
            pass


DECIDERS: dict[str, Fault] = {
    f.__name__: f
    for f in (
        silent, failure_deny, junk, of_another_mode, of_another_cluster, of_another_request,
        under_old_control, with_a_foreign_grant, with_a_broken_transform,
    )
}  # fmt: skip
APPENDS = [
    AppendFault.NOT_WRITTEN,
    AppendFault.WRITTEN_BUT_REPORTED_FAILED,
    AppendFault.QUEUE_FULL,
    AppendFault.WRITER_DIES,
]


def a_call(world: World, append: AppendFault | None) -> Reply:
    async def scenario() -> Reply:
        async with running(world) as caller:
            if append is not None:
                world.log.inject(
                    lambda at, value: append if _is_request(value) else AppendFault.NONE
                )
            async with asyncio.timeout(HANG_S):
                return await caller.ask()

    return asyncio.run(scenario())


def _is_request(value: bytes | None) -> bool:
    try:
        return isinstance(CODEC.decode(value or b""), r.AgentRequest)
    except UndecodableError:
        return False


@given(
    wrong=st.sets(st.sampled_from(sorted(DECIDERS)), max_size=4).map(sorted),
    is_killed=st.booleans(),
    is_lagging=st.booleans(),
    append=st.sampled_from([None, None, *APPENDS]),
)
def test_whatever_fails_around_it_the_gateway_says_deny(
    wrong: list[str], is_killed: bool, is_lagging: bool, append: AppendFault | None
) -> None:
    is_stopped = is_killed or is_lagging or append is not None
    world = new_world(timeout_ms=TIMEOUT_MS)
    over = threading.Event()

    def rule(request: r.AgentRequest, record: LogRecord) -> Cores:
        if is_killed:
            world.kill(TargetKind.GLOBAL, "")
        if is_lagging:
            lag(world, over)
        cores = [core for name in wrong for core in DECIDERS[name](world, request, record)]
        # a proper allow where something else must stop it
        return [*cores, core_of(request, record)] if is_stopped else cores

    with (
        patch("agentguard.gateway.decisions_feed.READ_MS", 2),
        patch("agentguard.gateway.running.CONTROL_END_ASK_MS", 5),
        deciding(world, rule, wait_ms=2),
    ):
        try:
            reply = a_call(world, append)
        except TimeoutError:
            raise AssertionError("the caller was left without an answer") from None
        finally:
            over.set()
    assert reply.json["action"] == "deny"
    assert reply.json["code"]
    assert "grant" not in reply.json
    assert "transformedRequest" not in reply.json


def test_with_nothing_failing_the_same_call_is_allowed() -> None:
    world = new_world()
    with deciding(world):
        assert a_call(world, None).json["action"] == "allow"
