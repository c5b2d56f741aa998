# SPDX-License-Identifier: Apache-2.0
"""Reads record values strictly: listed schemas only, everything else is noted and is nothing."""

from __future__ import annotations

from typing import Final

from agentguard.contracts.errors import FatalLogError, UndecodableError, UnknownSchemaError
from agentguard.contracts.ports import AnyRecord, Codec, LogRecord
from agentguard.contracts.records import Decision, DecisionCore
from agentguard.pipeline.control_feed import ControlFeed
from agentguard.pipeline.dead_letters import DeadLetters

FINGERPRINT: Final = slice(2, 10)


class Intake:
    """Decodes what a lane reads. What it cannot read becomes a dead letter and None."""

    def __init__(self, codec: Codec, control: ControlFeed, letters: DeadLetters) -> None:
        self._codec = codec
        self._control = control
        self._letters = letters

    def decode(self, record: LogRecord) -> tuple[AnyRecord | None, str]:
        """Returns the record, or None and why.

        Raises `FatalLogError` for a schema that the control log lists and this build lacks: such
        a process stops, and never skips the record.
        """
        value = record.value
        if value is None:
            return self._refuse(record, "null_value", "it is empty")
        try:
            decoded = self._codec.decode(value)
        except UnknownSchemaError as error:
            if self._is_listed(value):
                raise FatalLogError(
                    "the control log lists a schema that this build does not know"
                ) from error
            return self._refuse(record, "unknown_schema", "its schema is not listed")
        except UndecodableError as error:
            return self._refuse(record, "undecodable", str(error))
        if not self._is_listed(value):
            return self._refuse(record, "unlisted_schema", "its schema is not listed")
        return decoded, ""

    def decode_decision(
        self, record: LogRecord
    ) -> tuple[Decision | None, DecisionCore | None, bool]:
        """Returns a decision with its core, and whether both are readable."""
        decision, fault = self.decode(record)
        if not isinstance(decision, Decision):
            if not fault:
                self.note(record, "not_a_decision")
            return None, None, False
        core, fault = self.decode(record._replace(value=decision.core))
        if not isinstance(core, DecisionCore):
            if not fault:
                self.note(record, "not_a_core")
            return decision, None, False
        return decision, core, True

    def note(self, record: LogRecord, error: str) -> None:
        """Writes a dead letter; `error` is a constant name."""
        fingerprint = (record.value or b"")[FINGERPRINT]
        self._letters.note(record, error=error, fingerprint=fingerprint)

    def _is_listed(self, value: bytes) -> bool:
        fold = self._control.fold
        if fold.is_readable(value[FINGERPRINT]):
            return True
        # the command that lists it may be on the log already: a door can be ahead of this process
        self._control.ask_end()
        self._control.pump(0)
        return fold.is_readable(value[FINGERPRINT])

    def _refuse(self, record: LogRecord, error: str, fault: str) -> tuple[None, str]:
        self.note(record, error)
        return None, fault
