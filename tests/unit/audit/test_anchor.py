# SPDX-License-Identifier: Apache-2.0
"""The anchor log: one tree, one leaf after another, no second leaf for an index."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentguard.adapters.mldsa_signer import MlDsaSigner, MlDsaVerifier
from agentguard.audit.anchor import AnchorTree, anchor_leaf
from agentguard.audit.note import Head, NoteKey
from agentguard.contracts.errors import VerificationError
from agentguard.contracts.records import Anchor, AnchoredHead, Mode

ORIGIN = "audit.example/agentguard/c/anchors"
SIGNER = MlDsaSigner.from_seed(b"s" * 32)
KEYS = [NoteKey(name=ORIGIN, public_key=SIGNER.public_key)]
VERIFIER = MlDsaVerifier()
HEADS = [Head(origin=f"o/{n}", size=n, root=bytes([n]) * 32) for n in (2, 1)]


def three() -> list[Anchor]:
    tree, made = AnchorTree(ORIGIN, "c"), []
    for n in range(3):
        made.append(tree.make(HEADS, SIGNER, 1_790_000_000_000 + n * 60_000))
        tree.apply(made[-1], KEYS, VERIFIER)
    return made


MADE = three()


def finding(tree: AnchorTree, anchor: Anchor) -> str:
    before = (tree.size, tree.root())
    with pytest.raises(VerificationError) as raised:
        tree.follow(anchor, KEYS, VERIFIER)
    assert (tree.size, tree.root()) == before
    return raised.value.finding


def test_leaf_is_the_canonical_text_in_order_of_origin() -> None:
    leaf = anchor_leaf(cluster="c", index=0, anchored_at_ms=7, heads=MADE[0].heads)
    assert leaf.startswith(b"agentguard/anchor/v1\nc\n0\n7\no/1 1 AQEB")
    with pytest.raises(VerificationError):
        anchor_leaf(cluster="c", index=0, anchored_at_ms=7, heads=MADE[0].heads[::-1])
    with pytest.raises(VerificationError):
        anchor_leaf(cluster="c\n1", index=0, anchored_at_ms=7, heads=())
    twice = (MADE[0].heads[0], MADE[0].heads[0])
    with pytest.raises(VerificationError):
        anchor_leaf(cluster="c", index=0, anchored_at_ms=7, heads=twice)


def test_tree_taken_up_in_the_middle_goes_on_as_the_whole_one() -> None:
    whole, resumed = AnchorTree(ORIGIN, "c"), AnchorTree(ORIGIN, "c")
    for anchor in MADE:
        whole.follow(anchor, KEYS, VERIFIER)
    for anchor in MADE[1:]:
        resumed.follow(anchor, KEYS, VERIFIER)
    assert (resumed.size, resumed.root()) == (whole.size, whole.root()) == (3, whole.root())


@pytest.mark.parametrize(
    "change",
    [
        {"cluster": "d"},
        {"mode": Mode.REPLAY},
        {"origin": "audit.example/agentguard/d/anchors"},
        {"anchored_at_ms": MADE[2].anchored_at_ms + 1},
        {"heads": MADE[2].heads[:1]},
        {"heads": (AnchoredHead(origin="o/1", size=9, root=bytes(32)),)},
        {"frontier": MADE[1].frontier},
        {"note": MADE[1].note},
        {"note": MADE[2].note.replace("\n3\n", "\n4\n")},
        {"index": 3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_changed_anchor_is_refused_and_changes_nothing(change: dict[str, object]) -> None:
    tree = AnchorTree(ORIGIN, "c")
    for anchor in MADE[:2]:
        tree.follow(anchor, KEYS, VERIFIER)
    finding(tree, replace(MADE[2], **change))  # type: ignore[arg-type]


def test_second_anchor_of_one_index_is_a_fork_and_a_repeat_is_not() -> None:
    tree = AnchorTree(ORIGIN, "c")
    tree.follow(MADE[0], KEYS, VERIFIER)
    other = AnchorTree(ORIGIN, "c").make(HEADS[:1], SIGNER, 1_790_000_000_000)
    assert finding(tree, other) == "ANCHOR_FORK"
    assert finding(tree, MADE[0]) == "ANCHOR"


def test_anchor_taken_up_first_must_be_what_its_note_says() -> None:
    for change in ({"cluster": "d"}, {"frontier": (bytes(32),)}, {"frontier": ()}):
        finding(AnchorTree(ORIGIN, "c"), replace(MADE[1], **change))  # type: ignore[arg-type]
