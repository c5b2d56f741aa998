# SPDX-License-Identifier: Apache-2.0
"""Automatic reactions to one agent, folded from `ag.signals`; they can only restrict."""

from __future__ import annotations

from agentguard.contracts.hashing import DIGEST_BYTES, chain_next, leaf_hash
from agentguard.contracts.records import Signal, SignalKind

NO_SIGNALS = bytes(DIGEST_BYTES)


class SignalState:
    """What signals say about one agent. `digest` is the hash chain over them."""

    __slots__ = ("_quarantine", "digest", "sessions")

    def __init__(self) -> None:
        self.digest = NO_SIGNALS
        self._quarantine = ""
        self.sessions: dict[str, str] = {}

    def apply(self, signal: Signal, value: bytes) -> None:
        """Folds one signal of this agent. Only a command of people ends a quarantine."""
        self.digest = chain_next(self.digest, leaf_hash(value))
        if signal.kind is not SignalKind.QUARANTINE:
            return
        reason = signal.reason or "unusual behaviour"
        if signal.session_id is None:
            self._quarantine = reason
        else:
            self.sessions[signal.session_id] = reason

    def quarantine(self, session_id: str) -> str:
        """Returns why this agent or this session of it is quarantined; empty where it is not."""
        return self._quarantine or self.sessions.get(session_id, "")
