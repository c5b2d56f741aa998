"""Feature: ai-agent-security-platform, Property 23: Bounded Everything.

Whatever size, depth or number a caller sends: what is above a named bound is denied and leaves no
request on the log, what is below is decided, and no record is larger than a proof can carry.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentguard.bounds import (
    HISTORY_ITEMS_MAX,
    JSON_DEPTH_MAX,
    NAME_CHARS_MAX,
    RECORD_BYTES_MAX,
    REQUEST_BYTES_MAX,
)
from agentguard.contracts import records as r
from agentguard.contracts.sections import open_section
from agentguard.gateway.reading import BodyMeter
from tests.gateway.world import Reply, World, deciding, new_world, running

pytestmark = pytest.mark.slow

MUTANTS = [
    ("agentguard.contracts.strict_json._check_depth", lambda text: None),
    ("agentguard.gateway.reading._bounded", lambda body: body),
    (
        "agentguard.gateway.compose.Composer._section",
        lambda self, name, text, salt, *, is_apart=False: (_inline(name, text, salt), ()),
    ),
]


def _inline(name: r.SectionName, text: bytes, salt: bytes) -> r.Section:
    """A defect: a section is never cut into chunks."""
    from agentguard.contracts.sections import make_section

    return make_section(name, text, salt)


# sizes in kB around what a section, a record and a body may hold
sizes = st.sampled_from([0, 1, 20, 30, 47, 49, 60, 100, 500, 1_000, 1_030, 1_100])


@given(
    task=sizes,
    argument=sizes,
    outputs=st.lists(st.sampled_from([0, 1, 50, 400]), max_size=4),
    items=st.sampled_from([0, 1, HISTORY_ITEMS_MAX, HISTORY_ITEMS_MAX + 1]),
    depth=st.sampled_from([0, 3, 25, JSON_DEPTH_MAX - 2, JSON_DEPTH_MAX - 1, 200, 100_000]),
    name=st.sampled_from([1, NAME_CHARS_MAX, NAME_CHARS_MAX + 1, 5_000]),
    pieces=st.sampled_from([1, 2, 7]),
)
@example(task=49, argument=0, outputs=[], items=0, depth=0, name=1, pieces=1)
@example(task=1_100, argument=0, outputs=[], items=0, depth=0, name=1, pieces=1)
def test_above_a_bound_is_deny_and_below_it_every_record_fits(
    task: int, argument: int, outputs: list[int], items: int, depth: int, name: int, pieces: int
) -> None:
    history: list[dict[str, Any]] = [
        {"tool": "t" * name, "output": "o" * (size * 1_000) + str(i)}
        for i, size in enumerate(outputs)
    ]
    history += [{"tool": "files.read", "output": str(i)} for i in range(items)]
    text = "x" * (task * 1_000)
    values = {"a": "y" * (argument * 1_000)}
    raw = _body(text, values, history, depth)
    world = new_world(timeout_ms=10_000)
    reply, meter = _call(world, raw, pieces)
    assert meter.held_bytes == 0
    assert all(len(record.value or b"") <= RECORD_BYTES_MAX for record, _ in world.requests())
    is_too_large = len(raw) > REQUEST_BYTES_MAX
    is_outside = (
        depth + 1 > JSON_DEPTH_MAX
        or len(history) > HISTORY_ITEMS_MAX
        or (bool(outputs) and name > NAME_CHARS_MAX)
    )
    asked = world.of_type(r.AgentRequest)
    if is_too_large or is_outside:
        assert asked == []
        assert reply.json["action"] == "deny"
        assert reply.status == (413 if is_too_large else 400)
        return
    assert reply.json["action"] == "allow"
    (request,) = asked
    assert _plaintext(world, request.sections[0]) == text.encode()
    assert len(request.outcome_refs) == len(history)


def _body(text: str, values: dict[str, Any], history: list[dict[str, Any]], depth: int) -> bytes:
    """A request whose parameters nest so deep that its innermost bracket is at `depth + 1`."""
    body = {
        "agentId": "alice",
        "toolName": "files.read",
        "parameters": {**values, "deep": "@"},
        "context": {"userTask": text, "sessionId": "s-1", "history": history},
    }
    opened = max(depth - 1, 0)
    return json.dumps(body).encode().replace(b'"@"', b"[" * opened + b"1" + b"]" * opened)


def _call(world: World, raw: bytes, pieces: int) -> tuple[Reply, BodyMeter]:
    meters: list[BodyMeter] = []

    class Watched(BodyMeter):
        def __init__(self) -> None:
            super().__init__()
            meters.append(self)

    async def scenario() -> Reply:
        async with running(world) as caller:
            step = max(1, -(-len(raw) // pieces))
            parts = [raw[i : i + step] for i in range(0, len(raw), step)]
            return await caller.post("/v1/decisions", b"", parts=parts)

    with (
        patch("agentguard.gateway.running.BodyMeter", Watched),
        patch("agentguard.gateway.decisions_feed.READ_MS", 2),
        deciding(world, wait_ms=2),
    ):
        reply = asyncio.run(scenario())
    return reply, meters[0]


def _plaintext(world: World, section: r.Section) -> bytes:
    if section.chunks is None:
        return open_section(section)
    parts = [c.body for c in world.of_type(r.Chunk) if c.id == section.chunks.id]
    return open_section(section, b"".join(parts))
