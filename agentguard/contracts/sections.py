# SPDX-License-Identifier: Apache-2.0
"""Personal content behind a salted commitment; readable until the keyring exists."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import sha256

from agentguard.contracts.errors import VerificationError
from agentguard.contracts.hashing import section_commitment
from agentguard.contracts.records import Section, SectionName

SALT_BYTES = 32


def make_section(name: SectionName, plaintext: bytes, salt: bytes) -> Section:
    """Returns an unencrypted section. `salt` is 32 bytes, random or derived by `derived_salt`."""
    return Section(
        name=name, commitment=section_commitment(salt, plaintext), salt=salt, body=plaintext
    )


def open_section(section: Section, body: bytes | None = None) -> bytes:
    """Returns the plaintext of an unencrypted section; `body` replaces a chunked one.

    Raises `VerificationError` (SECTION_COMMITMENT, SECTION_ENCRYPTED).
    """
    if section.key_id is not None or section.salt is None:
        raise VerificationError("the section is encrypted", finding="SECTION_ENCRYPTED")
    plaintext = section.body if body is None else body
    if not hmac.compare_digest(section_commitment(section.salt, plaintext), section.commitment):
        raise VerificationError(
            "a section differs from its commitment", finding="SECTION_COMMITMENT"
        )
    return plaintext


def find_section(sections: Iterable[Section], name: SectionName) -> Section | None:
    """Returns the first section of that name."""
    return next((s for s in sections if s.name is name), None)


def derived_salt(
    source_salt: bytes, *, name: SectionName, mode: str, partition: int, offset: int, text: bytes
) -> bytes:
    """Returns the salt of a section inside a decision core, which holds no randomness.

    x = HMAC(source salt, name | mode | partition | offset | SHA-256(plaintext)),
    salt = HMAC(x, "salt").
    """
    label = f"{name.value}|{mode}|{partition}|{offset}|".encode()
    x = hmac.digest(source_salt, label + sha256(text).digest(), "sha256")
    return hmac.digest(x, b"salt", "sha256")
