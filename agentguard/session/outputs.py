# SPDX-License-Identifier: Apache-2.0
"""Earlier outputs that are kept as evidence, each with the trust that the log can prove."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from agentguard.contracts.facts import Origin, Source
from agentguard.contracts.records import ToolOutcome

if TYPE_CHECKING:
    from agentguard.session.calls import Session

_pack = msgspec.msgpack.Encoder().encode


class Output:
    """One output of the agent's past.

    It has its registry label only where it answers an effective allow of its tool, or where its
    door vouches for it. `is_waiting` says that the call it answers is not decided yet as far as
    this fold has read: untrusted until then.
    """

    __slots__ = (
        "_packed",
        "_source",
        "at_ms",
        "id",
        "is_trusted",
        "is_waiting",
        "offset",
        "session",
        "size",
        "text",
        "tool",
    )

    def __init__(self, outcome: ToolOutcome, *, offset: int, session: Session, body: bytes) -> None:
        self.id = outcome.outcome_id
        self.offset = offset
        self.session = session
        self.tool = outcome.tool
        self.at_ms = outcome.reported_at_ms
        self.size = len(body)
        self.text = body.decode("utf-8", "replace")
        self.is_trusted = False
        self.is_waiting = False
        self._source: Source | None = None
        self._packed: msgspec.Raw | None = None

    def settle(self, *, is_trusted: bool) -> None:
        """The call that this output answers is decided; allowed, the registry's label holds."""
        self.is_waiting = False
        self.is_trusted = is_trusted
        self._source = None
        self._packed = None

    @property
    def source(self) -> Source:
        """The output as a source of values and instructions."""
        if self._source is None:
            origin = Origin.TRUSTED if self.is_trusted else Origin.UNTRUSTED
            self._source = Source(origin=origin, text=self.text, tool=self.tool, offset=self.offset)
        return self._source

    def packed(self) -> msgspec.Raw:
        """Returns this output's part of a snapshot: where it lies, never what it says."""
        if self._packed is None:
            parts = (self.offset, self.id, self.tool, self.at_ms, self.size, self.is_trusted)
            self._packed = msgspec.Raw(_pack(parts))
        return self._packed


class Taint:
    """When something untrusted was last seen, as far as it is certain.

    An output that still waits for its call's decision taints until it turns out to be trusted, so
    what this says depends on what was read, never on the order in which it was read.
    """

    __slots__ = ("_at_ms", "_waiting")

    def __init__(self, at_ms: int = 0, waiting: Sequence[Output] = ()) -> None:
        self._at_ms = at_ms
        self._waiting = list(waiting)

    def copy(self) -> Taint:
        """Returns what is known now; outputs that wait are shared, so both learn of them."""
        return Taint(self._at_ms, self._waiting)

    def note(self, output: Output) -> None:
        """Counts an output: now where it is untrusted, later where that is still open."""
        if output.is_waiting:
            self._waiting.append(output)
        elif not output.is_trusted:
            self.note_time(output.at_ms)

    def note_time(self, at_ms: int) -> None:
        """Counts something that is untrusted for certain."""
        self._at_ms = max(self._at_ms, at_ms)

    @property
    def at_ms(self) -> int:
        """Time of the latest untrusted output; 0 for none."""
        if not self._waiting:
            return self._at_ms
        for output in self._waiting:
            if not (output.is_waiting or output.is_trusted):
                self.note_time(output.at_ms)
        self._waiting = [o for o in self._waiting if o.is_waiting]
        return max(self._at_ms, *(o.at_ms for o in self._waiting), 0)
