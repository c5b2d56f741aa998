"""Bodies that nobody's signature can save."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentguard.contracts.commands import (
    ArgumentExtractor,
    Assurance,
    CommandBody,
    NewGeneration,
    RegisterAgent,
    Registration,
    ReleaseMode,
    SealedTopic,
    SealedTopics,
    Semantics,
    VoidDigest,
)
from agentguard.contracts.hashing import tool_pin
from agentguard.control.bodies import body_fault
from tests.control_world import agent, genesis_body, kill, release, tool

MANY = tuple(f"n-{n}" for n in range(65))
TOPIC = SealedTopic(topic="ag.requests", topic_id="id", partitions=12)
GENERATION = NewGeneration(
    topic="ag.requests",
    topic_id="id",
    partition=0,
    generation=1,
    first_offset=5,
    old_size=9,
    old_root=bytes(32),
    survivors_root=bytes(32),
)
GENESIS = genesis_body()


def schema(text: str) -> dict[str, object]:
    return {"schema_json": text, "pin": tool_pin("sends a mail", text)}


@pytest.mark.parametrize(
    "body",
    [
        agent(status=Registration.UNKNOWN),
        agent(tenant=""),
        agent("a|b"),
        agent(tenant="a|b"),
        agent(credential_hash=bytes(31)),
        agent(credential_hash=b""),
        agent(credential_id="short"),
        agent(expires_at_ms=-1),
        agent(roles=MANY),
        agent(roles=("a", "a")),
        agent(capabilities=("a\n",)),
        agent(owner="x" * 1_001),
        tool(status=Registration.UNKNOWN),
        tool("a|b"),
        tool(tenant="a|b"),
        tool(pin=bytes(32)),
        tool(description="another text under the same pin"),
        tool(**schema("[]")),
        tool(**schema("{")),
        tool(**schema('{"a":1,"a":2}')),
        tool(decisive_arguments=("",)),
        tool(decisive_arguments=("to", "to")),
        tool(decisive_arguments=MANY),
        tool(categories=("a|b",)),
        tool(extractors=(ArgumentExtractor(argument="to", extractor=""),)),
        tool(extractors=(ArgumentExtractor(argument="", extractor="recipient"),)),
        tool(operation="x" * 1_001),
        replace(kill(), reason="x" * 1_001),
        release(0),
        release(mode=ReleaseMode.UNKNOWN),
        release(expires_at_ms=-1),
        release(rollback_of=-1),
        replace(GENERATION, generation=0),
        replace(GENERATION, first_offset=10),
        replace(GENERATION, partition=-1),
        replace(GENERATION, topic_id=""),
        VoidDigest(at_offset=1, reason=""),
        VoidDigest(at_offset=1_000, reason="x" * 1_001),
        SealedTopics(topics=()),
        SealedTopics(topics=(TOPIC, TOPIC)),
        SealedTopics(topics=(replace(TOPIC, partitions=0),)),
        SealedTopics(topics=(replace(TOPIC, topic_id=""),)),
        Semantics(number=0, schemas=()),
        Semantics(number=1, schemas=(GENESIS.schemas[0], GENESIS.schemas[0])),
        Semantics(number=1, schemas=(replace(GENESIS.schemas[0], name=""),)),
        replace(GENESIS, semantics=2),
        replace(GENESIS, schemas=()),
        replace(GENESIS, assurance=Assurance.UNKNOWN),
        replace(GENESIS, persons=("ada",)),
        replace(GENESIS, persons=("ada", "bo", "ada")),
        replace(GENESIS, keys=(*GENESIS.keys, GENESIS.keys[0])),
        replace(GENESIS, recovery=replace(GENESIS.recovery, keys=GENESIS.keys[:1])),
        replace(GENESIS, audit_domain="x" * 1_001),
    ],
)
def test_body_out_of_shape_has_a_fault(body: CommandBody) -> None:
    assert body_fault(body) != ""


@pytest.mark.parametrize(
    "body",
    [
        agent(),
        agent(credential_hash=b"", credential_id=""),
        tool(),
        tool(**schema("")),
        tool(extractors=(ArgumentExtractor(argument="to", extractor="recipient"),)),
        tool(decisive_arguments=("any text | is an argument name\n",)),
        kill(),
        release(),
        GENERATION,
        SealedTopics(topics=(TOPIC,)),
        Semantics(number=1, schemas=GENESIS.schemas),
        VoidDigest(at_offset=1_000, reason=""),
        GENESIS,
    ],
)
def test_body_in_shape_has_no_fault(body: CommandBody) -> None:
    assert body_fault(body) == ""


def test_longest_texts_still_fit() -> None:
    body: RegisterAgent = agent("x" * 200, owner="x" * 1_000, roles=MANY[:64])
    assert body_fault(body) == ""
