# SPDX-License-Identifier: Apache-2.0
"""Which way a command moves enforcement: the one table that says how many people must sign.

Stricter takes one person, looser takes two, neutral changes nothing that is allowed. What is not
in the table is looser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import TypeAlias

from agentguard.contracts.commands import (
    CommandBody,
    CommandType,
    RegisterAgent,
    RegisterKey,
    RegisterTool,
    Registration,
)
from agentguard.control.state import ControlState


class Direction(StrEnum):
    """Which way enforcement moves."""

    STRICTER = "stricter"
    NEUTRAL = "neutral"
    LOOSER = "looser"


_Rule: TypeAlias = Callable[[CommandBody, ControlState], Direction]


def _agent(body: CommandBody, state: ControlState) -> Direction:
    if not isinstance(body, RegisterAgent):
        return Direction.LOOSER
    before = state.agent(body.tenant, body.agent_id)
    # owner and version say who to ask; every other member is read by a policy or proves a caller
    same = before is None or body == replace(
        before, status=body.status, owner=body.owner, version=body.version
    )
    return _registration(body.status, same)


def _tool(body: CommandBody, state: ControlState) -> Direction:
    if not isinstance(body, RegisterTool):
        return Direction.LOOSER
    before = state.tool(body.tenant, body.tool)
    same = before is None or body == replace(before, status=body.status, version=body.version)
    return _registration(body.status, same)


def _registration(status: Registration, same: bool) -> Direction:  # noqa: FBT001
    """Returns the direction of a registration; `same` says that it changes nothing on record.

    Enabling is looser, and so is any change, even while it is pending: outputs of earlier calls
    go on being read under the label that the registry gives.
    """
    match status:
        case Registration.BLOCKED:
            return Direction.STRICTER
        case Registration.PENDING if same:
            return Direction.NEUTRAL
        case _:
            return Direction.LOOSER


def _key(body: CommandBody, state: ControlState) -> Direction:
    """A revocation that leaves too few people to loosen anything again takes two of them."""
    if not isinstance(body, RegisterKey) or not body.revoked:
        return Direction.LOOSER
    needed = state.thresholds()
    left = len(state.persons_without(body.key.key_id))
    enough = left >= max(needed.loosen, needed.enforce_release)
    holds = len(state.persons()) == left
    return Direction.STRICTER if enough or holds else Direction.LOOSER


DIRECTIONS: Mapping[CommandType, Direction | _Rule] = {
    CommandType.GENESIS: Direction.LOOSER,
    CommandType.REGISTER_KEY: _key,
    CommandType.REGISTER_AGENT: _agent,
    CommandType.REGISTER_TOOL: _tool,
    CommandType.ACTIVATE_RELEASE: Direction.LOOSER,
    CommandType.KILL: Direction.STRICTER,
    CommandType.LIFT: Direction.LOOSER,
    CommandType.SEMANTICS: Direction.LOOSER,
    CommandType.STATE_DIGEST: Direction.NEUTRAL,
    CommandType.VOID_DIGEST: Direction.LOOSER,
    CommandType.SEALED_TOPICS: Direction.LOOSER,
    CommandType.NEW_GENERATION: Direction.LOOSER,
}


def direction(type: CommandType | str, body: CommandBody, state: ControlState) -> Direction:
    """Returns which way this command moves enforcement, from this state on."""
    try:
        rule = DIRECTIONS.get(CommandType(type), Direction.LOOSER)
    except ValueError:
        return Direction.LOOSER
    return rule if isinstance(rule, Direction) else rule(body, state)
