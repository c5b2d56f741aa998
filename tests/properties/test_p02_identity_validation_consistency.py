"""Feature: ai-agent-security-platform, Property 2: Identity Validation Consistency.

No record reaches the requests topic under an agent that the caller did not prove, whatever the
headers and the body claim; and an agent that may not act gets no allow, each with its own code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from agentguard.contracts import records as r
from agentguard.gateway import callers
from agentguard.gateway.reading import Headers
from tests.gateway.world import (
    AGENTS,
    TENANT,
    Reply,
    World,
    ask_body,
    deciding,
    new_world,
    running,
    signed_set,
)

MAY_NOT_ACT = {"frozen": "agent_not_enabled", "expired": "agent_expired"}
NAMES = sorted(AGENTS)


def _first_header_wins(
    headers: Headers, fold: object, *, partitions: int, metrics: object
) -> object:
    """A defect: several authorization headers are no reason to refuse."""
    given = [v for n, v in headers if n == b"authorization"][:1]
    return _prove(
        [(b"authorization", v) for v in given], fold, partitions=partitions, metrics=metrics
    )  # type: ignore[arg-type]


def _any_agent(caller: object, *, agent_id: str, tenant: object, metrics: object) -> None:
    """A defect: the body may name whom it likes."""


_prove = callers.prove
MUTANTS = [
    ("agentguard.gateway.callers.prove", _first_header_wins),
    ("agentguard.gateway.callers.check_claims", _any_agent),
    ("agentguard.gateway.enforce.takeback", lambda *_, **__: None),
]

credentials = st.one_of(
    st.sampled_from(NAMES).map(lambda name: [name]),
    st.just([]),
    st.lists(st.sampled_from(NAMES), min_size=2, max_size=2),
    st.binary(max_size=60).map(lambda raw: [raw]),
    st.tuples(st.sampled_from(NAMES), st.integers(0, 55), st.integers(1, 255)).map(lambda x: [x]),
)


def values_of(world: World, given: Sequence[object]) -> list[bytes]:
    """Returns the authorization headers: whole credentials, junk, or one with a byte changed."""
    out = []
    for item in given:
        if isinstance(item, bytes):
            out.append(item)
        elif isinstance(item, str):
            out.append(b"Bearer " + world.token(item).encode())
        else:
            name, place, change = item  # type: ignore[misc]
            token = bytearray(world.token(name).encode())
            token[place % len(token)] ^= change
            out.append(b"Bearer " + bytes(token))
    return out


def one_call(world: World, values: Sequence[bytes], body: object) -> Reply:
    async def scenario() -> Reply:
        async with running(world) as caller:
            headers = [(b"content-type", b"application/json")]
            headers += [(b"authorization", value) for value in values]
            return await caller.post("/v1/decisions", body, headers=headers)

    with patch("agentguard.gateway.decisions_feed.READ_MS", 2), deciding(world, wait_ms=2):
        return asyncio.run(scenario())


@given(
    given_credentials=credentials,
    claimed=st.sampled_from(NAMES),
    tenant=st.sampled_from([None, TENANT, "other"]),
)
def test_no_record_names_an_agent_that_the_caller_did_not_prove(
    given_credentials: list[object], claimed: str, tenant: str | None
) -> None:
    world = new_world()
    context = {} if tenant is None else {"tenant": tenant}
    values = values_of(world, given_credentials)
    reply = one_call(world, values, ask_body(claimed, context=context))
    tokens = {b"Bearer " + c.token.encode(): n for n, c in signed_set().credentials.items()}
    proved = tokens.get(values[0]) if len(values) == 1 else None
    named = {x.agent_id for _, x in world.requests() if getattr(x, "agent_id", "")}
    assert named <= {proved}
    asked = world.of_type(r.AgentRequest)
    if proved == claimed and tenant != "other":
        assert [x.agent_id for x in asked] == [proved]
        if claimed in MAY_NOT_ACT:
            assert (reply.json["action"], reply.json["code"]) == ("deny", MAY_NOT_ACT[claimed])
        else:
            assert reply.json["action"] == "allow"
    else:
        assert asked == []
        assert reply.json["action"] == "deny"
        expected = 400 if proved == claimed else 401
        assert reply.status == expected
