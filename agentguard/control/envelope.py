# SPDX-License-Identifier: Apache-2.0
"""Builds and signs a command: the value of one record of the control log."""

from __future__ import annotations

from collections.abc import Sequence

from agentguard.contracts.commands import CommandBody, SignedCommand
from agentguard.contracts.hashing import command_message
from agentguard.contracts.ports import Codec, Signer
from agentguard.contracts.records import (
    CommandSignature,
    ControlCommand,
    Mode,
    SignatureScheme,
)
from agentguard.control.scopes import scope_of

NONCE_BYTES = 16


def make_command(
    body: CommandBody,
    *,
    codec: Codec,
    cluster: str,
    signers: Sequence[tuple[str, Signer]],
    nonce: bytes,
    scope_version: int = 0,
    not_before_ms: int = 0,
    not_after_ms: int = 0,
    scope: str | None = None,
) -> bytes:
    """Returns the record value of a command, signed by each (key id, signer).

    More arguments than the norm: they are the envelope, and each is a fact that is signed.
    `nonce` is 16 fresh random bytes: two equal commands must differ. `scope` is the one that the
    body names unless given. Interval ends of 0 are none. Signing blocks about 1 ms a key.
    """
    signed = codec.encode(
        SignedCommand(
            cluster=cluster,
            type=type(body).__name__,
            fold_min=1,
            audience=cluster,
            scope=scope_of(body) if scope is None else scope,
            scope_version=scope_version,
            not_before_ms=not_before_ms,
            not_after_ms=not_after_ms,
            nonce=nonce,
            body=codec.encode(body),
        )
    )
    return seal_command(signed, codec=codec, cluster=cluster, signers=signers)


def seal_command(
    signed: bytes, *, codec: Codec, cluster: str, signers: Sequence[tuple[str, Signer]]
) -> bytes:
    """Returns the record value around a `SignedCommand` frame, signed over exactly its bytes."""
    message = command_message(signed)
    signatures = tuple(
        CommandSignature(
            key_id=key_id, scheme=SignatureScheme.ML_DSA_44, signature=signer.sign(message)
        )
        for key_id, signer in signers
    )
    return codec.encode(
        ControlCommand(cluster=cluster, mode=Mode.LIVE, signed=signed, signatures=signatures)
    )
