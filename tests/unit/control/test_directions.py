"""The table of directions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentguard.contracts.commands import (
    CommandType,
    KeyPurpose,
    RegisterKey,
    Registration,
    Semantics,
    SideEffect,
)
from agentguard.contracts.records import Trust
from agentguard.control.directions import DIRECTIONS, Direction, direction
from tests.control_world import World, agent, key, kill, lift, release, tool


def test_every_type_is_in_the_table() -> None:
    assert set(DIRECTIONS) == set(CommandType)


def test_what_is_not_in_the_table_is_looser() -> None:
    fold = World().fold
    assert direction("Exemption", kill(), fold) is Direction.LOOSER


def test_type_with_a_body_of_another_type_is_looser() -> None:
    fold = World().fold
    for kind in (CommandType.REGISTER_AGENT, CommandType.REGISTER_TOOL, CommandType.REGISTER_KEY):
        assert direction(kind, kill(), fold) is Direction.LOOSER


def test_kill_tightens_and_lift_and_release_and_semantics_loosen() -> None:
    fold = World().fold
    assert direction("Kill", kill(), fold) is Direction.STRICTER
    assert direction("Lift", lift(), fold) is Direction.LOOSER
    assert direction("ActivateRelease", release(), fold) is Direction.LOOSER
    assert direction("Semantics", Semantics(number=1, schemas=()), fold) is Direction.LOOSER


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (Registration.PENDING, Direction.NEUTRAL),
        (Registration.ENABLED, Direction.LOOSER),
        (Registration.BLOCKED, Direction.STRICTER),
        (Registration.UNKNOWN, Direction.LOOSER),
    ],
)
def test_first_registration_goes_by_its_status(status: Registration, expected: Direction) -> None:
    fold = World().fold
    assert direction("RegisterAgent", agent(status=status), fold) is expected
    assert direction("RegisterTool", tool(status=status), fold) is expected


@pytest.mark.parametrize(
    "change",
    [
        {"side_effect": SideEffect.READ},
        {"categories": ("public",)},
        {"output_trust": Trust.TRUSTED},
        {"decisive_arguments": ("subject",)},
        {"description": "sends a letter"},
        {"scopes": ("mail.send",)},
    ],
)
def test_pending_registration_that_changes_a_label_is_looser(change: dict[str, object]) -> None:
    world = World()
    assert world.do(tool(), "ada", "bo").accepted
    fold = world.fold
    same = tool(status=Registration.PENDING)
    assert direction("RegisterTool", same, fold) is Direction.NEUTRAL
    changed = replace(same, **change)  # type: ignore[arg-type]
    assert direction("RegisterTool", changed, fold) is Direction.LOOSER


@pytest.mark.parametrize(
    "change",
    [{"roles": ("admin",)}, {"credential_hash": bytes(32)}, {"capabilities": ("x",)},
     {"risk_profile": "low"}, {"expires_at_ms": 1}],
)  # fmt: skip
def test_pending_agent_that_changes_what_is_read_of_it_is_looser(
    change: dict[str, object],
) -> None:
    world = World()
    assert world.do(agent(), "ada", "bo").accepted
    fold = world.fold
    same = agent(status=Registration.PENDING, owner="other", version="2")
    assert direction("RegisterAgent", same, fold) is Direction.NEUTRAL
    changed = replace(same, **change)  # type: ignore[arg-type]
    assert direction("RegisterAgent", changed, fold) is Direction.LOOSER


def test_block_changes_the_status_and_nothing_else() -> None:
    world = World()
    assert world.do(tool(), "ada", "bo").accepted
    assert world.do(agent(), "ada", "bo").accepted
    smuggled = tool(status=Registration.BLOCKED, output_trust=Trust.TRUSTED)
    assert world.do(smuggled, "ada").accepted
    assert world.fold.tool("default", "send") == tool(status=Registration.BLOCKED)
    stolen = agent(status=Registration.BLOCKED, credential_hash=bytes(32), roles=("admin",))
    assert world.do(stolen, "ada").accepted
    assert world.fold.agent("default", "mail") == agent(status=Registration.BLOCKED)
    assert world.fold.agent_by_credential(bytes(32)) is None


def test_enabling_after_a_block_takes_two() -> None:
    world = World()
    assert world.do(agent(status=Registration.BLOCKED), "ada").accepted
    assert world.do(agent(status=Registration.PENDING), "ada").accepted
    assert world.do(agent(), "ada").code == "not_enough_persons"
    assert world.do(agent(), "ada", "bo").accepted


def test_new_key_is_looser_and_a_spare_one_leaves_with_one_person() -> None:
    three = World(("ada", "bo", "cyd"))
    join = RegisterKey(key=key("dee"), revoked=False)
    assert direction("RegisterKey", join, three.fold) is Direction.LOOSER
    leave = RegisterKey(key=key("cyd"), revoked=True)
    assert direction("RegisterKey", leave, three.fold) is Direction.STRICTER


def test_revocation_that_leaves_too_few_persons_takes_two() -> None:
    world = World()
    leave = RegisterKey(key=key("bo"), revoked=True)
    assert world.do(leave, "ada").code == "not_enough_persons"
    assert world.do(leave, "control").code == "not_enough_persons"
    assert world.do(leave, "ada", "bo").accepted
    assert world.fold.persons() == {"ada"}


def test_second_key_of_a_person_and_keys_of_machines_leave_with_one() -> None:
    world = World()
    second = replace(key("bo-2"), person="bo")
    assert world.do(RegisterKey(key=second, revoked=False), "ada", "bo").accepted
    assert world.do(RegisterKey(key=second, revoked=True), "ada").accepted
    sealing = key("sealing", KeyPurpose.SEALING)
    assert world.fold.sealing_key() == sealing
    assert world.do(RegisterKey(key=sealing, revoked=True), "ada").accepted
    assert world.fold.sealing_key() is None
