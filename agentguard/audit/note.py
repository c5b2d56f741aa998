# SPDX-License-Identifier: Apache-2.0
"""C2SP text of the seal: checkpoints as signed notes, verifier keys.

Sources: C2SP signed-note, tlog-checkpoint, tlog-cosignature (type 0x06, ML-DSA-44). A signature
is pure ML-DSA-44 with an empty context over the `cosigned_message` structure; it commits to the
key's name, the log's origin, size, root and time, so nothing else in a note needs to be trusted.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from agentguard.contracts.errors import VerificationError
from agentguard.contracts.hashing import DIGEST_BYTES
from agentguard.contracts.ports import Signer, Verifier
from agentguard.contracts.records import SignatureScheme

PUBLIC_KEY_BYTES = 1_312
SIGNATURE_BYTES = 2_420
SIGNATURES_MAX = 16
NOTE_CHARS_MAX = 200_000
NAME_BYTES_MAX = 255
_ALGORITHM = b"\x06"
_KEY_ID_BYTES = 4
_TIME_BYTES = 8
_DASH = "\u2014"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteKey:
    """A public key under a name: what a signature line refers to."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that name this key in a signature line."""
        return key_id(self.name, self.public_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A tree head: the tree's name, its size, its root."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHead:
    """A tree head whose note verified, with each trusted signer and its time in seconds."""

    head: Head
    signers: tuple[tuple[str, int], ...]

    def signed_at_s(self, name: str) -> int | None:
        """Returns when that key signed, or None where it did not."""
        return next((time for signer, time in self.signers if signer == name), None)


def key_id(name: str, public_key: bytes) -> bytes:
    """Returns SHA-256(name | newline | type 0x06 | public key), first 4 bytes."""
    return sha256(name.encode() + b"\n" + _ALGORITHM + public_key).digest()[:_KEY_ID_BYTES]


def verifier_key(key: NoteKey) -> str:
    """Returns the key as a vkey line (C2SP signed-note, verifier keys)."""
    body = base64.b64encode(_ALGORITHM + key.public_key).decode()
    return f"{key.name}+{key.key_id.hex()}+{body}"


def parse_verifier_key(text: str) -> NoteKey:
    """Returns the key of a vkey. Raises `VerificationError` (POLICY)."""
    name, _, rest = text.partition("+")
    mark, _, body = rest.partition("+")
    raw = _base64(body, "POLICY")
    if raw[:1] != _ALGORITHM or len(raw) != 1 + PUBLIC_KEY_BYTES:
        raise VerificationError("a key is not ML-DSA-44 (type 0x06)", finding="POLICY")
    key = NoteKey(name=name, public_key=raw[1:])
    if not name or key.key_id.hex() != mark:
        raise VerificationError(f"the key id of `{name}` is wrong", finding="POLICY")
    return key


def cosigned_message(name: str, head: Head, time_s: int) -> bytes:
    """Returns the bytes that a signature is over (C2SP tlog-cosignature, ML-DSA-44 message)."""
    return b"".join(
        (
            b"subtree/v1\n\0",
            _short(name),
            time_s.to_bytes(_TIME_BYTES, "big"),
            _short(head.origin),
            bytes(_TIME_BYTES),
            head.size.to_bytes(_TIME_BYTES, "big"),
            head.root,
        )
    )


def _short(text: str) -> bytes:
    raw = text.encode()
    if not 1 <= len(raw) <= NAME_BYTES_MAX:
        raise VerificationError("a name is empty or longer than 255 bytes", finding="ORIGIN")
    return bytes((len(raw),)) + raw


def checkpoint_text(head: Head) -> str:
    """Returns the text of a checkpoint: origin, size, root, each with its newline."""
    return f"{head.origin}\n{head.size}\n{base64.b64encode(head.root).decode()}\n"


def sign_head(head: Head, signer: Signer, time_s: int) -> str:
    """Returns the signed note of a head; the log's own key carries the origin as its name."""
    signature = signer.sign(cosigned_message(head.origin, head, time_s))
    mark = key_id(head.origin, signer.public_key)
    line = base64.b64encode(mark + time_s.to_bytes(_TIME_BYTES, "big") + signature).decode()
    return f"{checkpoint_text(head)}\n{_DASH} {head.origin} {line}\n"


def _base64(text: str, finding: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise VerificationError("not base64", finding=finding) from error
    if base64.b64encode(raw).decode() != text:  # non-zero padding bits: two texts for one value
        raise VerificationError("base64 that is not canonical", finding=finding)
    return raw


def parse_head(text: str) -> Head:
    """Returns the head of a checkpoint text. Raises `VerificationError` (NOTE)."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0]:  # no extension lines: none are signed
        raise VerificationError("a checkpoint is three lines", finding="NOTE")
    origin, size, root = lines[:3]
    if not size.isascii() or not size.isdigit() or str(int(size[:20])) != size:
        raise VerificationError("a tree size is not a plain number", finding="NOTE")
    raw = _base64(root, "NOTE")
    if len(raw) != DIGEST_BYTES or int(size) >= 1 << 63:
        raise VerificationError("a root is not 32 bytes or the size too big", finding="NOTE")
    return Head(origin=origin, size=int(size), root=raw)


def open_note(text: str, keys: Iterable[NoteKey], verifier: Verifier) -> SignedHead:
    """Returns the head of a signed note once every line of a known key verified.

    Lines of unknown keys are ignored, as C2SP demands. Raises `VerificationError`: NOTE where the
    text is malformed, SIG where a known key's signature is wrong or none is there.
    """
    if len(text) > NOTE_CHARS_MAX or any(c < " " and c != "\n" for c in text):
        raise VerificationError("a note is too long or holds control characters", finding="NOTE")
    body, separator, block = text.rpartition("\n\n")
    if not separator or not block.endswith("\n"):
        raise VerificationError("a note has no signatures", finding="NOTE")
    head = parse_head(body + "\n")
    known = {(k.name, k.key_id): k for k in keys}
    lines = block[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise VerificationError("a note has too many signatures", finding="NOTE")
    signers: list[tuple[str, int]] = []
    for line in lines:
        name, raw = _signature_line(line)
        key = known.get((name, raw[:_KEY_ID_BYTES]))
        if key is not None:
            signers.append((name, _check_signature(key, head, raw[_KEY_ID_BYTES:], verifier)))
    if not signers:
        raise VerificationError("no trusted key signed the note", finding="SIG")
    return SignedHead(head=head, signers=tuple(signers))


def _signature_line(line: str) -> tuple[str, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != _DASH or not parts[1]:
        raise VerificationError("a signature line is malformed", finding="NOTE")
    raw = _base64(parts[2], "NOTE")
    if len(raw) <= _KEY_ID_BYTES:
        raise VerificationError("a signature line is too short", finding="NOTE")
    return parts[1], raw


def _check_signature(key: NoteKey, head: Head, raw: bytes, verifier: Verifier) -> int:
    time_s = int.from_bytes(raw[:_TIME_BYTES], "big")
    is_right = len(raw) == _TIME_BYTES + SIGNATURE_BYTES and verifier.verify(
        scheme=SignatureScheme.ML_DSA_44,
        public_key=key.public_key,
        message=cosigned_message(key.name, head, time_s),
        signature=raw[_TIME_BYTES:],
    )
    if not is_right:
        raise VerificationError(f"the signature of `{key.name}` is wrong", finding="SIG")
    return time_s
