# SPDX-License-Identifier: Apache-2.0
"""Store: the tables of the log and the columns that a row names, in the order of its cells.

The types are in `infra/clickhouse/0001_log_tables.sql`; a test holds both against each other.
"""

from __future__ import annotations

from typing import NamedTuple

from agentguard.contracts.ports import LogRecord
from agentguard.contracts.topics import Topic
from agentguard.store.ports import Cells


class Shape(NamedTuple):
    """A table and the columns that a row names, in order."""

    table: str
    columns: tuple[str, ...]


_PLACE = (
    "topic", "partition", "offset", "leaf_hash", "payload", "log_time", "problem",
)  # fmt: skip
_DOOR = ("mode", "producer", "epoch", "sequence", "control_offset")

REQUESTS = Shape("requests", (
    *_PLACE, "event_time", "tenant", "agent_id", "request_id", "tool", "session_id",
    "environment", "dry_run", "deadline", "task_voucher", "on_behalf_of", "approval_id",
    "outcome_refs", "traceparent", "decisions_floor", "task_at", "task_bytes", "parameters_at",
    "parameters_bytes", *_DOOR,
))  # fmt: skip
OUTCOMES = Shape("outcomes", (
    *_PLACE, "event_time", "tenant", "agent_id", "outcome_id", "tool", "session_id", "status",
    "registry_label", "voucher", "request_offset", "output_size", "output_at", "output_bytes",
    *_DOOR,
))  # fmt: skip
ENFORCEMENTS = Shape("enforcements", (
    *_PLACE, "event_time", "tenant", "agent_id", "code", "reason", "count", "window_ms",
    "request_id", "request_offset", "not_written", *_DOOR,
))  # fmt: skip
DELIVERIES = Shape("deliveries", (
    *_PLACE, "event_time", "tenant", "request_offsets", "decision_offsets", "actions", *_DOOR,
))  # fmt: skip
REDEMPTIONS = Shape("redemptions", (
    *_PLACE, "event_time", "tenant", "agent_id", "request_partition", "request_offset",
    "purpose", "redeemer", *_DOOR,
))  # fmt: skip
CHUNKS = Shape("chunks", (
    *_PLACE, "event_time", "tenant", "agent_id", "set_id", "position", "count", *_DOOR,
))  # fmt: skip
EPOCHS = Shape("epochs", (
    *_PLACE, "event_time", "previous_epoch", "previous_last_sequence", *_DOOR,
))  # fmt: skip
DECISIONS = Shape("decisions_all", (
    *_PLACE, "src_time", "tenant", "agent_id", "source_topic", "source_partition",
    "source_offset", "counts", "request_id", "tool", "session_id", "mode", "verdict", "code",
    "codes", "reason_text", "remedy", "rules", "scopes", "obligations", "risk", "intent",
    "recommended", "confidence_ppm", "risk_reasons", "model", "classified_by", "failure",
    "facts", "charge_counters", "charge_amounts", "has_transform", "grant_hash",
    "grant_details", "grant_expires", "approval_group", "retry_of", "decided_at", "latency_ms",
    "stages", "cache", "lane", "worker", "decisions_offset", "signal_offset", "control_offset",
    "release", "bundle_digest", "tool_pin", "engines", "schemas", "semantics", "evidence_at",
    "evidence_bytes",
))  # fmt: skip
SIGNALS = Shape("signals", (
    *_PLACE, "event_time", "tenant", "agent_id", "session_id", "mode", "kind", "level",
    "reason", "evidence_refs",
))  # fmt: skip
COMMANDS = Shape("control_commands", (
    *_PLACE, "event_time", "tenant", "mode", "type", "accepted", "rejection", "scope",
    "scope_version", "audience", "fold_min", "not_before", "not_after", "signers",
    "command_digest", "body",
))  # fmt: skip
DEAD_LETTERS = Shape("dead_letters", (
    *_PLACE, "event_time", "mode", "source_topic", "source_partition", "source_offset", "stage",
    "error", "fingerprint",
))  # fmt: skip
CHECKPOINTS = Shape("checkpoints", (
    *_PLACE, "event_time", "mode", "origin", "sealed_topic", "sealed_partition", "generation",
    "size", "root", "note", "next_offset",
))  # fmt: skip

# Every table that records of a topic go to: where offsets are looked for, all of them count.
TABLES_OF: dict[str, tuple[str, ...]] = {
    Topic.REQUESTS: tuple(
        s.table for s in (REQUESTS, OUTCOMES, ENFORCEMENTS, DELIVERIES, REDEMPTIONS, CHUNKS, EPOCHS)
    ),
    Topic.DECISIONS: (DECISIONS.table,),
    Topic.SIGNALS: (SIGNALS.table,),
    Topic.CONTROL: (COMMANDS.table,),
    Topic.DEAD_LETTERS: (DEAD_LETTERS.table,),
    Topic.CHECKPOINTS: (CHECKPOINTS.table,),
}
STUBS = {
    topic: Shape(tables[0], (*_PLACE, "src_time" if topic == Topic.DECISIONS else "event_time"))
    for topic, tables in TABLES_OF.items()
}

# tables that keep one row a key: the sink's own, and current state from accepted commands
PROGRESS = Shape("sink_progress", ("topic", "topic_id", "partition", "next_offset"))
AGENTS = Shape("agents_all", (
    "tenant", "agent_id", "rev", "status", "owner", "version", "roles", "capabilities",
    "risk_profile", "attestation", "credential_id", "expires_at", "registered_at",
))  # fmt: skip
TOOLS = Shape("tools_all", (
    "tenant", "tool", "rev", "status", "server", "version", "description", "schema_json", "pin",
    "operation", "side_effect", "categories", "decisive_arguments", "output_trust", "scopes",
    "resource", "registered_at",
))  # fmt: skip
POLICIES = Shape("policies_all", (
    "sequence", "rev", "mode", "bundle_digest", "previous_digest", "rollback_of", "expires_at",
    "activated_at",
))  # fmt: skip


class Place(NamedTuple):
    """The first cells of every row of a log table."""

    topic: str
    partition: int
    offset: int
    leaf_hash: bytes
    payload: bytes
    log_ms: int
    problem: str

    def record(self) -> LogRecord:
        """Returns the record of this place as far as a row tells it."""
        return LogRecord(
            self.topic, self.partition, self.offset, None, self.payload or None, self.log_ms
        )


def place_of(cells: Cells) -> Place:
    """Returns the place that a row of a log table begins with."""
    match cells[: len(_PLACE)]:
        case (
            str(topic), int(partition), int(offset), bytes(leaf), bytes(payload), int(log_ms),
            str(problem),
        ):  # fmt: skip
            return Place(topic, partition, offset, leaf, payload, log_ms, problem)
        case _:
            raise TypeError("a row of a log table begins with its place")
