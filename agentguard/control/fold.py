# SPDX-License-Identifier: Apache-2.0
"""Follows the control log record by record: the one pure fold that every process applies."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import msgspec

from agentguard.bounds import REASON_CHARS_MAX, STATE_DIGEST_EVERY
from agentguard.contracts.errors import AgentGuardError
from agentguard.contracts.hashing import chain_next, chain_start, leaf_hash
from agentguard.contracts.ports import Codec, Verifier
from agentguard.control.judge import SEMANTICS_KNOWN, Judge, Ruling
from agentguard.control.state import ControlState

# the chain starts before the cluster is known: Genesis itself is a link
CHAIN_START = chain_start("", "", "ag.control")


class ControlHoleError(AgentGuardError):
    """Records of the control log came out of order or are missing: this process must not go on."""

    code = "control_hole"
    next_step = "restart the process; if it comes again, the control log has lost records"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What became of one record. `code` is the rejection, empty where it was accepted.

    `type` and `scope` are as the sender wrote them, cut, and hostile where rejected. `persons` are
    those whose signatures are right.
    """

    offset: int
    accepted: bool
    code: str
    type: str
    scope: str = ""
    digest: bytes = b""
    persons: tuple[str, ...] = ()


class ControlFold(ControlState):
    """The state of the control log after the records [0..`folded`]; -1 is none.

    `chain` is the hash chain over the leaf hashes of all of them, rejected ones too.
    """

    def __init__(self, codec: Codec, verifier: Verifier, genesis_digest: bytes | None) -> None:
        super().__init__()
        self.folded = -1
        self.chain = CHAIN_START
        self._judge = Judge(codec, verifier, genesis_digest)
        self._digests: dict[int, bytes] = {}

    def apply(self, offset: int, value: bytes | None) -> Judgement:
        """Judges the next record and lets it take effect if it is accepted.

        Raises `ControlHoleError` where `offset` is not the next one, `OutdatedBuildError` where
        the log lists a schema that this build does not have.
        """
        if offset != self.folded + 1:
            raise ControlHoleError(f"control offset {offset} after {self.folded}")
        ruling = self._judge.judge(offset, value, self)
        if ruling.rejection is None:
            self._accept(ruling)
        self.folded = offset
        self.chain = chain_next(self.chain, leaf_hash(value))
        if (offset + 1) % STATE_DIGEST_EVERY == 0:
            self._digests[offset + 1] = self.digest()
        return _judgement(offset, ruling)

    def _accept(self, ruling: Ruling) -> None:
        if ruling.signed is None or ruling.body is None:  # pragma: no cover (the judge sets both)
            raise AssertionError("an accepted ruling names its command")
        self.enact(ruling.signed, ruling.body, ruling.digest)

    @property
    def is_outdated(self) -> bool:
        """Whether semantics are in force that this build does not know: it must deny."""
        return self.semantics > SEMANTICS_KNOWN

    @property
    def disagrees(self) -> bool:
        """Whether a stated digest differs from this fold's own and nobody voided it.

        Ask at the end of the log: the command that voids a digest lies after it.
        """
        return any(
            self._digests.get(at) != digest
            for at, digests in self._stated.items()
            if at not in self._voided
            for digest in digests
        )

    def digest_at(self, at_offset: int) -> bytes:
        """Returns this fold's own digest over the offsets before a passed multiple of the step."""
        return self._digests[at_offset]

    def digest(self) -> bytes:
        """Returns the SHA-256 of the canonical encoding of the whole state."""
        image = {**self.image(), "folded": self.folded, "chain": self.chain}
        return sha256(msgspec.json.encode(image, order="sorted")).digest()


def _judgement(offset: int, ruling: Ruling) -> Judgement:
    signed = ruling.signed
    return Judgement(
        offset=offset,
        accepted=ruling.rejection is None,
        code="" if ruling.rejection is None else ruling.rejection.value,
        type="" if signed is None else signed.type[:64],
        scope="" if signed is None else signed.scope[:REASON_CHARS_MAX],
        digest=ruling.digest,
        persons=tuple(sorted(ruling.persons)),
    )
