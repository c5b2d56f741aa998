# SPDX-License-Identifier: Apache-2.0
"""What an unlabelled tool probably does: a proposal for the person who registers it."""

from __future__ import annotations

from typing import Final, NamedTuple

from agentguard.classification.lexicon import GROUPS_OF_VERB, PRIMARY_GROUPS
from agentguard.classification.operations import verbs_of
from agentguard.contracts.commands import SideEffect

_EFFECT_OF_GROUP: Final = {
    "delete": SideEffect.DELETE,
    "pay": SideEffect.PAY,
    "buy": SideEffect.PAY,
    "run": SideEffect.EXECUTE,
    "send": SideEffect.SEND,
    "post": SideEffect.SEND,
    "share": SideEffect.SEND,
    "invite": SideEffect.SEND,
    "read": SideEffect.READ,
}


class Suggestion(NamedTuple):
    """A proposed operation and side effect; a person confirms it."""

    operation: str
    side_effect: SideEffect


def suggest(name: str, description: str) -> Suggestion:
    """Returns what a tool probably does, by the words of its name and description.

    UNKNOWN (which counts as write) where nothing speaks for anything.
    """
    verbs = verbs_of(name, description)
    if not verbs:
        return Suggestion("", SideEffect.UNKNOWN)
    groups = PRIMARY_GROUPS[verbs[0]]
    if not groups and GROUPS_OF_VERB[verbs[0]] == ("read",):
        groups = ("read",)
    effect = next((_EFFECT_OF_GROUP[g] for g in groups if g in _EFFECT_OF_GROUP), SideEffect.WRITE)
    return Suggestion(verbs[0], effect)
