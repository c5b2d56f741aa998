# SPDX-License-Identifier: Apache-2.0
"""Proof of single records as text: C2SP tlog-proof, the record itself as the extra data.

A proof file of ours holds one part for each record, one after another; each part is a complete
`.tlog-proof` that any C2SP tool verifies against the record's bytes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from agentguard.audit.merkle import verify_inclusion
from agentguard.audit.note import Head, open_note, parse_head
from agentguard.audit.origins import Origin, parse_origin
from agentguard.audit.trust import TrustPolicy
from agentguard.contracts.errors import VerificationError
from agentguard.contracts.hashing import leaf_hash
from agentguard.contracts.ports import Verifier

HEADER = "c2sp.org/tlog-proof@v1"
PROOF_CHARS_MAX = 4_000_000
_PATH_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordProof:
    """One record, its number, its audit path, and the checkpoint that covers it."""

    value: bytes
    index: int
    path: tuple[bytes, ...]
    note: str

    def stated_origin(self) -> Origin:
        """Returns the tree that the note names, not verified. Raises `VerificationError`."""
        return parse_origin(parse_head(self.note.rpartition("\n\n")[0] + "\n").origin)


def proof_text(proof: RecordProof) -> str:
    """Returns one `.tlog-proof` part."""
    lines = [HEADER, f"extra {_b64(proof.value)}", f"index {proof.index}"]
    lines += [_b64(h) for h in proof.path]
    return "\n".join(lines) + "\n\n" + proof.note


def parse_proofs(text: str) -> tuple[RecordProof, ...]:
    """Returns every part of a proof file. Raises `VerificationError` (PROOF)."""
    if len(text) > PROOF_CHARS_MAX or not text.startswith(f"{HEADER}\n"):
        raise _refused("it is no tlog-proof")
    parts = text.split(f"{HEADER}\n")
    if parts[0]:
        raise _refused("it is no tlog-proof")
    return tuple(_parse(part) for part in parts[1:])


def verify_record(proof: RecordProof, trust: TrustPolicy, verifier: Verifier) -> Head:
    """Returns the signed head under which the record lies.

    Raises `VerificationError`: ORIGIN for a log that is not trusted, NOTE or SIG for its
    checkpoint, INCLUSION where the record is not in that tree at that number.
    """
    origin = str(proof.stated_origin())
    key = trust.log_key(origin)
    if key is None:
        raise VerificationError("a proof from an unknown log", finding="ORIGIN")
    signed = open_note(proof.note, (key, *trust.witnesses.values()), verifier)
    if signed.signed_at_s(origin) is None:
        raise VerificationError("the log itself did not sign the checkpoint", finding="SIG")
    if not trust.is_witnessed(n for n, _ in signed.signers if n != origin):
        raise VerificationError("the quorum of witnesses did not sign", finding="NO_WITNESS")
    verify_inclusion(
        proof.index,
        signed.head.size,
        leaf=leaf_hash(proof.value),
        path=proof.path,
        root=signed.head.root,
    )
    return signed.head


def _parse(part: str) -> RecordProof:
    head, separator, note = part.partition("\n\n")
    lines = head.split("\n")
    if not separator or len(lines) < 2 or len(lines) > _PATH_MAX + 2:
        raise _refused("a part has no checkpoint")
    index = lines[1].removeprefix("index ")
    if not lines[1].startswith("index ") or not index.isascii() or not index.isdigit():
        raise _refused("a part has no index")
    if not lines[0].startswith("extra ") or len(index) > 19 or str(int(index)) != index:
        raise _refused("a part holds no record")
    return RecordProof(
        value=_unb64(lines[0].removeprefix("extra ")),
        index=int(index),
        path=tuple(_unb64(line) for line in lines[2:]),
        note=note,
    )


def summary_of(heads: Sequence[Head]) -> str:
    """Returns how large the trees are that the records lie under, for people."""
    return ", ".join(f"{h.origin} at size {h.size}" for h in heads)


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _unb64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise _refused("a line is not base64") from error
    if _b64(raw) != text:
        raise _refused("a line is not canonical base64")
    return raw


def _refused(why: str) -> VerificationError:
    return VerificationError(f"the proof is refused: {why}", finding="PROOF")
