# SPDX-License-Identifier: Apache-2.0
"""The last look before an allow is handed out: the gateway's own fold, its freshness, its clock."""

from __future__ import annotations

from agentguard.contracts.codes import Code, flatten
from agentguard.contracts.commands import Registration
from agentguard.contracts.records import DecisionCore
from agentguard.control.fold import ControlFold
from agentguard.gateway.reply import Takeback
from agentguard.gateway.waiting import Wait


def takeback(
    wait: Wait, core: DecisionCore, fold: ControlFold, *, now_ms: int, is_fresh: bool
) -> Takeback | None:
    """Returns why an allow or transform must not be handed out now, or None.

    The decision was right for the control offset that it names; this asks what has come since. A
    decision below the offset that its request demanded was made under old control.
    """
    request = wait.request
    if not is_fresh or core.versions.control_offset < request.control_offset:
        return Takeback(code=Code.CONTROL_STALE)
    agent_id, tool = request.agent_id, request.tool
    kill = fold.kill(
        tenant=request.tenant,
        agent_id=agent_id,
        tool=tool,
        session_id=request.session_id,
        user=request.on_behalf_of or "",
        release=core.versions.release,
        now_ms=now_ms,
    )
    if kill is not None:
        target = f" {kill.target}" if kill.target else ""
        return Takeback(code=Code.KILLED, arguments=(flatten(f"{kill.kind.value}{target}"),))
    if fold.release_expired(now_ms):
        return Takeback(code=Code.RELEASE_EXPIRED, arguments=(str(core.versions.release),))
    agent = fold.agent(request.tenant, agent_id)
    if agent is None or agent.credential_hash != wait.caller.agent.credential_hash:
        return Takeback(code=Code.UNKNOWN_CALLER)
    if agent.status is not Registration.ENABLED:
        return Takeback(code=Code.AGENT_NOT_ENABLED, arguments=(agent_id, agent_id))
    if agent.expires_at_ms and agent.expires_at_ms <= now_ms:
        return Takeback(code=Code.AGENT_EXPIRED, arguments=(agent_id, agent_id))
    registered = fold.tool(request.tenant, tool)
    if registered is None or registered.status is not Registration.ENABLED:
        return Takeback(code=Code.TOOL_NOT_ENABLED, arguments=(tool, tool))
    return None
