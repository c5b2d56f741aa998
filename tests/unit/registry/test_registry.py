"""How registrations are made and read."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from agentguard.contracts.commands import Registration, SideEffect
from agentguard.contracts.records import Trust
from agentguard.contracts.strict_json import parse_strict
from agentguard.control.bodies import body_fault
from agentguard.registry import pin_of
from agentguard.registry.agents import (
    CREDENTIAL_BYTES,
    credential_hash,
    is_expired,
    make_agent,
    make_credential,
)
from agentguard.registry.names import RegistrationError
from agentguard.registry.specs import read_spec, read_specs
from agentguard.registry.tools import (
    ToolLabels,
    effect_of,
    has_side_effect,
    is_decisive,
    labels_of,
    make_tool,
    trust_of,
)

SCHEMA = '{"type": "object", "properties": {"to": {"type": "string"}, "amount": {"minimum": 1.50}}}'


def test_pin_ignores_order_and_spaces_of_the_schema_and_nothing_else() -> None:
    other_order = (
        '{"properties":{"amount":{"minimum":1.50},"to":{"type":"string"}},"type":"object"}'
    )
    assert pin_of("pays", SCHEMA) == pin_of("pays", other_order)
    assert pin_of("pays", SCHEMA) != pin_of("pays", SCHEMA.replace("1.50", "1.5"))
    assert pin_of("pays", SCHEMA) != pin_of("Pays", SCHEMA)
    assert pin_of("a", "") != pin_of("", "")


def test_text_cannot_move_between_description_and_schema_under_one_pin() -> None:
    assert pin_of("x{}", "") != pin_of("x", "{}")


@pytest.mark.parametrize("schema", ["[]", "{", '{"a":1,"a":2}', '{"a":NaN}', "\ud800"])
def test_schema_that_is_no_strict_object_is_refused(schema: str) -> None:
    with pytest.raises(RegistrationError):
        make_tool("pay", schema_json=schema)


def test_unlabelled_tool_writes_decides_by_everything_and_is_not_believed() -> None:
    tool = make_tool("pay", schema_json=SCHEMA)
    assert effect_of(tool) is SideEffect.WRITE
    assert has_side_effect(tool)
    assert tool.decisive_arguments == ("amount", "to")
    assert trust_of(tool) is Trust.UNTRUSTED
    assert body_fault(tool) == ""


def test_tool_without_a_schema_decides_by_every_argument() -> None:
    tool = make_tool("pay")
    assert tool.decisive_arguments == ()
    assert is_decisive(tool, "anything")


def test_schema_with_more_arguments_than_can_be_listed_decides_by_every_argument() -> None:
    properties = ",".join(f'"a{n}":{{}}' for n in range(65))
    tool = make_tool("pay", schema_json=f'{{"properties":{{{properties}}}}}')
    assert (tool.decisive_arguments, is_decisive(tool, "a64")) == ((), True)


def test_labels_said_are_kept() -> None:
    labels = ToolLabels(
        side_effect=SideEffect.READ, decisive_arguments=("to",), output_trust=Trust.TRUSTED
    )
    tool = make_tool("read", schema_json=SCHEMA, labels=labels)
    assert (effect_of(tool), has_side_effect(tool)) == (SideEffect.READ, False)
    assert [is_decisive(tool, a) for a in ("to", "amount")] == [True, False]
    assert trust_of(tool) is Trust.TRUSTED
    assert labels_of(tool) == labels


@pytest.mark.parametrize("status", [s for s in Registration if s is not Registration.ENABLED])
def test_tool_that_is_not_enabled_is_not_believed(status: Registration) -> None:
    tool = make_tool("read", labels=ToolLabels(output_trust=Trust.TRUSTED, status=status))
    assert trust_of(tool) is Trust.UNTRUSTED
    assert trust_of(None) is Trust.UNTRUSTED
    unknown = make_tool("read", labels=ToolLabels(output_trust=Trust.UNKNOWN))
    assert trust_of(unknown) is Trust.UNTRUSTED


@pytest.mark.parametrize("name", ["", "a|b", " a", "a\n", "x" * 201])
def test_name_out_of_shape_is_refused(name: str) -> None:
    with pytest.raises(RegistrationError):
        make_tool(name)
    with pytest.raises(RegistrationError):
        make_tool("pay", tenant=name)
    with pytest.raises(RegistrationError):
        make_agent(name, tenant="default", credential=make_credential(bytes(CREDENTIAL_BYTES)))


def test_credential_has_the_documented_shape_and_its_id_holds_no_separator() -> None:
    for filler in (b"\x00", b"\xff", b"\x5a"):
        credential = make_credential(filler * CREDENTIAL_BYTES)
        assert re.fullmatch(r"agk_[a-z2-7]{8}_[A-Za-z0-9_-]{43}", credential.token)
        assert credential.token.split("_", 2)[1] == credential.id
        assert credential.sha256 == credential_hash(credential.token)
        assert credential.token not in repr(credential)


def test_credential_is_made_of_enough_randomness() -> None:
    with pytest.raises(RegistrationError):
        make_credential(bytes(CREDENTIAL_BYTES - 1))


def test_agent_carries_the_hash_and_never_the_credential() -> None:
    credential = make_credential(b"\x07" * CREDENTIAL_BYTES)
    agent = make_agent("mail", tenant="default", credential=credential)
    assert body_fault(agent) == ""
    assert agent.credential_hash == credential.sha256
    assert credential.token not in repr(agent)


def test_agent_expires_at_its_time_and_0_never() -> None:
    agent = make_agent(
        "mail", tenant="default", credential=make_credential(bytes(CREDENTIAL_BYTES))
    )
    assert not is_expired(agent, 2**60)
    ends = replace(agent, expires_at_ms=10)
    assert [is_expired(ends, now) for now in (9, 10)] == [False, True]


def test_file_of_tools_is_read_with_careful_defaults() -> None:
    listed = parse_strict(
        b'{"tools":[{"name":"pay","schema":{"properties":{"to":{}}},"side_effect":"pay",'
        b'"extractors":{"to":"recipient"}},{"name":"read","tenant":"other"}]}'
    )
    pay, read = read_specs(listed, tenant="default")
    assert (pay.tenant, pay.side_effect, pay.decisive_arguments) == (
        "default",
        SideEffect.PAY,
        ("to",),
    )
    assert [(e.argument, e.extractor) for e in pay.extractors] == [("to", "recipient")]
    assert (read.tenant, effect_of(read)) == ("other", SideEffect.WRITE)
    assert pay.pin == pin_of("", '{"properties":{"to":{}}}')


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b"{}",
        b"1",
        b'[{"description":"no name"}]',
        b'[{"name":"a","sideeffect":"read"}]',
        b'[{"name":"a","side_effect":"reads"}]',
        b'[{"name":"a","schema":"text"}]',
        b'[{"name":"a"},{"name":"a"}]',
        b'[{"name":"a|b"}]',
        b"[1]",
    ],
)
def test_file_of_tools_with_a_mistake_is_refused_whole(text: bytes) -> None:
    with pytest.raises(RegistrationError):
        read_specs(parse_strict(text), tenant="default")


def test_single_tool_of_a_file_is_read() -> None:
    tool = read_spec(parse_strict(b'{"name":"pay","description":"pays"}'), tenant="default")
    assert (tool.tool, tool.pin) == ("pay", pin_of("pays", ""))
