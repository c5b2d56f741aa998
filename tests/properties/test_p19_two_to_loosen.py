# SPDX-License-Identifier: Apache-2.0
"""Feature: ai-agent-security-platform, Property 19: Two To Loosen.

Two people set a platform up as they like. Then one of them acts alone, with every key of theirs,
the control plane's and a stranger's, under any scope version and interval, repeating what was
signed before: nothing is allowed afterwards that was not allowed before, and nobody can do more.
The measure of "allowed" is written down here, from what gateway and decide ask of the fold; it
knows nothing of directions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from agentguard.contracts.commands import (
    CommandBody,
    CommandType,
    KeyPurpose,
    NewGeneration,
    RegisterKey,
    Registration,
    ReleaseMode,
    SchemaEntry,
    SealedTopic,
    SealedTopics,
    Semantics,
    SideEffect,
    TargetKind,
)
from agentguard.contracts.records import ControlCommand, Trust
from agentguard.control import bodies, directions, judge, kills, state
from agentguard.control.directions import Direction
from agentguard.control.envelope import make_command
from agentguard.control.fold import ControlFold
from agentguard.control.judge import Signers
from agentguard.control.scopes import scope_of
from tests.control_world import (
    CLUSTER,
    CODEC,
    VERIFIER,
    agent,
    digest_of,
    genesis_value,
    key,
    kill,
    lift,
    named,
    release,
    tool,
)

_count_signers = judge.count_signers


def _counts_signatures(command: ControlCommand, *rest: Any) -> Signers:
    """Two keys of one person count as two persons."""
    found = _count_signers(command, *rest)
    ids = {signature.key_id for signature in command.signatures}
    return dataclasses.replace(found, persons=found.persons and frozenset(ids))


def _lets_control_stand_in(command: ControlCommand, *rest: Any) -> Signers:
    """The control plane's key counts as a person."""
    found = _count_signers(command, *rest)
    extra = {"control plane"} if found.has_control else set()
    return dataclasses.replace(found, persons=found.persons | extra)


def _trusts_all_signatures(command: ControlCommand, keys: Any, verifier: Any) -> Signers:
    """Who is named as signer has signed."""
    persons = {keys[s.key_id].person for s in command.signatures if s.key_id in keys}
    return Signers(persons=frozenset(persons))


def _table_with(kind: CommandType, way: Direction) -> Mapping[CommandType, Any]:
    return {**directions.DIRECTIONS, kind: way}


def _replaces_kill(spans: Any, new: Any) -> Any:
    """The newest kill of a target is the one that counts."""
    return (new,)


MUTANTS = (
    ("agentguard.control.judge.persons_needed", lambda body, way, state: 1),
    ("agentguard.control.judge.is_for_control_key", lambda body, way: True),
    ("agentguard.control.judge.count_signers", _counts_signatures),
    ("agentguard.control.judge.count_signers", _lets_control_stand_in),
    ("agentguard.control.judge.count_signers", _trusts_all_signatures),
    ("agentguard.control.directions.direction", lambda kind, body, state: Direction.NEUTRAL),
    ("agentguard.control.directions.DIRECTIONS", _table_with(CommandType.LIFT, Direction.NEUTRAL)),
    (
        "agentguard.control.directions.DIRECTIONS",
        _table_with(CommandType.REGISTER_KEY, Direction.STRICTER),
    ),
    (
        "agentguard.control.directions.DIRECTIONS",
        _table_with(CommandType.ACTIVATE_RELEASE, Direction.NEUTRAL),
    ),
    (
        "agentguard.control.directions._registration",
        lambda status, same: (
            Direction.LOOSER if status is Registration.ENABLED else Direction.NEUTRAL
        ),
    ),
    ("agentguard.control.state.is_block", lambda body: False),
    ("agentguard.control.kills.add_span", _replaces_kill),
)
_MODULES = (bodies, judge, kills, state)  # loaded before a defect is planted in them

SECOND_KEY = dataclasses.replace(key("ada-2"), person="ada")
AGENTS = ("mail", "pay")
TOOLS = ("send", "read")
TIMES = (0, 50, 150, 10**12)
TOPICS = (SealedTopic(topic="ag.requests", topic_id="id", partitions=12),)
GENERATION = NewGeneration(
    topic="ag.requests",
    topic_id="id",
    partition=0,
    generation=1,
    first_offset=0,
    old_size=9,
    old_root=bytes(32),
    survivors_root=bytes(32),
)


class Act(NamedTuple):
    """A body and the envelope it goes in. `version` None is the one on record."""

    body: CommandBody
    version: int | None = None
    start_ms: int = 0
    end_ms: int = 0


STATUSES = st.sampled_from([s for s in Registration if s is not Registration.UNKNOWN])
AGENT_BODIES = st.builds(
    lambda name, status, roles, holder, expires: agent(
        name,
        status,
        roles=roles,
        credential_hash=agent(holder).credential_hash,
        expires_at_ms=expires,
    ),
    st.sampled_from(AGENTS),
    STATUSES,
    st.sampled_from([(), ("admin",)]),
    st.sampled_from(AGENTS),
    st.sampled_from([0, 100]),
)
TOOL_BODIES = st.builds(
    lambda name, status, effect, trust, decisive: tool(
        name, status, side_effect=effect, output_trust=trust, decisive_arguments=decisive
    ),
    st.sampled_from(TOOLS),
    STATUSES,
    st.sampled_from([SideEffect.SEND, SideEffect.READ]),
    st.sampled_from([Trust.UNTRUSTED, Trust.TRUSTED]),
    st.sampled_from([("to",), ("text",)]),
)
TARGETS = st.sampled_from(
    [
        (TargetKind.GLOBAL, "", ""),
        (TargetKind.AGENT, "mail", "default"),
        (TargetKind.TOOL, "send", "default"),
        (TargetKind.RELEASE, "1", ""),
    ]
)
KILL_ACTS = st.builds(
    lambda target, span, up: Act(
        (kill if up else lift)(target[0], target[1], target[2]),
        start_ms=span[0],
        end_ms=span[1],
    ),
    TARGETS,
    st.sampled_from([(0, 0), (0, 100), (100, 0), (0, 1)]),
    st.booleans(),
)
RELEASES = st.builds(
    lambda sequence, previous, mode: release(
        sequence, release(previous).bundle_digest if previous else bytes(32), mode=mode
    ),
    st.sampled_from([2, 3]),
    st.sampled_from([1, 2]),
    st.sampled_from([ReleaseMode.ENFORCE, ReleaseMode.ENFORCE, ReleaseMode.SHADOW]),
)
KEYS = st.builds(
    lambda entry, revoked: RegisterKey(key=entry, revoked=revoked),
    st.sampled_from(
        [key("eve"), key("cyd"), key("bo"), SECOND_KEY, key("mole", KeyPurpose.CONTROL)]
    ),
    st.booleans(),
)
OTHERS = st.sampled_from(
    [
        SealedTopics(topics=TOPICS),
        Semantics(
            number=1, schemas=(SchemaEntry(name="X", fingerprint=b"\x09" * 8, sha256=bytes(32)),)
        ),
        GENERATION,
    ]
)
ACTS = st.one_of(
    KILL_ACTS,
    st.one_of(AGENT_BODIES, TOOL_BODIES, RELEASES, KEYS, OTHERS).map(Act),
)
KILLS = st.lists(
    st.builds(
        lambda target, span: Act(kill(*target), start_ms=span[0], end_ms=span[1]),
        TARGETS,
        st.sampled_from([(0, 0), (0, 100), (100, 0)]),
    ),
    min_size=1,
    max_size=2,
)
SETUPS = st.lists(st.one_of(AGENT_BODIES, TOOL_BODIES, RELEASES).map(Act), max_size=2)
ALONE = st.sampled_from(
    [("ada",), ("ada", "ada-2"), ("ada", "control"), ("control",), ("ada", "eve"), ("ada", "bo!")]
)
ATTACKS = st.lists(
    st.tuples(ACTS, ALONE, st.sampled_from([None, None, None, 0, 1])), min_size=3, max_size=8
)


@lru_cache(maxsize=8_192)
def signed(act: Act, version: int, names: tuple[str, ...]) -> bytes:
    """Returns the command, signed once per process. `name!` is a forged signature of that key."""
    value = make_command(
        act.body,
        codec=CODEC,
        cluster=CLUSTER,
        signers=named([name.removesuffix("!") for name in names]),
        nonce=version.to_bytes(16, "big"),
        scope_version=version,
        not_before_ms=act.start_ms,
        not_after_ms=act.end_ms,
    )
    if not any(name.endswith("!") for name in names):
        return value
    command = CODEC.decode(value)
    assert isinstance(command, ControlCommand)
    forged = tuple(
        dataclasses.replace(s, signature=bytes(2_420)) if name.endswith("!") else s
        for s, name in zip(command.signatures, names, strict=True)
    )
    return CODEC.encode(dataclasses.replace(command, signatures=forged))


class Allowed(NamedTuple):
    """What a fold lets happen, and who can make it let more."""

    calls: frozenset[tuple[object, ...]]
    labels: frozenset[tuple[object, ...]]
    signers: frozenset[str]
    readable: frozenset[bytes]
    sealed: tuple[object, ...]


def calls(fold: ControlFold) -> frozenset[tuple[object, ...]]:
    """Returns every call of the small world that could be allowed: who, as what, what, when."""
    found: set[tuple[object, ...]] = set()
    for now_ms in TIMES:
        in_force = fold.release(now_ms)
        if in_force is None or fold.release_expired(now_ms):
            continue
        for holder in AGENTS:
            who = fold.agent_by_credential(agent(holder).credential_hash)
            if who is None or who.status is not Registration.ENABLED:
                continue
            if 0 < who.expires_at_ms <= now_ms:
                continue
            for name in TOOLS:
                what = fold.tool("default", name)
                if what is None or what.status is not Registration.ENABLED:
                    continue
                stopped = fold.kill(
                    tenant="default",
                    agent_id=who.agent_id,
                    tool=name,
                    session_id="s",
                    user="u",
                    release=in_force.sequence,
                    now_ms=now_ms,
                )
                if stopped is None:
                    found.add((now_ms, holder, who, what, in_force))
    return frozenset(found)


def labels(fold: ControlFold) -> frozenset[tuple[object, ...]]:
    """Returns under which labels what is on record is read, whatever its status.

    Outputs of earlier calls go on being read under them when the tool is not enabled any more.
    """
    nothing = Registration.UNKNOWN
    agents = (dataclasses.replace(a, status=nothing) for a in fold.agents())
    tools = (dataclasses.replace(t, status=nothing) for t in fold.tools())
    return frozenset((type(r).__name__, r) for r in (*agents, *tools))


def allowed(fold: ControlFold) -> Allowed:
    return Allowed(
        calls=calls(fold),
        labels=labels(fold),
        signers=frozenset(fold.keys()),
        readable=frozenset(m for m in (b"\x09" * 8,) if fold.is_readable(m)),
        sealed=(fold.sealed_topics(), fold.generation("ag.requests", "id", 0), fold.thresholds()),
    )


def named_things(found: frozenset[tuple[object, ...]]) -> set[object]:
    return {getattr(r, "agent_id", None) or getattr(r, "tool", None) for _, r in found}


def assert_not_looser(before: Allowed, after: Allowed) -> None:
    assert after.calls <= before.calls
    assert after.signers <= before.signers
    assert after.readable <= before.readable
    assert after.sealed == before.sealed
    new = after.labels - before.labels
    assert not named_things(new) & named_things(before.labels), "a label on record changed"


@given(KILLS, SETUPS, ATTACKS)
def test_one_person_alone_never_loosens_anything(
    stopped: list[Act], setup: list[Act], attack: list[tuple[Act, tuple[str, ...], int | None]]
) -> None:
    fold = ControlFold(CODEC, VERIFIER, digest_of(genesis_value()))
    log = [genesis_value()]
    basis = [
        Act(RegisterKey(key=SECOND_KEY, revoked=False)),
        *(Act(agent(name)) for name in AGENTS),
        *(Act(tool(name)) for name in TOOLS),
        Act(release(1)),
    ]
    fold.apply(0, log[0])
    for act in (*basis, *stopped, *setup):
        version = fold.scope_version(scope_of(act.body))
        log.append(signed(act, version, ("ada", "bo")))
        fold.apply(len(log) - 1, log[-1])
    before = allowed(fold)
    for act, names, said in attack:
        version = fold.scope_version(scope_of(act.body)) if said is None else said
        fold.apply(fold.folded + 1, signed(act, version, names))
        assert_not_looser(before, allowed(fold))
    for value in log:
        fold.apply(fold.folded + 1, value)
    assert_not_looser(before, allowed(fold))
