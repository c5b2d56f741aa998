# SPDX-License-Identifier: Apache-2.0
"""Which scope a command belongs to: the thing whose version it raises.

INVARIANT: two different things never share a scope text. Every part but the last is a name
(names hold no `|`), so a hostile last part (a session id) cannot imitate another scope.
"""

from __future__ import annotations

from agentguard.contracts.commands import (
    ActivateRelease,
    CommandBody,
    Genesis,
    Kill,
    Lift,
    NewGeneration,
    RegisterAgent,
    RegisterKey,
    RegisterTool,
    SealedTopics,
    Semantics,
    StateDigest,
    TargetKind,
    VoidDigest,
)

RELEASES = "releases"
KEYS = "keys"


def agent_scope(tenant: str, agent_id: str) -> str:
    """Returns the scope of an agent's registration."""
    return f"agent|{tenant}|{agent_id}"


def tool_scope(tenant: str, tool: str) -> str:
    """Returns the scope of a tool's registration."""
    return f"tool|{tenant}|{tool}"


def kill_scope(kind: TargetKind, tenant: str, target: str) -> str:
    """Returns the scope that a kill and its lift share."""
    return f"kill|{kind.value}|{tenant}|{target}"


def scope_of(body: CommandBody) -> str:
    """Returns the only scope that a command with this body may carry."""
    match body:
        case RegisterAgent():
            return agent_scope(body.tenant, body.agent_id)
        case RegisterTool():
            return tool_scope(body.tenant, body.tool)
        case Kill() | Lift():
            return kill_scope(body.kind, body.tenant, body.target)
        case ActivateRelease():
            return RELEASES
        case RegisterKey():
            return KEYS
        case NewGeneration():
            return f"generation|{body.topic}|{body.topic_id}|{body.partition}"
        case StateDigest() | VoidDigest():
            return "digests"
        case SealedTopics():
            return "sealed-topics"
        case Semantics():
            return "semantics"
        case Genesis():
            return "genesis"
