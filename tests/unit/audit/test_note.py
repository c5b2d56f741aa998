# SPDX-License-Identifier: Apache-2.0
"""Checkpoint text, key ids and signatures against the golden vector; hostile notes."""

from __future__ import annotations

import base64
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.adapters.mldsa_signer import MlDsaSigner, MlDsaVerifier
from agentguard.audit.merkle import consistency_proof, inclusion_proof, root_of
from agentguard.audit.note import (
    Head,
    NoteKey,
    checkpoint_text,
    cosigned_message,
    key_id,
    open_note,
    parse_head,
    parse_verifier_key,
    sign_head,
    verifier_key,
)
from agentguard.contracts.errors import VerificationError
from agentguard.contracts.hashing import leaf_hash

ORIGIN = "audit.example.com/agentguard/test/0"
SIGNER = MlDsaSigner.from_seed(bytes(range(32)))
KEY = NoteKey(name=ORIGIN, public_key=SIGNER.public_key)
LEAVES = [leaf_hash(v) for v in (b"a", b"b", b"c")]
HEAD = Head(origin=ORIGIN, size=3, root=root_of(LEAVES))
TIME_S = 1_790_000_000
NOTE = sign_head(HEAD, SIGNER, TIME_S)
VERIFIER = MlDsaVerifier()


def test_golden_vector_of_leaf_root_key_and_message() -> None:
    assert LEAVES[0].hex() == "022a6979e6dab7aa5ae4c3e5e45f7e977112a7e63593820dbec1ec738a24f93c"
    assert HEAD.root.hex() == "36642e73c2540ab121e3a6bf9545b0a24982cd830eb13d3cd19de3ce6c021ec1"
    assert key_id(ORIGIN, SIGNER.public_key).hex() == "20627d6b"
    assert (
        sha256(SIGNER.public_key).hexdigest()
        == "9f107644c1084526af3bc8098680b05499a2325a644e388fb4f970e058d19d46"
    )
    message = cosigned_message(ORIGIN, HEAD, TIME_S)
    name = "23" + ORIGIN.encode().hex()
    assert len(message) == 140
    assert message.hex() == (
        "737562747265652f76310a00" + name + "000000006ab13b80" + name
        + "0000000000000000" + "0000000000000003" + HEAD.root.hex()
    )  # fmt: skip


def test_golden_vector_of_the_proofs() -> None:
    second = bytes.fromhex("597fcb31282d34654c200d3418fca5705c648ebf326ec73d8ddef11841f876d8")
    assert inclusion_proof(LEAVES, 1, 3) == [LEAVES[0], second]
    assert consistency_proof(LEAVES, 2, 3) == [second]


def test_signed_note_has_the_exact_text_and_verifies() -> None:
    opened = open_note(NOTE, [KEY], VERIFIER)
    assert opened.head == HEAD
    assert opened.signed_at_s(ORIGIN) == TIME_S
    assert opened.signed_at_s("someone else") is None
    root = base64.b64encode(HEAD.root).decode()
    assert NOTE.startswith(f"{ORIGIN}\n3\n{root}\n\n\u2014 {ORIGIN} IGJ9a")
    assert parse_head(checkpoint_text(HEAD)) == HEAD


@given(st.integers(0, len(NOTE) - 1), st.integers(1, 127))
def test_any_changed_character_makes_the_note_fail(at: int, by: int) -> None:
    changed = NOTE[:at] + chr((ord(NOTE[at]) + by) % 0x3000 or 1) + NOTE[at + 1 :]
    with pytest.raises(VerificationError):
        open_note(changed, [KEY], VERIFIER)


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("", "NOTE"),
        (checkpoint_text(HEAD), "NOTE"),
        (checkpoint_text(HEAD) + "\n", "NOTE"),
        (NOTE.rstrip("\n"), "NOTE"),
        (NOTE.replace("\n3\n", "\n03\n"), "NOTE"),
        (NOTE.replace("\n3\n", "\n3\nextension\n"), "NOTE"),
        (NOTE.replace("\n3\n", "\n4\n"), "SIG"),
        (NOTE.replace("\n3\n", "\n99999999999999999999\n"), "NOTE"),
        (NOTE.replace(ORIGIN, "other.example.com/agentguard/test/0"), "SIG"),
        (NOTE + NOTE.split("\n\n")[1] * 16, "NOTE"),
        (NOTE + "\u2014 name AA==\n", "NOTE"),
        (NOTE + "\u2014 name\n", "NOTE"),
        (NOTE + "\x00", "NOTE"),
        ("a" * 200_001, "NOTE"),
    ],
)
def test_malformed_or_forged_note_is_refused(text: str, finding: str) -> None:
    with pytest.raises(VerificationError) as raised:
        open_note(text, [KEY], VERIFIER)
    assert raised.value.finding == finding


def test_wrong_line_of_a_known_key_fails_the_note_beside_a_right_one() -> None:
    other = MlDsaSigner.from_seed(bytes(32))
    witness = NoteKey(name="witness.example.org/w1", public_key=other.public_key)
    line = NOTE.split("\n\n")[1].split(" ")[2]
    raw = witness.key_id + base64.b64decode(line)[4:]
    forged = NOTE + f"\u2014 {witness.name} {base64.b64encode(raw).decode()}\n"
    assert open_note(forged, [KEY], VERIFIER).head == HEAD  # the witness is unknown here
    with pytest.raises(VerificationError) as raised:
        open_note(forged, [KEY, witness], VERIFIER)
    assert raised.value.finding == "SIG"


def test_another_key_under_the_same_name_is_refused() -> None:
    other = MlDsaSigner.from_seed(bytes(32))
    with pytest.raises(VerificationError) as raised:
        open_note(sign_head(HEAD, other, TIME_S), [KEY], VERIFIER)
    assert raised.value.finding == "SIG"


def test_verifier_key_reads_back_and_a_changed_one_is_refused() -> None:
    text = verifier_key(KEY)
    assert parse_verifier_key(text) == KEY
    for bad in (text.replace("20627d6b", "20627d6c"), text[:-4], "name", "+20627d6b+BgAA", ""):
        with pytest.raises(VerificationError) as raised:
            parse_verifier_key(bad)
        assert raised.value.finding == "POLICY"


def test_name_that_does_not_fit_its_length_byte_is_refused() -> None:
    with pytest.raises(VerificationError):
        cosigned_message("x" * 256, HEAD, TIME_S)
    with pytest.raises(VerificationError):
        cosigned_message("", HEAD, TIME_S)
