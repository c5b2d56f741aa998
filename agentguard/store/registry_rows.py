# SPDX-License-Identifier: Apache-2.0
"""Store: current state of agents, tools and releases, from a control command that was accepted."""

from __future__ import annotations

from agentguard.contracts.commands import (
    ActivateRelease,
    CommandBody,
    RegisterAgent,
    RegisterTool,
)
from agentguard.contracts.ports import LogRecord
from agentguard.store.rows import Row, event_time_ms, storable_time_ms
from agentguard.store.shapes import AGENTS, POLICIES, TOOLS


def registry_row(record: LogRecord, body: CommandBody) -> Row | None:
    """Returns the row that an accepted command sets; None where it sets none.

    `rev` is the command's offset: the greatest one of a key is its current state.
    """
    at_ms = event_time_ms(record.timestamp_ms, record.timestamp_ms)
    match body:
        case RegisterAgent():
            cells = (
                body.tenant, body.agent_id, record.offset, body.status, body.owner, body.version,
                body.roles, body.capabilities, body.risk_profile, body.attestation,
                body.credential_id, storable_time_ms(body.expires_at_ms), at_ms,
            )  # fmt: skip
            return Row(AGENTS, 0, cells)
        case RegisterTool():
            cells_of_tool = (
                body.tenant, body.tool, record.offset, body.status, body.server, body.version,
                body.description, body.schema_json, body.pin.hex(), body.operation,
                body.side_effect, body.categories, body.decisive_arguments, body.output_trust,
                body.scopes, body.resource, at_ms,
            )  # fmt: skip
            return Row(TOOLS, 0, cells_of_tool)
        case ActivateRelease():
            cells_of_release = (
                body.sequence, record.offset, body.mode, body.bundle_digest.hex(),
                body.previous_digest.hex(), body.rollback_of,
                storable_time_ms(body.expires_at_ms), at_ms,
            )  # fmt: skip
            return Row(POLICIES, 0, cells_of_release)
        case _:
            return None
