"""The fold over the log: order, chain, digests, and what it knows."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from hashlib import sha256

import pytest

from agentguard.contracts.commands import Registration, StateDigest, VoidDigest
from agentguard.contracts.hashing import chain_next, leaf_hash
from agentguard.control.fold import CHAIN_START, ControlFold, ControlHoleError
from tests.control_world import (
    CODEC,
    VERIFIER,
    World,
    agent,
    command,
    digest_of,
    genesis_value,
    kill,
    lift,
    release,
    tool,
)


def test_hole_and_repetition_stop_the_fold() -> None:
    world = World()
    for offset in (0, 2, 7):
        with pytest.raises(ControlHoleError):
            world.fold.apply(offset, command(kill(), "ada"))
    assert world.fold.folded == 0


def test_chain_is_over_every_record_rejected_ones_too() -> None:
    world = World()
    values: list[bytes | None] = [genesis_value(), command(kill(), "ada"), b"junk", None]
    for value in values[1:]:
        world.read(value)
    expected = CHAIN_START
    for value in values:
        expected = chain_next(expected, leaf_hash(value))
    assert (world.fold.chain, world.fold.folded) == (expected, 3)


def test_two_folds_of_one_log_agree_to_the_byte() -> None:
    world = World()
    values = [
        command(agent(), "ada", "bo"),
        command(tool(), "ada", "bo"),
        command(kill(), "ada"),
        command(lift(), "ada"),
        b"junk",
        command(release(), "ada", "bo"),
    ]
    other = ControlFold(CODEC, VERIFIER, digest_of(genesis_value()))
    other.apply(0, genesis_value())
    for offset, value in enumerate(values, 1):
        world.read(value)
        other.apply(offset, value)
        assert other.digest() == world.fold.digest()


def test_digest_changes_with_every_accepted_command_and_every_record() -> None:
    world = World()
    seen = {world.fold.digest()}
    for value in (command(kill(), "ada"), command(tool(), "ada", "bo"), b"junk"):
        world.read(value)
        seen.add(world.fold.digest())
    assert len(seen) == 4


def test_registry_answers_by_name_and_by_credential_whatever_the_status() -> None:
    world = World()
    assert world.do(agent(status=Registration.PENDING), "ada").accepted
    assert world.do(tool(), "ada", "bo").accepted
    fold = world.fold
    assert fold.agent("default", "mail") == agent(status=Registration.PENDING)
    assert fold.agent("other", "mail") is None
    assert fold.tool("default", "send") == tool()
    assert fold.tool("default", "else") is None
    found = fold.agent_by_credential(agent().credential_hash)
    assert found == agent(status=Registration.PENDING)
    assert (list(fold.agents()), list(fold.tools())) == ([found], [tool()])


def test_new_credential_retires_the_old_one() -> None:
    world = World()
    assert world.do(agent(), "ada", "bo").accepted
    renewed = agent(credential_hash=sha256(b"new").digest())
    assert world.do(renewed, "ada", "bo").accepted
    assert world.fold.agent_by_credential(agent().credential_hash) is None
    assert world.fold.agent_by_credential(renewed.credential_hash) == renewed
    bare = agent(credential_hash=b"", credential_id="")
    assert world.do(bare, "ada", "bo").accepted
    assert world.fold.agent_by_credential(b"") is None
    assert world.fold.agent("default", "mail") == bare


def test_release_in_force_is_the_highest_that_has_begun_even_expired() -> None:
    world = World()
    fold = world.fold
    assert fold.release(0) is None
    assert not fold.release_expired(10**15)
    first = release(1, expires_at_ms=100)
    second = release(2, first.bundle_digest)
    assert world.do(first, "ada", "bo").accepted
    assert world.do(second, "ada", "bo", not_before_ms=500).accepted
    assert (fold.release(50), fold.release_expired(50)) == (first, False)
    assert (fold.release(100), fold.release_expired(100)) == (first, True)
    assert (fold.release(500), fold.release_expired(500)) == (second, False)
    assert fold.last_release() == second
    assert list(fold.releases()) == [first, second]


def test_thresholds_before_genesis_are_out_of_reach() -> None:
    assert ControlFold(CODEC, VERIFIER, None).thresholds().loosen > 1_000


@cache
def thousand() -> tuple[bytes, ...]:
    """Returns a log of 1,000 records, most of them junk: the digest is due after the last."""
    kills = tuple(command(kill(target=f"a-{n}"), "ada") for n in range(9))
    return (genesis_value(), *kills, *(b"junk %d" % n for n in range(990)))


def world_of_thousand() -> World:
    world = World()
    for value in thousand()[1:]:
        world.read(value)
    assert world.fold.folded == 999
    return world


def test_state_digest_that_agrees_leaves_the_process_ready() -> None:
    world = world_of_thousand()
    own = world.fold.digest()
    assert world.fold.digest_at(1_000) == own
    body = StateDigest(at_offset=1_000, digest=own)
    assert world.do(body, "control").accepted
    assert not world.fold.disagrees


def test_state_digest_that_differs_shows_until_two_people_void_it() -> None:
    world = world_of_thousand()
    assert world.do(StateDigest(at_offset=1_000, digest=bytes(32)), "control").accepted
    assert world.fold.disagrees
    void = VoidDigest(at_offset=1_000, reason="a broken writer")
    assert world.do(void, "ada").code == "not_enough_persons"
    assert world.fold.disagrees
    assert world.do(void, "ada", "bo").accepted
    assert not world.fold.disagrees


def test_right_digest_beside_a_wrong_one_does_not_hide_it() -> None:
    world = world_of_thousand()
    right = StateDigest(at_offset=1_000, digest=world.fold.digest())
    assert world.do(replace(right, digest=bytes(32)), "control").accepted
    assert world.do(right, "control").accepted
    assert world.fold.disagrees


@pytest.mark.parametrize("at_offset", [0, 1, 999, -1_000])
def test_digest_at_anything_but_a_multiple_of_the_step_is_malformed(at_offset: int) -> None:
    body = StateDigest(at_offset=at_offset, digest=bytes(32))
    assert World().do(body, "control").code == "malformed_body"


def test_fold_that_read_other_records_disagrees_with_the_digest() -> None:
    """A reader whose log lost one record and another that did not can never both be ready."""
    world = world_of_thousand()
    other = World()
    for value in (*thousand()[2:], b"something else"):
        other.read(value)
    stated = StateDigest(at_offset=1_000, digest=world.fold.digest())
    assert other.do(stated, "control").accepted
    assert other.fold.disagrees
