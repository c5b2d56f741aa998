# SPDX-License-Identifier: Apache-2.0
"""Reads every partition of the decisions on a thread and hands what concerns this gateway over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from agentguard.contracts.errors import (
    AgentGuardError,
    LogError,
    UndecodableError,
    UnknownSchemaError,
)
from agentguard.contracts.ports import Codec, Log, LogIndex, LogReader, LogRecord, TopicPartition
from agentguard.contracts.records import Decision, DecisionCore
from agentguard.contracts.topics import Topic
from agentguard.gateway.waiting import SeenDecision

READ_MS: Final = 100
RECORDS_PER_READ_MAX: Final = 500
JOIN_S: Final = 5.0
_RETRY_S: Final = 0.2
_MARK = slice(2, 10)  # the schema's fingerprint in a frame


class Batch(NamedTuple):
    """What one read brought, in the order of each partition.

    `unknown` are fingerprints of frames that this build cannot decode. After a gap (`is_gap`)
    nobody can tell the first decision of a request that waits: all of them are denied, and
    nothing is accepted until the reader is positioned again (`is_open`).
    """

    seen: Sequence[SeenDecision] = ()
    records: int = 0
    unknown: Sequence[bytes] = ()
    is_gap: bool = False
    is_open: bool = False
    fatal: str = ""


class DecisionsFeed:
    """The reader of `ag.decisions`.

    `is_awaited` answers whether a request id waits here; `hand_over` takes a batch to the thread
    that owns the pending map. Both are called on this feed's own thread.
    """

    def __init__(
        self,
        log: Log,
        index: LogIndex,
        codec: Codec,
        *,
        is_awaited: Callable[[bytes | None], bool],
        hand_over: Callable[[Batch], None],
    ) -> None:
        self._log = log
        self._index = index
        self._codec = codec
        self._is_awaited = is_awaited
        self._hand_over = hand_over
        self._positions: list[int] = []
        self._reader: LogReader | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="decisions", daemon=True)

    def open(self) -> None:
        """Positions the reader at the end of every partition, asked now. Raises `LogError`."""
        topic = Topic.DECISIONS.value
        places = [TopicPartition(topic, p) for p in range(self._index.partitions(topic))]
        ends = {at: self._index.bounds(at)[1] for at in places}
        self._reader = self._log.reader(ends)
        self._positions = [ends[at] for at in places]

    def start(self) -> None:
        """Begins to read; `open` has been called."""
        self._thread.start()

    def position(self, partition: int) -> int:
        """Returns the next offset to be read of a partition."""
        return self._positions[partition]

    def stop(self) -> None:
        """Ends the thread and closes the reader. Blocks for one read at most."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._read_once()
            except LogError:
                self._hand_over(Batch(is_gap=True))
                self._reopen()
            except AgentGuardError as error:
                self._hand_over(Batch(fatal=str(error)))
                return

    def _read_once(self) -> None:
        if self._reader is None:
            raise LogError("the reader is not open")
        records = self._reader.read(timeout_ms=READ_MS, records_max=RECORDS_PER_READ_MAX)
        if not records:
            return
        seen: list[SeenDecision] = []
        unknown: list[bytes] = []
        for record in records:
            try:
                found = self._decode(record)
            except UnknownSchemaError as error:
                unknown.append(error.fingerprint)
            else:
                if found is not None:
                    seen.append(found)
            self._positions[record.partition] = record.offset + 1
        self._hand_over(Batch(seen=seen, records=len(records), unknown=unknown))

    def _decode(self, record: LogRecord) -> SeenDecision | None:
        """Returns a decision of a request that waits here. Raises `UnknownSchemaError`."""
        if record.value is None:
            return None
        try:
            decision = self._codec.decode(record.value)
            if not isinstance(decision, Decision):
                return None
            core = self._codec.decode(decision.core)
        except UnknownSchemaError:
            raise
        except UndecodableError:
            return None
        if not isinstance(core, DecisionCore) or not self._is_awaited(core.request_id):
            return None
        marks = (record.value[_MARK], decision.core[_MARK])
        return SeenDecision(record.partition, record.offset, decision, core, marks)

    def _reopen(self) -> None:
        """Starts anew at the ends, after a gap or while the log is away."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        while not self._stopping.wait(_RETRY_S):
            try:
                self.open()
            except LogError:
                continue
            self._hand_over(Batch(is_open=True))
            return
