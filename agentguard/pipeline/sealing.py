# SPDX-License-Identifier: Apache-2.0
"""Seals the log in place: reads the sealed topics, writes checkpoints and anchors.

The trees are a pure function of the log (`audit.seal`), so a restart is: the last checkpoint's
frontier, then read on. Whatever someone has already seen (a checkpoint, an anchor, a head from
outside) must come out again, or nothing of that tree is signed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

import structlog

from agentguard.audit.anchor import AnchorTree
from agentguard.audit.note import Head, NoteKey
from agentguard.audit.origins import Origin, anchors_origin, parse_origin
from agentguard.audit.seal import PartitionTree, open_checkpoint
from agentguard.bounds import ANCHOR_EVERY_MS, CHECKPOINT_EVERY_MS, CHECKPOINT_RECORDS_MAX
from agentguard.contracts.errors import UndecodableError, VerificationError
from agentguard.contracts.ports import (
    Clock,
    Codec,
    Delivery,
    Log,
    LogIndex,
    LogReader,
    LogRecord,
    LogWriter,
    Signer,
    TopicPartition,
    Verifier,
)
from agentguard.contracts.records import Anchor, Checkpoint
from agentguard.contracts.topics import SEALED_TOPICS, Topic
from agentguard.pipeline.ranges import read_range

_log = structlog.get_logger("seal")
_CHECKPOINTS = TopicPartition(Topic.CHECKPOINTS, 0)
_ANCHORS = TopicPartition(Topic.ANCHORS, 0)
_TAIL_RECORDS = 8_192
_TAIL_GROWTH = 4
_ANCHOR_TAIL_RECORDS = 16
# signing 25 heads takes 17 ms: at most this share of the time, so that load stretches the interval
_SIGNING_SHARE_MAX = 0.06
_INTERVAL_MS_MAX = 500
_REASON_CHARS_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class SealPorts:
    """What the sealer asks of the outside."""

    log: Log
    index: LogIndex
    codec: Codec
    clock: Clock
    signer: Signer
    verifier: Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class SealPlan:
    """Which trees there are. `generations` names partitions that a `NewGeneration` restarted.

    `known` are heads that the control log commits to: what survived a loss.
    """

    domain: str
    cluster: str
    topics: Sequence[str] = SEALED_TOPICS
    generations: Mapping[TopicPartition, int] = field(default_factory=dict)
    known: Sequence[Head] = ()


class Sealer:
    """One sealer over all sealed partitions. Belongs to one thread."""

    def __init__(self, ports: SealPorts, plan: SealPlan) -> None:
        self._ports = ports
        self._plan = plan
        self._trees: dict[TopicPartition, PartitionTree] = {}
        self._signed: dict[TopicPartition, int] = {}
        self._failed: list[TopicPartition] = []
        self._anchors = AnchorTree(anchors_origin(plan.domain, plan.cluster), plan.cluster)
        self._anchors_end = 0
        self._anchored: Anchor | None = None
        self._reader: LogReader | None = None
        self._writer: LogWriter | None = None
        self._signed_at_ms = float("-inf")
        self._signing_ms = 0.0
        self._refreshed_at_ms = float("-inf")
        self.alarms: dict[TopicPartition, VerificationError] = {}

    def start(self, known: Iterable[Head] = ()) -> None:
        """Finds where every tree stands and opens reader and writer.

        `known` are heads that others hold (store, witness). Fails closed: raises
        `VerificationError` (SEALER_ROLLBACK, SEALER_FORK, HOLE) where the log holds less than, or
        something else than, what is known.
        """
        origins = self._origins()
        by_name = {str(o): at for at, o in origins.items()}
        last = self._last_checkpoints(origins, by_name)
        self._resume_anchors()
        seen: dict[TopicPartition, dict[int, bytes]] = {at: {} for at in origins}
        for head in (*known, *self._plan.known, *self._anchored_heads()):
            at = by_name.get(head.origin)
            if at is not None:
                note_head(seen[at], head)
        for at, origin in origins.items():
            self._trees[at] = self._tree(at, origin, last.get(at), seen[at])
        self._signed = dict.fromkeys(origins, -1)
        self._reader = self._ports.log.reader({at: t.size for at, t in self._trees.items()})
        self._writer = self._ports.log.writer("seal")
        _log.info("sealing_started", partitions=len(origins), resumed=len(last))

    def cycle(self) -> int:
        """Reads what is there and signs what is due; returns how many checkpoints it wrote.

        A partition whose records do not go on where its tree ends is left alone from then on, with
        an alarm; the others are sealed further. Raises `FatalLogError`, `LogError`.
        """
        written = 0
        for records in self._drain():
            self._extend(records)
            written += self._sign_due(overfull_only=True)
        written += self._sign_due(overfull_only=False)
        now_ms = self._ports.clock.monotonic_ms()
        if now_ms - self._refreshed_at_ms >= ANCHOR_EVERY_MS and self._all_read_once():
            self._refreshed_at_ms = self._signed_at_ms = now_ms
            written += self._sign([at for at in self._trees if self._may_sign(at)])
            self._anchor()
        self._writing().poll()
        self._retry_failed()
        return written

    def pause_ms(self) -> float:
        """Returns how long to rest before the next cycle: reading in lots costs fewer wake-ups."""
        return self._interval_ms()

    def heads(self) -> tuple[Head, ...]:
        """Returns the head of every tree that may be signed."""
        return tuple(t.head() for at, t in self._trees.items() if self._may_sign(at))

    def unsealed(self) -> int:
        """Returns how many records were read and are under no checkpoint yet."""
        return sum(t.size - max(self._signed[at], 0) for at, t in self._trees.items())

    def positions(self) -> dict[TopicPartition, int]:
        """Returns how far each tree has been read."""
        return {at: tree.size for at, tree in self._trees.items()}

    def reason(self) -> str:
        """Returns why a partition is not sealed any more, or an empty text."""
        return "; ".join(f"{e.finding}: {e}" for e in self.alarms.values())[:_REASON_CHARS_MAX]

    def close(self) -> None:
        """Signs and anchors what was read, and leaves."""
        if self._reader is not None:
            self._sign([at for at in self._trees if self._has_changed(at)])
            if set(self.heads()) - set(self._anchored_heads()) and self._all_read_once():
                self._anchor()
            self._reader.close()
        if self._writer is not None:
            self._writer.flush(2_000)

    # start

    def _origins(self) -> dict[TopicPartition, Origin]:
        index, plan = self._ports.index, self._plan
        found: dict[TopicPartition, Origin] = {}
        for topic in plan.topics:
            topic_id = index.topic_id(topic)
            for number in range(index.partitions(topic)):
                at = TopicPartition(topic, number)
                found[at] = Origin(
                    plan.domain, plan.cluster, topic, topic_id, number, plan.generations.get(at, 0)
                )
        return found

    def _last_checkpoints(
        self, origins: Mapping[TopicPartition, Origin], by_name: Mapping[str, TopicPartition]
    ) -> dict[TopicPartition, Checkpoint]:
        """Reads the checkpoints from the end backwards until every tree has its largest one.

        Every head is signed anew each minute, so the first window nearly always has them all.
        """
        first, end = self._ports.index.bounds(_CHECKPOINTS)
        window = _TAIL_RECORDS
        found: dict[TopicPartition, Checkpoint] = {}
        low = high = end
        while low > first and len(found) < len(origins):
            low, high = max(first, end - window), low
            window *= _TAIL_GROWTH
            for at, record in self._largest(low, high, by_name).items():
                if at not in found or record.size > found[at].size:
                    found[at] = record
        return found

    def _largest(
        self, low: int, high: int, by_name: Mapping[str, TopicPartition]
    ) -> dict[TopicPartition, Checkpoint]:
        """Returns the largest checkpoint of each tree in a range, all of them verified.

        Only the largest are verified (0.15 ms each); where one of those fails, all are.
        """
        claimed = self._claimed(low, high, by_name, is_trusted=lambda _: True)
        if all(self._is_ours(record) for record in claimed.values()):
            return claimed
        return self._claimed(low, high, by_name, is_trusted=self._is_ours)

    def _claimed(
        self,
        low: int,
        high: int,
        by_name: Mapping[str, TopicPartition],
        *,
        is_trusted: Callable[[Checkpoint], bool],
    ) -> dict[TopicPartition, Checkpoint]:
        found: dict[TopicPartition, Checkpoint] = {}
        for record in self._decoded(_CHECKPOINTS, low, high):
            if not isinstance(record, Checkpoint) or record.origin not in by_name:
                continue
            at = by_name[record.origin]
            if (at not in found or record.size >= found[at].size) and is_trusted(record):
                found[at] = record
        return found

    def _is_ours(self, record: Checkpoint) -> bool:
        key = NoteKey(name=record.origin, public_key=self._ports.signer.public_key)
        try:
            open_checkpoint(record, parse_origin(record.origin), key, self._ports.verifier)
        except VerificationError as error:
            _log.warning("checkpoint_ignored", finding=error.finding)
            return False
        return True

    def _decoded(self, at: TopicPartition, low: int, high: int) -> Iterator[object]:
        ports = self._ports
        for record in read_range(ports.log, at, low, high, clock=ports.clock):
            try:
                yield ports.codec.decode(record.value or b"")
            except UndecodableError:
                _log.warning("seal_undecodable", topic=at.topic, at=record.offset)

    def _tree(
        self,
        at: TopicPartition,
        origin: Origin,
        last: Checkpoint | None,
        seen: dict[int, bytes],
    ) -> PartitionTree:
        frontier = None
        if last is not None:
            key = NoteKey(name=str(origin), public_key=self._ports.signer.public_key)
            frontier, _ = open_checkpoint(last, origin, key, self._ports.verifier)
        tree = PartitionTree(origin, frontier, known=seen)
        first, end = self._ports.index.bounds(at)
        largest = max((tree.size, *seen))
        if end < largest:
            raise VerificationError(
                f"`{origin}` holds {end} records and a tree of {largest} is known: "
                "records were lost or the log was rolled back",
                finding="SEALER_ROLLBACK",
            )
        if first > tree.size:
            raise VerificationError(
                f"`{origin}` begins at {first} and only {tree.size} records are sealed",
                finding="HOLE",
            )
        return tree

    def _resume_anchors(self) -> None:
        first, end = self._ports.index.bounds(_ANCHORS)
        self._read_anchors(max(first, end - _ANCHOR_TAIL_RECORDS), end)

    def _read_anchors(self, low: int, high: int) -> None:
        key = NoteKey(name=self._anchors.origin, public_key=self._ports.signer.public_key)
        for record in self._decoded(_ANCHORS, low, high):
            if not isinstance(record, Anchor):
                continue
            try:
                self._anchors.follow(record, (key,), self._ports.verifier)
            except VerificationError as error:
                _log.warning("anchor_ignored", finding=error.finding)
        self._anchors_end = high

    def _anchored_heads(self) -> tuple[Head, ...]:
        last = self._anchored or self._anchors.last
        if last is None:
            return ()
        return tuple(Head(origin=h.origin, size=h.size, root=h.root) for h in last.heads)

    # reading

    def _drain(self) -> Iterator[Sequence[LogRecord]]:
        reader = self._reader
        if reader is None:
            raise VerificationError("the sealer was not started", finding="SEALER")
        while records := reader.read(timeout_ms=0, records_max=CHECKPOINT_RECORDS_MAX):
            yield records

    def _extend(self, records: Sequence[LogRecord]) -> None:
        for (topic, number), group in groupby(records, key=lambda r: (r.topic, r.partition)):
            at = TopicPartition(topic, number)
            if at in self.alarms:
                continue
            try:
                nulls = self._trees[at].extend(list(group))
            except VerificationError as error:
                self.alarms[at] = error
                _log.critical("sealing_stopped", at=str(at), finding=error.finding)
                continue
            if nulls:
                _log.warning("null_value_sealed", at=str(at), count=nulls)

    def _all_read_once(self) -> bool:
        """Whether every tree is past all that is known: no anchor may leave one out."""
        return all(t.may_sign for at, t in self._trees.items() if at not in self.alarms)

    # signing

    def _may_sign(self, at: TopicPartition) -> bool:
        return at not in self.alarms and self._trees[at].may_sign

    def _has_changed(self, at: TopicPartition) -> bool:
        return self._may_sign(at) and self._trees[at].size > max(self._signed[at], 0)

    def _interval_ms(self) -> float:
        stretched = self._signing_ms / _SIGNING_SHARE_MAX
        return min(max(CHECKPOINT_EVERY_MS, stretched), _INTERVAL_MS_MAX)

    def _sign_due(self, *, overfull_only: bool) -> int:
        changed = [at for at in self._trees if self._has_changed(at)]
        if overfull_only:
            due = [
                at
                for at in changed
                if self._trees[at].size - max(self._signed[at], 0) >= CHECKPOINT_RECORDS_MAX
            ]
            return self._sign(due)
        started_ms = self._ports.clock.monotonic_ms()
        if not changed or started_ms - self._signed_at_ms < self._interval_ms():
            return 0
        self._signed_at_ms = started_ms
        written = self._sign(changed)
        self._signing_ms = self._ports.clock.monotonic_ms() - started_ms
        return written

    def _sign(self, due: Sequence[TopicPartition]) -> int:
        writer = self._writing()
        for at in due:
            tree = self._trees[at]
            record = tree.checkpoint(self._ports.signer, self._ports.clock.now_ms())
            writer.append(
                _CHECKPOINTS.topic,
                self._ports.codec.encode(record),
                key=record.origin.encode(),
                partition=_CHECKPOINTS.partition,
                on_delivery=partial(self._delivered, at),
            )
            self._signed[at] = tree.size
        if due:
            writer.poll()
        return len(due)

    def _delivered(self, at: TopicPartition, delivery: Delivery) -> None:
        if delivery.error:
            self._failed.append(at)
            _log.warning("checkpoint_not_written", at=str(at), error=delivery.error)

    def _retry_failed(self) -> None:
        for at in self._failed:
            self._signed[at] = -1
        self._failed.clear()

    def _anchor(self) -> None:
        """Writes the next anchor, unless another sealer's has come meanwhile.

        The log of anchors is asked first: two different signed anchors with one index would be
        evidence against ourselves.
        """
        _, end = self._ports.index.bounds(_ANCHORS)
        self._read_anchors(self._anchors_end, end)
        now_ms = self._ports.clock.now_ms()
        last, heads = self._anchors.last, self.heads()
        is_foreign = last is not None and last != self._anchored
        if is_foreign and last is not None and now_ms - last.anchored_at_ms < ANCHOR_EVERY_MS // 2:
            return
        if not heads:
            return
        anchor = self._anchored = self._anchors.make(heads, self._ports.signer, now_ms)
        self._writing().append(
            _ANCHORS.topic,
            self._ports.codec.encode(anchor),
            key=anchor.origin.encode(),
            partition=_ANCHORS.partition,
        )

    def _writing(self) -> LogWriter:
        if self._writer is None:
            raise VerificationError("the sealer was not started", finding="SEALER")
        return self._writer


def note_head(seen: dict[int, bytes], head: Head) -> None:
    """Adds a head that someone holds. Raises `VerificationError` (SEALER_FORK) for two roots."""
    if seen.setdefault(head.size, head.root) != head.root:
        raise VerificationError(
            f"two trees of {head.size} leaves of `{head.origin}` are known", finding="SEALER_FORK"
        )
