# SPDX-License-Identifier: Apache-2.0
"""What the gateway says of itself: health, readiness and why not, metrics, OpenAPI."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

from agentguard.adapters.memory_log import AppendFault, MemoryLog
from agentguard.contracts.ports import TopicPartition
from agentguard.contracts.records import FoldedOffset, Heartbeat, Role
from agentguard.contracts.topics import Topic
from agentguard.gateway.app import create_app
from agentguard.telemetry import CATALOGUE
from tests.gateway.world import (
    CLOCK,
    CODEC,
    ENTROPY,
    TOPICS,
    Caller,
    Reply,
    World,
    deciding,
    new_world,
    running,
    until,
)


def get(world: World, path: str) -> Reply:
    async def scenario() -> Reply:
        async with running(world) as caller:
            await caller.ask()
            return await caller.send("GET", path)

    with deciding(world):
        return asyncio.run(scenario())


def why_not_ready(world: World) -> tuple[Reply, Reply]:
    """Readiness and the answer to a call, of a gateway that cannot become ready."""

    async def scenario() -> tuple[Reply, Reply]:
        async with running(world, is_ready=False) as caller:
            await asyncio.sleep(0)
            ready = await caller.send("GET", "/readyz")
            async with asyncio.timeout(5):
                while ready.status == 503 and "being opened" in ready.json["reason"]:
                    await asyncio.sleep(0.005)
                    ready = await caller.send("GET", "/readyz")
            return ready, await caller.ask()

    return asyncio.run(scenario())


def test_the_openapi_document_names_every_path_and_shape() -> None:
    reply = get(new_world(), "/openapi.json")
    document = reply.json
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {
        "/v1/decisions", "/v1/decisions/{requestId}", "/v1/outcomes", "/healthz", "/readyz",
        "/metrics", "/openapi.json",
    }  # fmt: skip
    shapes = document["components"]["schemas"]
    assert {"Asked", "AskedContext", "SecurityDecision", "ErrorResponse"} <= set(shapes)
    assert shapes["Asked"]["additionalProperties"] is False
    used = set(json.dumps(document).split('"#/components/schemas/')[1:])
    assert all(name.split('"')[0] in shapes for name in used)


def test_an_answer_has_exactly_the_members_that_the_document_lists() -> None:
    world = new_world()
    shapes = get(world, "/openapi.json").json["components"]["schemas"]

    async def scenario() -> tuple[Reply, Reply]:
        async with running(world) as caller:
            return await caller.ask(), await caller.post("/v1/decisions", b"{")

    with deciding(world):
        decided, refused = asyncio.run(scenario())
    for reply, name in ((decided, "SecurityDecision"), (refused, "ErrorResponse")):
        assert set(reply.json) <= set(shapes[name]["properties"])
        assert set(shapes[name]["required"]) <= set(reply.json)
    audit = shapes["SecurityDecision"]["properties"]["auditMetadata"]
    assert set(decided.json["auditMetadata"]) == set(audit["required"])


def test_metrics_are_in_prometheus_text_with_every_name_of_the_catalogue() -> None:
    reply = get(new_world(), "/metrics")
    text = reply.body.decode()
    for metric in CATALOGUE:
        assert f"# TYPE {metric.name} {metric.kind.value}\n" in text
    assert 'agentguard_gateway_answers_total{action="allow",code="allowed"} 1\n' in text
    assert "agentguard_gateway_decision_seconds_count 1\n" in text
    assert "agentguard_gateway_ready 1\n" in text


def test_a_ready_gateway_says_so() -> None:
    reply = get(new_world(), "/readyz")
    assert (reply.status, reply.json) == (200, {"ready": True, "reason": ""})
    assert get(new_world(), "/healthz").status == 200


def test_before_the_log_is_open_everything_is_denied_with_the_reason() -> None:
    made = new_world()
    world = World(
        MemoryLog({Topic.REQUESTS: 3}, clock=CLOCK, entropy=ENTROPY),
        made.founding,
        made.credentials,
    )
    ready, reply = why_not_ready(world)
    assert ready.status == 503
    assert ready.json["reason"]
    assert (reply.status, reply.json["action"], reply.json["code"]) == (503, "deny", "not_ready")


def test_without_genesis_nothing_is_accepted() -> None:
    made = new_world()
    log = MemoryLog(TOPICS, clock=CLOCK, entropy=ENTROPY, waits=True)
    ready, reply = why_not_ready(World(log, made.founding, made.credentials))
    assert ready.status == 503
    assert "action" in reply.json
    assert reply.json["action"] == "deny"


def test_another_clusters_control_log_is_not_followed() -> None:
    world = new_world()
    parts = world.parts()
    strange = replace(parts, settings=replace(parts.settings, cluster="another"))
    world.parts = lambda: strange  # type: ignore[method-assign]
    ready, reply = why_not_ready(world)
    assert "another cluster" in ready.json["reason"]
    assert (reply.status, reply.json["action"]) == (503, "deny")


def test_unequal_partitions_are_fatal() -> None:
    made = new_world()
    log = MemoryLog({**TOPICS, Topic.DECISIONS: 2}, clock=CLOCK, entropy=ENTROPY, waits=True)
    world = World(log, made.founding, made.credentials)

    async def scenario() -> None:
        app = create_app(world.parts())
        inbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        outbox: asyncio.Queue[object] = asyncio.Queue()
        life = asyncio.create_task(app({"type": "lifespan"}, inbox.get, outbox.put))  # type: ignore[arg-type]
        await inbox.put({"type": "lifespan.startup"})
        await until(lambda: world.deaths)
        assert (await Caller(app, world).ask()).status == 503
        await inbox.put({"type": "lifespan.shutdown"})
        await life

    asyncio.run(scenario())
    assert "partitions" in world.deaths[0]


def test_a_first_record_that_the_log_refuses_is_tried_again() -> None:
    world = new_world()
    failures = iter([AppendFault.NOT_WRITTEN, AppendFault.QUEUE_FULL, AppendFault.NOT_WRITTEN])
    world.log.inject(lambda at, value: next(failures, AppendFault.NONE))

    async def scenario() -> Reply:
        async with running(world) as caller:
            return await caller.ask()

    with deciding(world):
        assert asyncio.run(scenario()).json["action"] == "allow"


def test_a_gateway_says_how_far_it_has_read() -> None:
    world = new_world()
    place = TopicPartition(Topic.HEARTBEATS, 0)

    async def scenario() -> None:
        async with running(world):
            await until(lambda: world.log.bounds(place)[1])

    asyncio.run(scenario())
    (record, *_) = world.log.reader({place: 0}).read(timeout_ms=0, records_max=10)
    beat = CODEC.decode(record.value or b"")
    assert isinstance(beat, Heartbeat)
    assert (beat.role, beat.process) == (Role.GATEWAY, "gateway-0")
    assert FoldedOffset(topic="ag.control", partition=0, offset=9) in beat.folded
    assert len(beat.folded) == 4
