# SPDX-License-Identifier: Apache-2.0
"""Trees against the recursive definition of RFC 6962, written again here."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from agentguard.contracts.errors import VerificationError
from agentguard.contracts.hashing import leaf_hash

LEAVES = [leaf_hash(bytes([i])) for i in range(70)]


def tree_hash(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, over leaf hashes."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + tree_hash(leaves[:k]) + tree_hash(leaves[k:])).digest()


@pytest.mark.parametrize("size", range(len(LEAVES)))
def test_root_is_the_recursive_definition_for_every_size(size: int) -> None:
    one_by_one = Frontier()
    for leaf in LEAVES[:size]:
        one_by_one.append(leaf)
    assert one_by_one.root() == root_of(LEAVES, 0, size) == tree_hash(LEAVES[:size])
    assert Frontier(size, one_by_one.hashes).root() == one_by_one.root()


@given(st.lists(st.integers(0, 20), max_size=6))
def test_batches_of_any_size_lead_to_the_same_root(sizes: list[int]) -> None:
    tree = Frontier()
    done = 0
    for size in sizes:
        tree.extend(LEAVES[done : min(done + size, len(LEAVES))])
        done = min(done + size, len(LEAVES))
    assert (tree.size, tree.root()) == (done, tree_hash(LEAVES[:done]))


@given(st.data())
def test_inclusion_proof_verifies_and_nothing_else_does(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(LEAVES)))
    index = data.draw(st.integers(0, size - 1))
    path = inclusion_proof(LEAVES, index, size)
    root = tree_hash(LEAVES[:size])
    verify_inclusion(index, size, leaf=LEAVES[index], path=path, root=root)
    wrong = [
        (index, size, LEAVES[(index + 1) % 70], path, root),
        (index, size, LEAVES[index], path, leaf_hash(root)),
        (index, size, LEAVES[index], [*path, root], root),
        (size, size, LEAVES[index], path, root),
        (-1, size, LEAVES[index], path, root),
    ]
    wrong += [(index, size, LEAVES[index], path[:-1], root)] if path else []
    wrong += [(index ^ 1, size, LEAVES[index], path, root)] if size > 1 else []
    for i, n, leaf, proof, head in wrong:
        with pytest.raises(VerificationError):
            verify_inclusion(i, n, leaf=leaf, path=proof, root=head)


@given(st.data())
def test_consistency_proof_verifies_and_nothing_else_does(data: st.DataObject) -> None:
    new = data.draw(st.integers(0, len(LEAVES)))
    old = data.draw(st.integers(0, new))
    roots = {"old_root": tree_hash(LEAVES[:old]), "new_root": tree_hash(LEAVES[:new])}
    path = consistency_proof(LEAVES, old, new)
    verify_consistency(old, new, path=path, **roots)
    with pytest.raises(VerificationError):
        verify_consistency(old, new, path=path, old_root=bytes(32), new_root=roots["new_root"])
    with pytest.raises(VerificationError):
        verify_consistency(old, new, path=[*path, bytes(32)], **roots)
    with pytest.raises(VerificationError):
        verify_consistency(new + 1, new, path=path, **roots)
    for i in range(len(path)):
        flipped = [*path[:i], bytes(32), *path[i + 1 :]]
        with pytest.raises(VerificationError):
            verify_consistency(old, new, path=flipped, **roots)


def test_frontier_that_does_not_fit_its_size_is_refused() -> None:
    with pytest.raises(VerificationError, match="does not fit"):
        Frontier(3, [LEAVES[0]])
    with pytest.raises(VerificationError, match="32 bytes"):
        Frontier(1, [b"short"])
    with pytest.raises(VerificationError, match="does not fit"):
        Frontier(-1, [])


def test_proofs_of_what_is_not_there_are_refused() -> None:
    for index, size in ((3, 3), (-1, 3), (0, 71)):
        with pytest.raises(VerificationError):
            inclusion_proof(LEAVES, index, size)
    for old, new in ((3, 2), (-1, 2), (0, 71)):
        with pytest.raises(VerificationError):
            consistency_proof(LEAVES, old, new)


def test_empty_tree_has_its_own_root() -> None:
    assert Frontier().root() == EMPTY_ROOT == sha256(b"").digest()
