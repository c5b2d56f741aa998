"""Kills over targets and times."""

from __future__ import annotations

import pytest

from agentguard.bounds import KILL_SPANS_PER_TARGET_MAX
from agentguard.contracts.commands import Kill, TargetKind
from tests.control_world import World, kill, lift


@pytest.mark.parametrize(
    ("body", "who"),
    [
        (kill(TargetKind.GLOBAL, "", ""), {}),
        (kill(TargetKind.TENANT, ""), {"tenant": "default"}),
        (kill(TargetKind.AGENT, "mail"), {"agent_id": "mail"}),
        (kill(TargetKind.USER, "u-1"), {"user": "u-1"}),
        (kill(TargetKind.SESSION, "s-1"), {"session_id": "s-1"}),
        (kill(TargetKind.TOOL, "send"), {"tool": "send"}),
        (kill(TargetKind.RELEASE, "1", ""), {"release": 1}),
    ],
)
def test_kill_covers_its_kind_and_nothing_beside_it(body: Kill, who: dict[str, object]) -> None:
    world = World()
    assert not world.is_killed(**who)
    assert world.do(body, "ada").accepted
    assert world.is_killed(**who)
    elsewhere: dict[str, object] = {
        "agent_id": "x", "user": "x", "session_id": "x", "tool": "x", "release": 2,
    }  # fmt: skip
    wide = body.kind in {TargetKind.GLOBAL, TargetKind.TENANT}
    assert world.is_killed(**elsewhere) is wide
    far = world.is_killed(**{**who, "tenant": "other"})
    assert far is (body.kind in {TargetKind.GLOBAL, TargetKind.RELEASE})


@pytest.mark.parametrize(
    "body",
    [
        kill(TargetKind.GLOBAL, "x", ""),
        kill(TargetKind.GLOBAL, "", "default"),
        kill(TargetKind.TENANT, "x"),
        kill(TargetKind.TENANT, "", ""),
        kill(TargetKind.AGENT, ""),
        kill(TargetKind.AGENT, "mail", ""),
        kill(TargetKind.SESSION, "x" * 201),
        kill(TargetKind.RELEASE, "01", ""),
        kill(TargetKind.RELEASE, "-1", ""),
        kill(TargetKind.RELEASE, "1", "default"),
        kill(TargetKind.RELEASE, "1" * 20, ""),
        kill(TargetKind.UNKNOWN, "x"),
    ],
)
def test_kill_without_a_clear_target_is_malformed(body: Kill) -> None:
    assert World().do(body, "ada").code == "malformed_body"


def test_kill_stands_from_its_beginning_until_before_its_end() -> None:
    world = World()
    assert world.do(kill(), "ada", not_before_ms=10, not_after_ms=20).accepted
    assert [world.is_killed(t) for t in (9, 10, 19, 20)] == [False, True, True, False]


def test_shorter_kill_never_replaces_a_longer_one() -> None:
    world = World()
    assert world.do(kill(), "ada").accepted
    assert world.do(kill(), "bo", not_after_ms=20).accepted
    assert world.is_killed(1_000_000)
    assert len(list(world.fold.kills())) == 1


def test_longer_kill_takes_the_place_of_a_shorter_one() -> None:
    world = World()
    assert world.do(kill(), "ada", not_before_ms=10, not_after_ms=20).accepted
    assert world.do(kill(), "bo", not_before_ms=5, not_after_ms=30).accepted
    assert [(k.start_ms, k.end_ms) for k in world.fold.kills()] == [(5, 30)]


def test_kills_of_separate_times_all_stand() -> None:
    world = World()
    assert world.do(kill(), "ada", not_before_ms=10, not_after_ms=20).accepted
    assert world.do(kill(), "ada", not_before_ms=40, not_after_ms=50).accepted
    assert [world.is_killed(t) for t in (15, 30, 45)] == [True, False, True]


def test_lift_takes_only_its_own_interval_away() -> None:
    world = World()
    assert world.do(kill(), "ada").accepted
    assert world.do(lift(), "ada", "bo", not_before_ms=10, not_after_ms=20).accepted
    assert [world.is_killed(t) for t in (9, 10, 19, 20, 10**15)] == [
        True, False, False, True, True,
    ]  # fmt: skip
    assert world.do(lift(), "ada", "bo").accepted
    assert not any(world.is_killed(t) for t in (0, 9, 20, 10**15))
    assert list(world.fold.kills()) == []


def test_kill_after_a_lift_stands_again() -> None:
    world = World()
    assert world.do(kill(), "ada").accepted
    assert world.do(lift(), "ada", "bo").accepted
    assert world.do(kill(), "ada").accepted
    assert world.is_killed()


def test_lift_of_one_target_leaves_the_others() -> None:
    world = World()
    assert world.do(kill(target="mail"), "ada").accepted
    assert world.do(kill(target="other"), "ada").accepted
    assert world.do(lift(target="other"), "ada", "bo").accepted
    assert world.is_killed(agent_id="mail")
    assert not world.is_killed(agent_id="other")


def test_more_kills_than_the_bound_grow_into_one_and_loosen_nothing() -> None:
    world = World()
    times = range(0, 20 * (KILL_SPANS_PER_TARGET_MAX + 1), 20)
    for start in times:
        done = world.do(kill(), "ada", not_before_ms=start, not_after_ms=start + 10)
        assert done.accepted
    assert len(list(world.fold.kills())) == 1
    assert all(world.is_killed(t) for t in range(times[0], times[-1] + 10))
    assert not world.is_killed(times[-1] + 10)
