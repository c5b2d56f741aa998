# SPDX-License-Identifier: Apache-2.0
"""Every hash that names a thing on the log, with its domain separation, in one place."""

from __future__ import annotations

from hashlib import sha256

DIGEST_BYTES = 32
HISTORY_LABEL = b"agentguard/history/v1"
SECTION_LABEL = b"agentguard/section/v1\0"
COMMAND_LABEL = b"agentguard/command/v1\0"
SECRET_LABEL = b"agentguard/secret/v1\0"
TOOL_LABEL = b"agentguard/tool/v1\0"


def leaf_hash(value: bytes | None) -> bytes:
    """Returns the leaf hash of a record value (RFC 6962, section 2.1); None hashes as empty."""
    return sha256(b"\x00" + (value or b"")).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Returns the hash of an inner node (RFC 6962, section 2.1)."""
    return sha256(b"\x01" + left + right).digest()


def chain_start(cluster: str, tenant: str, agent_id: str) -> bytes:
    """Returns where an agent's hash chain starts. Parts are length-prefixed: none can spill."""
    parts = (cluster.encode(), tenant.encode(), agent_id.encode())
    body = b"".join(len(p).to_bytes(4, "big") + p for p in parts)
    return sha256(HISTORY_LABEL + body).digest()


def chain_next(head: bytes, leaf: bytes) -> bytes:
    """Returns the chain's new head after one more leaf hash."""
    return sha256(b"\x02" + head + leaf).digest()


def section_commitment(salt: bytes, plaintext: bytes) -> bytes:
    """Returns the commitment of a section."""
    return sha256(SECTION_LABEL + salt + plaintext).digest()


def command_message(signed: bytes) -> bytes:
    """Returns the message that a command's signatures are over."""
    return COMMAND_LABEL + signed


def command_digest(signed: bytes) -> bytes:
    """Returns the digest that names a command: each digest folds once."""
    return sha256(command_message(signed)).digest()


def secret_hash(request_id: bytes, secret: bytes) -> bytes:
    """Returns the hash by which a decision grants to whoever knows the secret."""
    return sha256(SECRET_LABEL + request_id + secret).digest()


def tool_pin(description: str, schema_json: str) -> bytes:
    """Returns the hash that pins a tool: what a model reads of it, and what it may be sent."""
    parts = (description.encode(), schema_json.encode())
    body = b"".join(len(p).to_bytes(4, "big") + p for p in parts)
    return sha256(TOOL_LABEL + body).digest()
