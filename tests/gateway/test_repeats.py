# SPDX-License-Identifier: Apache-2.0
"""Idempotent repeats and the long poll: one permission, delivered once, on the gateway that has it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from agentguard.contracts import records as r
from agentguard.contracts.ports import LogRecord
from tests.gateway.world import (
    Reply,
    World,
    allow,
    deciding,
    deny,
    new_world,
    running,
    silent,
    until,
)

Rule = Callable[[r.AgentRequest, LogRecord], Sequence[r.DecisionCore]]


class Gate:
    """A rule that decides only once it is opened."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.opened = threading.Event()

    def __call__(self, request: r.AgentRequest, record: LogRecord) -> Sequence[r.DecisionCore]:
        self.opened.wait(10)
        return self.rule(request, record)


def id_of(request: r.AgentRequest) -> str:
    h = request.request_id.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def test_a_repeat_in_flight_joins_the_first() -> None:
    world, gate = new_world(), Gate(allow)

    async def scenario() -> list[Reply]:
        async with running(world) as caller:
            asks = [asyncio.create_task(caller.ask(idempotencyKey="k")) for _ in range(5)]
            await until(lambda: world.of_type(r.AgentRequest))
            gate.opened.set()
            return list(await asyncio.gather(*asks))

    with deciding(world, gate):
        replies = asyncio.run(scenario())
    assert len(world.of_type(r.AgentRequest)) == 1
    assert {x.json["requestId"] for x in replies} == {replies[0].json["requestId"]}
    assert {x.json["grant"]["accessToken"] for x in replies} == {
        replies[0].json["grant"]["accessToken"]
    }
    assert sum(len(x.items) for x in world.of_type(r.Deliveries)) == 1


def test_a_repeat_after_the_answer_gets_the_same_one() -> None:
    world = new_world()

    async def scenario() -> list[Reply]:
        async with running(world) as caller:
            return [await caller.ask(idempotencyKey="k") for _ in range(2)]

    with deciding(world):
        first, second = asyncio.run(scenario())
    assert first.json["grant"] == second.json["grant"]
    assert len(world.of_type(r.AgentRequest)) == 1


def test_another_body_under_the_key_is_409_that_says_deny() -> None:
    world = new_world()

    async def scenario() -> Reply:
        async with running(world) as caller:
            await caller.ask(idempotencyKey="k")
            return await caller.ask(idempotencyKey="k", parameters={"path": "/etc/shadow"})

    with deciding(world):
        reply = asyncio.run(scenario())
    assert (reply.status, reply.json["action"], reply.json["code"]) == (
        409, "deny", "idempotency_conflict",
    )  # fmt: skip
    assert len(world.of_type(r.AgentRequest)) == 1


def test_patience_and_trace_are_no_part_of_the_body() -> None:
    world = new_world()

    async def scenario() -> list[Reply]:
        async with running(world) as caller:
            trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
            return [
                await caller.ask(idempotencyKey="k"),
                await caller.ask(
                    idempotencyKey="k", deadlineMs=900, context={"traceparent": trace}
                ),
            ]

    with deciding(world):
        first, second = asyncio.run(scenario())
    assert first.json["requestId"] == second.json["requestId"]


def test_the_same_key_of_two_agents_are_two_requests_with_unlike_tags() -> None:
    world = new_world()

    async def scenario() -> None:
        async with running(world) as caller:
            await caller.ask("alice", idempotencyKey="k")
            await caller.ask("bob", idempotencyKey="k")

    with deciding(world):
        asyncio.run(scenario())
    tags = {x.idempotency_tag for x in world.of_type(r.AgentRequest)}
    assert len(tags) == 2
    assert None not in tags


def test_after_the_deadline_a_repeat_is_decided_anew_under_the_same_tags() -> None:
    world = new_world(timeout_ms=60)

    async def scenario() -> Reply:
        async with running(world) as caller:
            await caller.ask(idempotencyKey="k")
            return await caller.ask(idempotencyKey="k")

    with deciding(world, silent):
        reply = asyncio.run(scenario())
    first, second = world.of_type(r.AgentRequest)
    assert reply.status == 504
    assert (first.idempotency_tag, first.body_tag) == (second.idempotency_tag, second.body_tag)
    assert first.secret_hash != second.secret_hash


def test_a_decided_conflict_is_409_too() -> None:
    from tests.gateway.world import core_of

    def conflict(request: r.AgentRequest, record: LogRecord) -> Sequence[r.DecisionCore]:
        code = "idempotency_conflict"
        return (core_of(request, record, verdict=r.Verdict.DENY, code=code),)

    async def scenario() -> Reply:
        async with running(world) as caller:
            return await caller.ask(idempotencyKey="k")

    world = new_world()
    with deciding(world, conflict):
        reply = asyncio.run(scenario())
    assert (reply.status, reply.json["action"]) == (409, "deny")
    assert reply.json["error"]["code"] == "idempotency_conflict"
    assert reply.json["timestamp"]


# -- callers that go away ------------------------------------------------------------------------


def _abandoned(world: World, then: Callable[..., object], *, rule: Rule = allow) -> Reply:
    """A caller that hangs up while its request waits; then somebody asks for what was decided."""
    gate = Gate(rule)

    async def scenario() -> Reply:
        async with running(world) as caller:
            gone = asyncio.Event()
            task = asyncio.create_task(caller.ask(gone=gone))
            (request,) = await until(lambda: world.of_type(r.AgentRequest))
            gone.set()
            gate.opened.set()
            reply = await task
            assert reply.status == 0
            return await then(caller, id_of(request))  # type: ignore[misc,no-any-return]

    with deciding(world, gate):
        return asyncio.run(scenario())


def test_an_allow_that_reached_nobody_is_noted_as_not_delivered_at_its_deadline() -> None:
    world = new_world(timeout_ms=150)

    async def wait(caller: object, request_id: str) -> Reply:
        await until(lambda: world.of_type(r.Enforcement))
        return Reply(0, {}, b"")

    _abandoned(world, wait)
    (said,) = world.of_type(r.Enforcement)
    assert (said.code, said.reason) == (r.EnforcementCode.NOT_DELIVERED, "deadline")
    assert world.of_type(r.Deliveries) == []


def test_the_long_poll_hands_out_an_undelivered_allow_once() -> None:
    world = new_world(timeout_ms=5_000)
    second: list[Reply] = []

    async def poll(caller: object, request_id: str) -> Reply:
        path = f"/v1/decisions/{request_id}?waitMs=1000"
        first = await caller.get(path)  # type: ignore[attr-defined]
        second.append(await caller.get(path))  # type: ignore[attr-defined]
        return first  # type: ignore[no-any-return]

    first = _abandoned(world, poll)
    assert (first.status, first.json["action"]) == (200, "allow")
    assert first.json["grant"]["accessToken"]
    again = second[0].json
    assert (again["action"], again["code"]) == ("deny", "deadline")
    assert again["decided"] == {"action": "allow", "code": "allowed"}
    assert "grant" not in again
    assert sum(len(x.items) for x in world.of_type(r.Deliveries)) == 1
    assert world.of_type(r.Enforcement) == []


def test_after_its_deadline_no_path_answers_allow() -> None:
    world = new_world(timeout_ms=150)

    async def poll(caller: object, request_id: str) -> Reply:
        await until(lambda: world.of_type(r.Enforcement))
        return await caller.get(f"/v1/decisions/{request_id}")  # type: ignore[attr-defined,no-any-return]

    answer = _abandoned(world, poll).json
    assert (answer["action"], answer["code"]) == ("deny", "deadline")
    assert answer["decided"] == {"action": "allow", "code": "allowed"}


def test_the_long_poll_repeats_a_deny() -> None:
    world = new_world()

    async def scenario() -> tuple[Reply, Reply]:
        async with running(world) as caller:
            first = await caller.ask()
            return first, await caller.get(f"/v1/decisions/{first.json['requestId']}")

    with deciding(world, deny):
        first, second = asyncio.run(scenario())
    assert second.status == 200
    for name in ("action", "code", "reason", "requestId", "policy", "classification"):
        assert first.json[name] == second.json[name]


def test_the_long_poll_waits_for_the_decision() -> None:
    world, gate = new_world(timeout_ms=5_000), Gate(deny)

    async def scenario() -> tuple[Reply, Reply, Reply]:
        async with running(world) as caller:
            asking = asyncio.create_task(caller.ask())
            (request,) = await until(lambda: world.of_type(r.AgentRequest))
            path = f"/v1/decisions/{id_of(request)}"
            at_once = await caller.get(path)
            polling = asyncio.create_task(caller.get(f"{path}?waitMs=5000"))
            await asyncio.sleep(0)
            gate.opened.set()
            return at_once, await polling, await asking

    with deciding(world, gate):
        at_once, polled, asked = asyncio.run(scenario())
    assert (at_once.status, at_once.json["action"], at_once.json["code"]) == (
        202, "deny", "pending",
    )  # fmt: skip
    assert polled.json["code"] == asked.json["code"] == "no_rule_permits"


@pytest.mark.parametrize("agent", ["bob", "sdk"])
def test_another_agents_request_is_not_there(agent: str) -> None:
    world = new_world()

    async def scenario() -> Reply:
        async with running(world) as caller:
            first = await caller.ask("alice")
            return await caller.get(f"/v1/decisions/{first.json['requestId']}", agent=agent)

    with deciding(world):
        reply = asyncio.run(scenario())
    assert (reply.status, reply.json["action"], reply.json["code"]) == (
        404, "deny", "unknown_request",
    )  # fmt: skip


@pytest.mark.parametrize(
    "path", ["x", "..", "%2e", "01a210ac-db3d-750c-bcdf-74b2fea8849d?waitMs=x"]
)
def test_a_look_up_that_makes_no_sense_says_deny(path: str) -> None:
    async def scenario() -> Reply:
        async with running(new_world()) as caller:
            return await caller.get(f"/v1/decisions/{path}")

    reply = asyncio.run(scenario())
    assert reply.status in (400, 404)
    assert reply.json["action"] == "deny"
