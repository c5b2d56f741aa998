# SPDX-License-Identifier: Apache-2.0
"""Store: what a record of the log is, or why it cannot be shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from agentguard.contracts.errors import UndecodableError, UnknownSchemaError
from agentguard.contracts.ports import AnyRecord, Codec, LogRecord
from agentguard.contracts.records import (
    AgentRequest,
    Checkpoint,
    Chunk,
    ControlCommand,
    DeadLetter,
    Decision,
    DecisionCore,
    Deliveries,
    Enforcement,
    EpochStart,
    Redeem,
    Signal,
    ToolOutcome,
)
from agentguard.contracts.topics import Topic
from agentguard.control.judge import OutdatedBuildError
from agentguard.store.ports import ControlJudge

UNDECODABLE = "undecodable"
UNLISTED = "unlisted_schema"
UNEXPECTED = "unexpected_type"
NULL_VALUE = "null_value"
FOREIGN_TENANT = "foreign_tenant"
NO_REQUEST = "no_request"
UNSTORABLE = "unstorable"

DOOR_TYPES = (AgentRequest, ToolOutcome, Chunk, Enforcement, Deliveries, EpochStart, Redeem)
EXPECTED: Mapping[str, tuple[type, ...]] = {
    Topic.REQUESTS: DOOR_TYPES,
    Topic.DECISIONS: (Decision,),
    Topic.SIGNALS: (Signal,),
    Topic.CONTROL: (ControlCommand,),
    Topic.DEAD_LETTERS: (DeadLetter,),
    Topic.CHECKPOINTS: (Checkpoint,),
}
HEADER = slice(2, 10)  # where a frame names its schema


class Reading(NamedTuple):
    """One record, read: the body, or None and the problem with the fingerprint it claims."""

    body: AnyRecord | None
    problem: str = ""
    fingerprint: bytes = b""


class RecordReader:
    """Decodes records as every reader of the log must: unlisted is undecodable.

    `catch_up` folds the control log to its end as asked now: a schema that is not listed yet is
    looked for once more after it, because its listing may lie there unread.
    """

    def __init__(
        self, codec: Codec, control: ControlJudge, catch_up: Callable[[], None], *, tenant: str
    ) -> None:
        self._codec = codec
        self._control = control
        self._catch_up = catch_up
        self._tenant = tenant

    def read(self, record: LogRecord) -> Reading:
        """Returns what the record is. Raises `OutdatedBuildError`."""
        if record.value is None:
            return Reading(None, NULL_VALUE)
        reading = self._decode(record.value, listed_only=record.topic != Topic.CONTROL)
        if reading.body is None:
            return reading
        if not isinstance(reading.body, EXPECTED[record.topic]):
            return Reading(None, UNEXPECTED, record.value[HEADER])
        if self.is_foreign(getattr(reading.body, "tenant", "")):
            return Reading(reading.body, FOREIGN_TENANT)
        return reading

    def core(self, decision: Decision) -> Reading:
        """Returns the core of a decision. Raises `OutdatedBuildError`."""
        reading = self._decode(decision.core, listed_only=True)
        if reading.body is not None and not isinstance(reading.body, DecisionCore):
            return Reading(None, UNEXPECTED, decision.core[HEADER])
        return reading

    def is_foreign(self, tenant: str) -> bool:
        """Returns whether a record names a tenant that this store does not serve."""
        return bool(self._tenant) and tenant not in ("", self._tenant)

    def _decode(self, frame: bytes, *, listed_only: bool) -> Reading:
        try:
            body = self._codec.decode(frame)
        except UnknownSchemaError as error:
            if self._is_listed(error.fingerprint):
                raise OutdatedBuildError(
                    f"schema `{error.fingerprint.hex()}` is in force and unknown to this build"
                ) from error
            return Reading(None, UNLISTED, error.fingerprint)
        except UndecodableError as error:
            return Reading(None, UNDECODABLE, error.fingerprint)
        if listed_only and not self._is_listed(frame[HEADER]):
            return Reading(None, UNLISTED, frame[HEADER])
        return Reading(body)

    def _is_listed(self, fingerprint: bytes) -> bool:
        if self._control.is_readable(fingerprint):
            return True
        self._catch_up()
        return self._control.is_readable(fingerprint)
