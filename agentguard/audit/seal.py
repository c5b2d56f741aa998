# SPDX-License-Identifier: Apache-2.0
"""The sealer as a pure function of the log: records in, tree heads out.

Leaf number = offset, leaf = the record's value. Nothing is added, so two sealers cannot disagree
and a crash needs no protocol: the last checkpoint's frontier, then read on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

from agentguard.audit.merkle import Frontier
from agentguard.audit.note import Head, NoteKey, open_note, sign_head
from agentguard.audit.origins import Origin
from agentguard.contracts.errors import VerificationError
from agentguard.contracts.ports import LogRecord, Signer, Verifier
from agentguard.contracts.records import Checkpoint, Mode


class PartitionTree:
    """The tree of one partition as far as its records were read.

    `known` are heads that someone else has already seen (size → root): a tree that passes one of
    those sizes with another root is a fork, and nothing of it may be signed.
    """

    def __init__(
        self,
        origin: Origin,
        frontier: Frontier | None = None,
        *,
        known: Mapping[int, bytes] | None = None,
    ) -> None:
        self.origin = origin
        self.nulls = 0
        self._frontier = frontier or Frontier()
        self._known = {s: r for s, r in (known or {}).items() if s >= self._frontier.size}
        self._check_known()

    @property
    def size(self) -> int:
        """Leaves so far; also the next offset to read."""
        return self._frontier.size

    @property
    def may_sign(self) -> bool:
        """Whether every head that someone has already seen is behind this tree."""
        return not self._known

    def extend(self, records: Sequence[LogRecord]) -> int:
        """Adds records in offset order; returns how many of them had a null value.

        Raises `VerificationError`: HOLE where an offset is not the next one (nothing of this
        batch may be signed), SEALER_FORK where a known head has another root.
        """
        nulls = 0
        start = self.size
        leaves: list[bytes] = []
        for at, record in enumerate(records, start=start):
            if record.offset != at:
                raise VerificationError(
                    f"offset {record.offset} follows {at - 1} in `{self.origin}`", finding="HOLE"
                )
            value = record.value
            if value is None:
                nulls += 1
                value = b""
            leaves.append(sha256(b"\x00" + value).digest())
        done = start
        for size in sorted(s for s in self._known if s <= start + len(leaves)):
            self._frontier.extend(leaves[done - start : size - start])
            done = size
            self._check_known()
        self._frontier.extend(leaves[done - start :])
        self.nulls += nulls
        return nulls

    def head(self) -> Head:
        """Returns the tree head."""
        return Head(origin=str(self.origin), size=self.size, root=self._frontier.root())

    def checkpoint(self, signer: Signer, now_ms: int) -> Checkpoint:
        """Returns the signed checkpoint of the tree as it is.

        Raises `VerificationError` (SEALER_ROLLBACK) while someone has seen a larger tree.
        """
        if not self.may_sign:
            raise VerificationError(
                f"a tree of {max(self._known)} leaves of `{self.origin}` is known, "
                f"this one has {self.size}",
                finding="SEALER_ROLLBACK",
            )
        head = self.head()
        return Checkpoint(
            cluster=self.origin.cluster,
            mode=Mode.LIVE,
            origin=head.origin,
            topic=self.origin.topic,
            partition=self.origin.partition,
            generation=self.origin.generation,
            size=head.size,
            root=head.root,
            note=sign_head(head, signer, now_ms // 1000),
            frontier=self._frontier.hashes,
            next_offset=head.size,
            sealed_at_ms=now_ms,
        )

    def _check_known(self) -> None:
        root = self._known.pop(self.size, None)
        if root is not None and root != self._frontier.root():
            raise VerificationError(
                f"another tree of {self.size} leaves of `{self.origin}` is known",
                finding="SEALER_FORK",
            )


def open_checkpoint(
    record: Checkpoint, origin: Origin, key: NoteKey, verifier: Verifier
) -> tuple[Frontier, int]:
    """Returns the frontier of a checkpoint and its signer's time in seconds.

    Raises `VerificationError`: NOTE, SIG, ORIGIN, FRONTIER or CHECKPOINT where any field of the
    record differs from what its note says.
    """
    signed = open_note(record.note, (key,), verifier)
    head = signed.head
    if head.origin != str(origin) or record.origin != head.origin:
        raise VerificationError("a checkpoint of another tree", finding="ORIGIN")
    stated = (record.size, record.root, record.next_offset)
    named = (record.topic, record.partition, record.generation, record.cluster, record.mode)
    expected = (origin.topic, origin.partition, origin.generation, origin.cluster, Mode.LIVE)
    if stated != (head.size, head.root, head.size) or named != expected:
        raise VerificationError("a checkpoint differs from its note", finding="CHECKPOINT")
    frontier = Frontier(record.size, record.frontier)
    if frontier.root() != head.root:
        raise VerificationError("a frontier has another root", finding="FRONTIER")
    time_s = signed.signed_at_s(key.name)
    if time_s is None or time_s != record.sealed_at_ms // 1000:
        raise VerificationError("a checkpoint's time differs from its note", finding="CHECKPOINT")
    return frontier, time_s
