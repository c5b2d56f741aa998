# SPDX-License-Identifier: Apache-2.0
"""ML-DSA (FIPS 204) by `cryptography`. Keys are seed-form PKCS#8 files (RFC 9881), mode 0600."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import mldsa

from agentguard.contracts.errors import ConfigError
from agentguard.contracts.records import SignatureScheme

ALGORITHM = "ML-DSA-44"


class MlDsaSigner:
    """`Signer` with one ML-DSA-44 key. The context string is empty."""

    def __init__(self, key: mldsa.MLDSA44PrivateKey) -> None:
        self._key = key
        self._public = key.public_key().public_bytes_raw()

    @classmethod
    def from_seed(cls, seed: bytes) -> MlDsaSigner:
        """Returns the signer of a 32-byte seed."""
        return cls(mldsa.MLDSA44PrivateKey.from_seed_bytes(seed))

    @classmethod
    def from_file(cls, path: Path) -> MlDsaSigner:
        """Returns the signer of a PKCS#8 PEM file. Raises `ConfigError`."""
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(
                f"key file `{path.name}` is not a seed-form PKCS#8 key",
                next_step="openssl genpkey -algorithm ML-DSA-44 "
                "-provparam ml-dsa.output_formats=seed-only",
            ) from error
        if not isinstance(key, mldsa.MLDSA44PrivateKey):
            raise ConfigError(f"key file `{path.name}` is not an ML-DSA-44 key")
        return cls(key)

    def write_file(self, path: Path) -> None:
        """Writes the key as a new PKCS#8 PEM file of mode 0600; refuses to replace one."""
        pem = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(pem)

    @property
    def public_key(self) -> bytes:
        """Raw public key, 1,312 bytes."""
        return self._public

    def sign(self, message: bytes) -> bytes:
        """Returns the signature, 2,420 bytes."""
        return self._key.sign(message)


def read_public_key(path: Path) -> bytes:
    """Returns the raw public key of a PEM file, public or private. Raises `ConfigError`."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"key file `{path.name}` cannot be read: {error.strerror}") from error
    except ValueError:
        return MlDsaSigner.from_file(path).public_key
    if not isinstance(key, mldsa.MLDSA44PublicKey):
        raise ConfigError(f"key file `{path.name}` is not an {ALGORITHM} key")
    return key.public_bytes_raw()


class MlDsaVerifier:
    """`Verifier` for ML-DSA schemes; anything malformed is False."""

    def verify(self, *, scheme: str, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Returns whether the signature is right."""
        if scheme != SignatureScheme.ML_DSA_44:
            return False
        try:
            mldsa.MLDSA44PublicKey.from_public_bytes(public_key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True
