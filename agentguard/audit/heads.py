# SPDX-License-Identifier: Apache-2.0
"""The signed heads of an export: every checkpoint and every anchor, verified one by one."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agentguard.audit.anchor import AnchorTree
from agentguard.audit.findings import Report
from agentguard.audit.note import NoteKey
from agentguard.audit.origins import Origin, parse_origin
from agentguard.audit.seal import open_checkpoint
from agentguard.audit.trust import TrustPolicy
from agentguard.contracts.errors import UndecodableError, VerificationError
from agentguard.contracts.hashing import DIGEST_BYTES
from agentguard.contracts.ports import Codec, Verifier
from agentguard.contracts.records import Anchor, Checkpoint


@dataclass(slots=True)
class HeadsOfTree:
    """Signed heads of one tree: sizes and roots side by side (40 bytes each), latest time.

    `signed` are the sizes and times of its own checkpoints, in the order of the export.
    """

    sizes: array[int] = field(default_factory=lambda: array("Q"))
    roots: bytearray = field(default_factory=bytearray)
    signed: list[tuple[int, int]] = field(default_factory=list)

    def add(self, size: int, root: bytes) -> None:
        """Notes a head; one that equals the last noted is kept once."""
        if self.sizes and self.sizes[-1] == size and self.roots[-DIGEST_BYTES:] == root:
            return
        self.sizes.append(size)
        self.roots += root

    def in_order(self) -> list[tuple[int, bytes]]:
        """Returns the different heads by rising size."""
        step = DIGEST_BYTES
        pairs = {
            (size, bytes(self.roots[i * step : (i + 1) * step]))
            for i, size in enumerate(self.sizes)
        }
        return sorted(pairs)

    @property
    def largest_signed(self) -> int:
        """The largest size under a checkpoint of its own, -1 without one."""
        return max((size for size, _ in self.signed), default=-1)

    @property
    def last_signed_ms(self) -> int:
        """When the last checkpoint was signed, in milliseconds; 0 without one."""
        return max((time for _, time in self.signed), default=0)

    def settled_size(self, before_ms: int) -> int:
        """Returns how many leaves were under a checkpoint signed at or before that time."""
        return max((size for size, time in self.signed if time <= before_ms), default=0)


@dataclass(slots=True, kw_only=True)
class HeadReader:
    """Reads checkpoints and anchors against one trust; every refusal is a finding."""

    trust: TrustPolicy
    codec: Codec
    verifier: Verifier
    report: Report
    trees: dict[str, HeadsOfTree] = field(default_factory=dict)
    anchors: AnchorTree | None = None
    anchor_roots: dict[int, bytes] = field(default_factory=dict)
    witnessed_anchor: int = -1

    def read_checkpoints(self, values: Iterable[bytes | None]) -> None:
        """Verifies every checkpoint of the export and notes its head."""
        for number, value in enumerate(values):
            try:
                self._checkpoint(value)
            except VerificationError as error:
                self.report.refused(error, topic="checkpoints", offset=number)
            self.report.counts["checkpoints"] += 1

    def _checkpoint(self, value: bytes | None) -> None:
        record = self._decoded(value)
        if not isinstance(record, Checkpoint):
            raise VerificationError("no checkpoint", finding="CHECKPOINT")
        origin = parse_origin(record.origin)
        key = self.trust.log_key(record.origin)
        if key is None:
            raise VerificationError("a checkpoint of an unknown log", finding="ORIGIN")
        _, time_s = open_checkpoint(record, origin, key, self.verifier)
        heads = self._tree(record.origin)
        heads.add(record.size, record.root)
        heads.signed.append((record.size, time_s * 1000))  # the part of the time that is signed

    def read_anchors(self, values: Iterable[bytes | None], origin: str, cluster: str) -> None:
        """Verifies every anchor of the export and notes the heads that each lists."""
        tree = self.anchors = AnchorTree(origin, cluster)
        log_key = self.trust.log_key(origin)
        keys = [*([log_key] if log_key else []), *self.trust.witnesses.values()]
        for number, value in enumerate(values):
            try:
                self._anchor(tree, keys, value)
            except VerificationError as error:
                self.report.refused(error, topic="anchors", offset=number)
            self.report.counts["anchors"] += 1

    def _anchor(self, tree: AnchorTree, keys: list[NoteKey], value: bytes | None) -> None:
        record = self._decoded(value)
        if not isinstance(record, Anchor):
            raise VerificationError("no anchor", finding="ANCHOR")
        signed = tree.apply(record, keys, self.verifier)
        names = [name for name, _ in signed.signers if name != tree.origin]
        if self.trust.is_witnessed(names):
            self.witnessed_anchor = record.index
        self.anchor_roots[tree.size] = tree.root()
        for head in record.heads:
            parse_origin(head.origin)
            self._tree(head.origin).add(head.size, head.root)

    def _decoded(self, value: bytes | None) -> object:
        try:
            return self.codec.decode(value or b"")
        except UndecodableError as error:
            raise VerificationError("undecodable bytes", finding="DECODE") from error

    def _tree(self, origin: str) -> HeadsOfTree:
        return self.trees.setdefault(origin, HeadsOfTree())


def newest_generation(trees: Mapping[str, HeadsOfTree]) -> dict[tuple[str, int], Origin]:
    """Returns the tree in force of each (topic, partition): the one of the highest generation.

    Two topic ids for one topic are two logs; the one with the later checkpoint is taken.
    """
    found: dict[tuple[str, int], Origin] = {}
    for name, heads in trees.items():
        origin = parse_origin(name)
        place = (origin.topic, origin.partition)
        other = found.get(place)
        rank = (heads.last_signed_ms, origin.generation)
        if other is None or rank > (trees[str(other)].last_signed_ms, other.generation):
            found[place] = origin
    return found
