# SPDX-License-Identifier: Apache-2.0
"""Earlier outputs: on the log once, before the request that refers to them, never believed more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentguard.adapters.memory_log import AppendFault
from agentguard.contracts import records as r
from agentguard.contracts.sections import open_section
from tests.gateway.world import CODEC, Reply, World, deciding, new_world, place_of, running


def with_history(world: World, *calls: list[dict[str, Any]], agent: str = "alice") -> list[Reply]:
    async def scenario() -> list[Reply]:
        async with running(world) as caller:
            return [await caller.ask(agent, context={"history": items}) for items in calls]

    with deciding(world):
        return asyncio.run(scenario())


def test_an_output_precedes_the_request_that_refers_to_it() -> None:
    world = new_world()
    with_history(world, [{"tool": "files.read", "arguments": {"path": "/a"}, "output": "hello"}])
    kinds = [type(made).__name__ for _, made in world.requests("alice")]
    assert kinds == ["ToolOutcome", "AgentRequest"]
    (outcome,) = world.of_type(r.ToolOutcome)
    (request,) = world.of_type(r.AgentRequest)
    assert open_section(outcome.section) == b"hello"
    assert request.outcome_refs == (r.OutcomeRef(id=outcome.outcome_id, trust=r.Trust.TRUSTED),)
    assert (outcome.tool, outcome.session_id) == ("files.read", "s-1")


def test_a_repeated_output_is_recorded_once() -> None:
    world = new_world()
    item = {"tool": "files.read", "output": "hello"}
    with_history(world, [item], [item, {"tool": "files.read", "output": "more"}], [item, item])
    assert len(world.of_type(r.ToolOutcome)) == 2
    assert [len(x.outcome_refs) for x in world.of_type(r.AgentRequest)] == [1, 2, 2]


def test_the_same_output_of_two_agents_has_two_ids_that_nobody_can_compute() -> None:
    world = new_world()

    async def scenario() -> None:
        async with running(world) as caller:
            for agent in ("alice", "bob"):
                history = [{"tool": "files.read", "output": "hello"}]
                await caller.ask(agent, context={"history": history})

    with deciding(world):
        asyncio.run(scenario())
    first, second = world.of_type(r.ToolOutcome)
    assert first.outcome_id != second.outcome_id


def test_an_output_whose_append_failed_is_recorded_again() -> None:
    world = new_world()
    item = {"tool": "files.read", "output": "hello"}

    async def scenario() -> None:
        async with running(world) as caller:
            world.log.inject(
                lambda at, value: (
                    AppendFault.NOT_WRITTEN
                    if isinstance(CODEC.decode(value or b""), r.ToolOutcome)
                    else AppendFault.NONE
                )
            )
            await caller.ask(context={"history": [item]})
            world.log.inject(None)
            await caller.ask(context={"history": [item]})

    with deciding(world):
        asyncio.run(scenario())
    assert len(world.of_type(r.ToolOutcome)) == 1


@pytest.mark.parametrize(
    ("tool", "trust", "label", "refers"),
    [
        ("files.read", None, r.Trust.TRUSTED, r.Trust.TRUSTED),
        ("files.read", "trusted", r.Trust.TRUSTED, r.Trust.TRUSTED),
        ("files.read", "untrusted", r.Trust.UNTRUSTED, r.Trust.UNTRUSTED),
        ("mail.send", "trusted", r.Trust.UNTRUSTED, r.Trust.TRUSTED),
        ("notes.read", "trusted", r.Trust.UNTRUSTED, r.Trust.TRUSTED),
        ("nobody.knows", "trusted", r.Trust.UNTRUSTED, r.Trust.TRUSTED),
    ],
)
def test_the_label_is_the_registrys_and_a_caller_may_only_lower_it(
    tool: str, trust: str | None, label: r.Trust, refers: r.Trust
) -> None:
    world = new_world()
    item = {"tool": tool, "output": "x"} | ({"trust": trust} if trust else {})
    with_history(world, [item])
    (outcome,) = world.of_type(r.ToolOutcome)
    (request,) = world.of_type(r.AgentRequest)
    assert outcome.registry_label is label
    assert request.outcome_refs[0].trust is refers
    assert outcome.voucher is r.Voucher.NOBODY


def test_a_trusted_sdk_vouches_for_outputs() -> None:
    world = new_world()
    with_history(world, [{"tool": "files.read", "output": "x"}], agent="sdk")
    (outcome,) = world.of_type(r.ToolOutcome)
    assert outcome.voucher is r.Voucher.SDK


def test_an_output_that_is_no_text_is_kept_canonically() -> None:
    world = new_world()
    with_history(world, [{"tool": "files.read", "output": {"b": 1.50, "a": [True, None]}}])
    (outcome,) = world.of_type(r.ToolOutcome)
    assert open_section(outcome.section) == b'{"a":[true,null],"b":1.5}'


def test_a_big_output_travels_in_chunks_before_the_outcome_that_names_them() -> None:
    world = new_world()
    text = "".join(f"{i:07d}\n" for i in range(15_000))
    (reply,) = with_history(world, [{"tool": "files.read", "output": text}])
    assert reply.json["action"] == "allow"
    made = [x for _, x in world.requests("alice")]
    assert [type(x).__name__ for x in made] == [*["Chunk"] * 3, "ToolOutcome", "AgentRequest"]
    outcome, chunks = made[3], made[:3]
    assert outcome.section.chunks == r.ChunkSet(id=chunks[0].id, count=3, size=len(text))
    assert [x.index for x in chunks] == [0, 1, 2]
    body = b"".join(x.body for x in chunks)
    assert open_section(outcome.section, body) == text.encode()
    assert all(len(rec.value or b"") <= 60_000 for rec, _ in world.requests())


@pytest.mark.parametrize(("task", "argument"), [(40_000, 40_000), (300_000, 10), (10, 200_000)])
def test_a_request_that_does_not_fit_its_record_travels_in_chunks(task: int, argument: int) -> None:
    world = new_world()

    async def scenario() -> Reply:
        async with running(world) as caller:
            return await caller.ask(
                parameters={"a": "y" * argument}, context={"userTask": "x" * task}
            )

    with deciding(world):
        assert asyncio.run(scenario()).json["action"] == "allow"
    (request,) = world.of_type(r.AgentRequest)
    bodies = {}
    for section in request.sections:
        parts = [
            c.body for c in world.of_type(r.Chunk) if section.chunks and c.id == section.chunks.id
        ]
        bodies[section.name] = open_section(section, b"".join(parts) if section.chunks else None)
    assert bodies[r.SectionName.TASK] == b"x" * task
    assert bodies[r.SectionName.PARAMETERS] == b'{"a":"' + b"y" * argument + b'"}'
    assert all(len(rec.value or b"") <= 60_000 for rec, _ in world.requests())


# -- POST /v1/outcomes ---------------------------------------------------------------------------


def report(world: World, **members: Any) -> tuple[Reply, Reply]:
    async def scenario() -> tuple[Reply, Reply]:
        async with running(world) as caller:
            first = await caller.ask()
            body = {"requestId": first.json["requestId"], "status": "ok", **members}
            return first, await caller.post("/v1/outcomes", body)

    with deciding(world):
        return asyncio.run(scenario())


def test_an_outcome_is_acknowledged_once_the_log_has_it() -> None:
    world = new_world()
    asked, reply = report(world, output="the text")
    assert reply.status == 202
    (outcome,) = world.of_type(r.ToolOutcome)
    assert reply.json["outcomeId"] == outcome.outcome_id.hex()
    assert outcome.request_offset == asked.json["auditMetadata"]["offset"]
    assert (outcome.tool, outcome.session_id) == ("files.read", "s-1")
    assert (outcome.registry_label, outcome.status) == (r.Trust.TRUSTED, r.OutcomeStatus.OK)
    assert open_section(outcome.section) == b"the text"


def test_a_digest_may_stand_for_an_output_that_the_caller_keeps() -> None:
    world = new_world()
    _, reply = report(world, digest="ab" * 32, status="error")
    assert reply.status == 202
    (outcome,) = world.of_type(r.ToolOutcome)
    assert outcome.section.name is r.SectionName.PAYLOAD
    assert outcome.status is r.OutcomeStatus.ERROR


def test_a_reported_output_can_only_be_believed_less() -> None:
    world = new_world()
    _, reply = report(world, output="x", trust="untrusted")
    assert reply.json["trust"] == "untrusted"


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"output": "x", "digest": "ab" * 32},
        {"output": "x", "status": "maybe"},
        {"output": "x", "toolName": "mail.send"},
        {"output": "x", "sessionId": "s-2"},
        {"output": "x", "requestId": "01a210ac-db3d-750c-bcdf-74b2fea8849d"},
        {"output": "x", "requestOffset": -1},
        {"output": "x", "requestOffset": 2**63},
        {"output": "x", "extra": 1},
    ],
)
def test_an_outcome_outside_the_shape_is_400(members: dict[str, Any]) -> None:
    world = new_world()
    _, reply = report(world, **members)
    assert (reply.status, reply.json["action"]) == (400, "deny")
    assert world.of_type(r.ToolOutcome) == []


def test_an_outcome_of_another_gateways_request_names_its_offset_itself() -> None:
    world = new_world()
    _, reply = report(
        world,
        requestId="01a210ac-db3d-750c-bcdf-74b2fea8849d",
        toolName="files.read",
        sessionId="s-9",
        requestOffset=17,
        output="x",
    )
    assert reply.status == 202
    (outcome,) = world.of_type(r.ToolOutcome)
    assert (outcome.request_offset, outcome.session_id) == (17, "s-9")


def test_a_reported_outcome_can_be_referred_to_by_its_id() -> None:
    world = new_world()

    async def scenario() -> None:
        async with running(world) as caller:
            first = await caller.ask()
            body = {"requestId": first.json["requestId"], "status": "ok", "output": "x"}
            made = await caller.post("/v1/outcomes", body)
            item = {"tool": "files.read", "outcomeId": made.json["outcomeId"]}
            await caller.ask(context={"history": [item, {**item, "output": "x"}]})

    with deciding(world):
        asyncio.run(scenario())
    (outcome,) = world.of_type(r.ToolOutcome)
    last = world.of_type(r.AgentRequest)[-1]
    assert [ref.id for ref in last.outcome_refs] == [outcome.outcome_id] * 2


def test_equal_reports_at_once_are_one_record() -> None:
    world = new_world()

    async def scenario() -> list[Reply]:
        async with running(world) as caller:
            first = await caller.ask()
            body = {"requestId": first.json["requestId"], "status": "ok", "output": "x"}
            posts = (caller.post("/v1/outcomes", body) for _ in range(4))
            return list(await asyncio.gather(*posts))

    with deciding(world):
        replies = asyncio.run(scenario())
    assert {x.status for x in replies} == {202}
    assert len(world.of_type(r.ToolOutcome)) == 1


def test_an_outcome_that_the_log_does_not_take_is_not_acknowledged() -> None:
    world = new_world()

    async def scenario() -> Reply:
        async with running(world) as caller:
            first = await caller.ask()
            world.log.inject(lambda at, value: AppendFault.NOT_WRITTEN)
            body = {"requestId": first.json["requestId"], "status": "ok", "output": "x"}
            reply = await caller.post("/v1/outcomes", body)
            world.log.inject(None)
            return reply

    with deciding(world):
        reply = asyncio.run(scenario())
    assert (reply.status, reply.json["code"]) == (503, "unreachable")
    assert place_of("alice") in range(3)
