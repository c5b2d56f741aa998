# SPDX-License-Identifier: Apache-2.0
"""Hashes the leaves of one partition again and names the record that was changed.

The export's list of leaf hashes is not trusted either: the signed head after a difference says
which of the two is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import BinaryIO, NamedTuple

from agentguard.audit.findings import Report
from agentguard.audit.merkle import Frontier
from agentguard.contracts.errors import VerificationError
from agentguard.contracts.hashing import DIGEST_BYTES, leaf_hash

_NAMED_MAX = 20


class Change(StrEnum):
    """How the leaves depart from the list of their hashes."""

    CHANGED = "was changed"
    REMOVED = "was removed"
    ADDED = "was added"
    SWAPPED = "was swapped with the next"


class _Difference(NamedTuple):
    """A leaf that is not the stated one, until the next leaf says how."""

    offset: int
    leaf: bytes
    stated: bytes
    stated_next: bytes


class HeadCursor:
    """A growing tree beside the signed heads that it must pass."""

    def __init__(self, heads: Sequence[tuple[int, bytes]]) -> None:
        self._heads = heads
        self._at = 0
        self._tree = Frontier()
        self.last_good = 0
        self.first_bad: int | None = None
        self._check()

    @property
    def size(self) -> int:
        """Leaves so far."""
        return self._tree.size

    def append(self, leaf: bytes) -> None:
        """Adds a leaf hash and compares the root wherever a head is due."""
        self._tree.append(leaf)
        if self._at < len(self._heads) and self._heads[self._at][0] == self._tree.size:
            self._check()

    def _check(self) -> None:
        root = self._tree.root()
        while self._at < len(self._heads) and self._heads[self._at][0] == self._tree.size:
            size, expected = self._heads[self._at]
            self._at += 1
            if root == expected and self.first_bad is None:
                self.last_good = size
            elif root != expected and self.first_bad is None:
                self.first_bad = size


@dataclass(slots=True, kw_only=True)
class LeafCheck:
    """One pass over one partition. `heads` are its signed heads by rising size.

    `size` and `is_intact` hold after `run`: how many records there are, and whether each is where
    and what it was.
    """

    topic: str
    partition: int
    heads: Sequence[tuple[int, bytes]]
    report: Report
    size: int = 0
    is_intact: bool = True
    _changes: list[tuple[int, Change]] = field(default_factory=list)
    _is_comparing: bool = True

    def run(self, values: Iterable[bytes | None], hashes: BinaryIO) -> None:
        """Reads all leaves; notes every finding. Memory does not grow with the partition."""
        tree, listed = HeadCursor(self.heads), HeadCursor(self.heads)
        stated = _with_next(hashes)
        waiting: _Difference | None = None
        try:
            for value in values:
                leaf = leaf_hash(value)
                here, after = next(stated, (b"", b""))
                if value is None:
                    self._note_null(tree.size)
                if self._is_comparing:
                    waiting = self._compare(_Difference(tree.size, leaf, here, after), waiting)
                tree.append(leaf)
                if here:
                    listed.append(here)
        except VerificationError as error:
            self.is_intact = False
            self.report.refused(error, topic=self.topic, partition=self.partition, offset=tree.size)
        if waiting is not None:
            self._settle(waiting, b"")
        self.size = tree.size
        self._finish(tree, listed, stated)

    def _compare(self, now: _Difference, waiting: _Difference | None) -> _Difference | None:
        if waiting is not None and self._settle(waiting, now.leaf) is Change.SWAPPED:
            return None
        return now if self._is_comparing and now.leaf != now.stated else None

    def _settle(self, first: _Difference, second: bytes) -> Change:
        if first.leaf == first.stated_next:
            change = Change.SWAPPED if second == first.stated else Change.REMOVED
        else:
            change = Change.ADDED if second == first.stated else Change.CHANGED
        if len(self._changes) < _NAMED_MAX:
            self._changes.append((first.offset, change))
        if change in (Change.REMOVED, Change.ADDED):
            self._is_comparing = False  # from here on every record lies at another number
        return change

    def _finish(
        self, tree: HeadCursor, listed: HeadCursor, stated: Iterator[tuple[bytes, bytes]]
    ) -> None:
        has_rest = False
        for here, _ in stated:
            listed.append(here)
            has_rest = True
        if has_rest and not self._changes:
            self._changes.append((tree.size, Change.REMOVED))
        for at, change in self._changes:
            if tree.first_bad is None and at < tree.last_good:
                self._tampered("HASHES", "the list of leaf hashes differs from the record", at)
            else:
                self.is_intact = False
                self._tampered("LEAF", f"the record {change}", at)
        is_named = not self.is_intact and listed.first_bad is None
        if tree.first_bad is not None and not is_named:
            self.is_intact = False
            self._tampered(
                "ROOT",
                f"the tree of {tree.first_bad} records has another root than the signed head; "
                f"the first {tree.last_good} are as they were signed",
                tree.last_good,
            )
        self._compare_sizes(tree.size)

    def _compare_sizes(self, size: int) -> None:
        sizes = [s for s, _ in self.heads]
        for one, two in zip(self.heads, self.heads[1:], strict=False):
            if one[0] == two[0]:
                self._tampered("EQUIVOCATION", f"two signed trees of {one[0]} records")
        largest = max(sizes, default=0)
        if largest > size:
            self.is_intact = False
            self._tampered("MISSING_ROWS", f"{largest - size} signed records are missing", size)
        elif largest < size:
            self.report.incomplete(
                "UNSEALED_TAIL",
                f"{size - largest} records are under no signed head",
                topic=self.topic,
                partition=self.partition,
                offset=largest,
            )

    def _note_null(self, offset: int) -> None:
        self.report.note(
            "NULL_VALUE",
            "a null value, hashed as empty bytes",
            topic=self.topic,
            partition=self.partition,
            offset=offset,
        )

    def _tampered(self, name: str, message: str, offset: int = -1) -> None:
        self.report.tampered(
            name, message, topic=self.topic, partition=self.partition, offset=offset
        )


def _with_next(hashes: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yields each 32-byte hash with the one after it (empty at the end)."""
    here = hashes.read(DIGEST_BYTES)
    while here:
        after = hashes.read(DIGEST_BYTES)
        yield here, after
        here = after
