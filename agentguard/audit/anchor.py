# SPDX-License-Identifier: Apache-2.0
"""The anchor log: once a minute one leaf that lists all heads, under a tree of its own.

Whoever holds one of its heads can tell whether any partition was rewritten or has vanished. A
leaf is the canonical text of `anchor_leaf`; the signed note covers the tree up to that leaf.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from agentguard.audit.merkle import Frontier
from agentguard.audit.note import Head, NoteKey, SignedHead, open_note, sign_head
from agentguard.contracts.errors import VerificationError
from agentguard.contracts.hashing import leaf_hash
from agentguard.contracts.ports import Signer, Verifier
from agentguard.contracts.records import Anchor, AnchoredHead, Mode

_LABEL = "agentguard/anchor/v1"


def anchor_leaf(
    *, cluster: str, index: int, anchored_at_ms: int, heads: Sequence[AnchoredHead]
) -> bytes:
    """Returns the leaf of an anchor: label, cluster, index, time, one line for each head.

    Raises `VerificationError` (ANCHOR) unless the heads are in strict order of origin and no
    name can spill into another line.
    """
    origins = [h.origin for h in heads]
    if origins != sorted(set(origins)):
        raise VerificationError("the heads of an anchor are out of order", finding="ANCHOR")
    if any(c.isspace() for text in (cluster, *origins) for c in text):
        raise VerificationError("a name in an anchor holds a space", finding="ANCHOR")
    lines = [_LABEL, cluster, str(index), str(anchored_at_ms)]
    lines += [f"{h.origin} {h.size} {base64.b64encode(h.root).decode()}" for h in heads]
    return ("\n".join(lines) + "\n").encode()


class AnchorTree:
    """The anchor log as far as it was read."""

    def __init__(self, origin: str, cluster: str) -> None:
        self.origin = origin
        self._cluster = cluster
        self._frontier = Frontier()
        self.last: Anchor | None = None

    @property
    def size(self) -> int:
        """How many anchors there are; also the next one's index."""
        return self._frontier.size

    def root(self) -> bytes:
        """Returns the root of the anchor log."""
        return self._frontier.root()

    def make(self, heads: Sequence[Head], signer: Signer, now_ms: int) -> Anchor:
        """Returns the next anchor over these heads; the tree is not changed until it is read."""
        index = self.size
        listed = tuple(
            AnchoredHead(origin=h.origin, size=h.size, root=h.root)
            for h in sorted(heads, key=lambda h: h.origin)
        )
        leaf = anchor_leaf(cluster=self._cluster, index=index, anchored_at_ms=now_ms, heads=listed)
        frontier = self._frontier.copy()
        frontier.append(leaf_hash(leaf))
        head = Head(origin=self.origin, size=frontier.size, root=frontier.root())
        return Anchor(
            cluster=self._cluster,
            mode=Mode.LIVE,
            origin=self.origin,
            index=index,
            heads=listed,
            note=sign_head(head, signer, now_ms // 1000),
            frontier=frontier.hashes,
            anchored_at_ms=now_ms,
        )

    def apply(self, anchor: Anchor, keys: Sequence[NoteKey], verifier: Verifier) -> SignedHead:
        """Adds the next anchor once it verified; returns its signed head.

        Raises `VerificationError`: ANCHOR where it is not the next one or differs from its note,
        ANCHOR_FORK where an index that was read before comes again with another leaf, NOTE, SIG,
        FRONTIER.
        """
        if anchor.cluster != self._cluster or anchor.mode is not Mode.LIVE:
            raise VerificationError("an anchor of another cluster or mode", finding="ANCHOR")
        if anchor.origin != self.origin:
            raise VerificationError("an anchor of another log", finding="ORIGIN")
        signed = open_note(anchor.note, keys, verifier)
        if anchor.index != self.size:
            self._refuse_index(anchor)
        leaf = anchor_leaf(
            cluster=anchor.cluster,
            index=anchor.index,
            anchored_at_ms=anchor.anchored_at_ms,
            heads=anchor.heads,
        )
        frontier = self._frontier.copy()
        frontier.append(leaf_hash(leaf))
        head = Head(origin=self.origin, size=frontier.size, root=frontier.root())
        time_s = signed.signed_at_s(self.origin)
        if signed.head != head or anchor.frontier != frontier.hashes:
            raise VerificationError("an anchor differs from its note", finding="ANCHOR")
        if time_s != anchor.anchored_at_ms // 1000:
            raise VerificationError("an anchor's time differs from its note", finding="ANCHOR")
        self._frontier = frontier
        self.last = anchor
        return signed

    def follow(self, anchor: Anchor, keys: Sequence[NoteKey], verifier: Verifier) -> None:
        """Adds an anchor, or starts from it where none was read yet; raises as `apply` does.

        The tree before a first anchor is taken from its frontier, which its note vouches for.
        """
        if self.last is not None or anchor.index == 0:
            self.apply(anchor, keys, verifier)
            return
        signed = open_note(anchor.note, keys, verifier)
        frontier = Frontier(anchor.index + 1, anchor.frontier)
        head = Head(origin=self.origin, size=frontier.size, root=frontier.root())
        if signed.head != head or anchor.cluster != self._cluster:
            raise VerificationError("an anchor differs from its note", finding="ANCHOR")
        self._frontier = frontier
        self.last = anchor

    def _refuse_index(self, anchor: Anchor) -> None:
        if self.last is not None and anchor.index == self.last.index and anchor != self.last:
            raise VerificationError(
                f"two different anchors {anchor.index} are signed", finding="ANCHOR_FORK"
            )
        raise VerificationError(f"anchor {anchor.index} where {self.size} is due", finding="ANCHOR")
