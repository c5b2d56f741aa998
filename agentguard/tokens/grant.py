# SPDX-License-Identifier: Apache-2.0
"""The grant of an allow: one call, one resource, one use, to whoever knows the secret."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Final

import msgspec

from agentguard.bounds import GRANT_MS_MAX
from agentguard.contracts.commands import RegisterTool
from agentguard.contracts.records import AgentRequest, Grant

DETAILS_TYPE: Final = "urn:agentguard:tool_call"
ACTION: Final = "execute"

_encode = msgspec.json.Encoder().encode


class ToolCallDetails(msgspec.Struct, frozen=True):
    """One element of `authorization_details` (RFC 9396, section 2), members in key order.

    `type`, `locations`, `actions`, `identifier` and `privileges` are the standard's. The rest is
    ours: `params_commitment` binds the grant to the exact parameters without saying them,
    `request` names the record that was decided, `uses` how often the grant opens.
    """

    actions: tuple[str, ...]
    identifier: str
    locations: tuple[str, ...]
    params_commitment: str
    policy_version: str
    privileges: tuple[str, ...]
    request: str
    request_id: str
    type: str
    uses: int


def make_grant(
    request: AgentRequest,
    tool: RegisterTool,
    *,
    place: tuple[int, int],
    scopes: tuple[str, ...],
    commitment: bytes,
    policy_version: str,
) -> Grant | None:
    """Returns the grant of an allowed call, or None where nothing is to be granted.

    Nothing is granted for a tool whose registration names no protected resource (who runs it
    needs no token), nor without a secret to grant to. `place` is partition and offset of the
    request, `commitment` that of the parameters as they may run. Life counts from the moment the
    door accepted the request: an allow that comes late is born dead.
    """
    if not tool.resource or request.secret_hash is None:
        return None
    details = ToolCallDetails(
        actions=(ACTION,),
        identifier=tool.tool,
        locations=(tool.resource,),
        params_commitment=f"sha-256:{urlsafe_b64encode(commitment).rstrip(b'=').decode()}",
        policy_version=policy_version,
        privileges=scopes,
        request=f"{place[0]}/{place[1]}",
        request_id=request.request_id.hex(),
        type=DETAILS_TYPE,
        uses=1,
    )
    return Grant(
        secret_hash=request.secret_hash,
        authorization_details=_encode((details,)).decode(),
        expires_at_ms=request.accepted_at_ms + GRANT_MS_MAX,
    )
