# SPDX-License-Identifier: Apache-2.0
"""What the logs say about one agent: `state(n, k)` of the architecture, pessimistic.

INVARIANT: after the same records and the same effective decisions the state is the same, whatever
order requests and decisions were read in. Every rule depends on offsets and on what the records
say, never on what had been read when; `digest` shows any breach.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from agentguard.bounds import (
    EVIDENCE_PER_AGENT_BYTES_MAX,
    EVIDENCE_PER_SESSION_BYTES_MAX,
    OUTPUTS_PER_AGENT_MAX,
    REPEATS_PER_AGENT_MAX,
    SESSIONS_PER_AGENT_MAX,
)
from agentguard.contracts.hashing import chain_start
from agentguard.session.calls import Call, Session
from agentguard.session.chunks import ChunkSets
from agentguard.session.outputs import Output, Taint
from agentguard.session.windows import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    SECOND_MS,
    Repeats,
    Window,
)

REPEAT_SPAN_MS: Final = 10 * MINUTE_MS

_pack = msgspec.msgpack.Encoder().encode


class Tag(NamedTuple):
    """The last use of an idempotency key."""

    offset: int
    body_tag: bytes | None
    at_ms: int
    is_redeemed: bool


class AgentState:
    """State of one agent in one partition. Changed by `PartitionFold` only.

    `is_home` says that the partition is the one of the agent's key. `decided_at_ms`, `control_floor` and `signal_floor` are the greatest that the agent's effective
    decisions before k name.
    """

    __slots__ = (
        "agent_id",
        "calls",
        "chunks",
        "control_floor",
        "decided_at_ms",
        "decisions_chain",
        "denials",
        "evidence_bytes",
        "is_home",
        "minute",
        "ordinal",
        "outputs",
        "producers",
        "repeats",
        "requests_chain",
        "sessions",
        "signal_floor",
        "spend",
        "tags",
        "taint",
        "tenant",
    )

    def __init__(self, cluster: str, tenant: str, agent_id: str, *, is_home: bool = True) -> None:
        self.is_home = is_home
        self.tenant = tenant
        self.agent_id = agent_id
        self.requests_chain = self.decisions_chain = chain_start(cluster, tenant, agent_id)
        self.decided_at_ms = 0
        self.control_floor = -1
        self.signal_floor = -1
        self.ordinal = 0
        self.calls: dict[int, Call] = {}
        self.sessions: dict[str, Session] = {}
        self.outputs: dict[bytes, Output] = {}
        self.evidence_bytes = 0
        self.tags: dict[bytes, Tag] = {}
        self.producers: dict[str, tuple[int, int]] = {}
        self.repeats = Repeats(REPEAT_SPAN_MS, REPEATS_PER_AGENT_MAX)
        self.minute = Window(MINUTE_MS, SECOND_MS)
        self.denials = Window(HOUR_MS, MINUTE_MS)
        self.spend = Window(DAY_MS, HOUR_MS)
        self.taint = Taint()
        self.chunks = ChunkSets()

    def touch(self, session_id: str, *, offset: int, at_ms: int) -> Session:
        """Returns the session, made where it is new; the least recently used gives way."""
        session = self.sessions.pop(session_id, None)
        if session is None:
            session = Session(session_id, offset, at_ms, self.taint)
        elif at_ms < session.first_ms:
            session.first_ms = at_ms
        self.sessions[session_id] = session
        if len(self.sessions) > SESSIONS_PER_AGENT_MAX:
            oldest = self.sessions.pop(next(iter(self.sessions)))
            for output in [o for o in self.outputs.values() if o.session is oldest]:
                self._drop(output)
        return session

    def keep(self, output: Output) -> None:
        """Keeps an output as evidence; the oldest of its session, then of all, give way."""
        session = output.session
        self.outputs[output.id] = output
        session.size += output.size
        self.evidence_bytes += output.size
        while session.size > EVIDENCE_PER_SESSION_BYTES_MAX:
            self._drop(next(o for o in self.outputs.values() if o.session is session))
        while (
            self.evidence_bytes > EVIDENCE_PER_AGENT_BYTES_MAX
            or len(self.outputs) > OUTPUTS_PER_AGENT_MAX
        ):
            self._drop(next(iter(self.outputs.values())))

    def _drop(self, output: Output) -> None:
        del self.outputs[output.id]
        self.evidence_bytes -= output.size
        output.session.size -= output.size
        output.session.is_cut = True
        for session in self.sessions.values():
            session.lowered.discard(output.id)
            if session.borrowed.pop(output.id, None) is not None:
                session.is_cut = True

    def snapshot(self) -> bytes:
        """Returns the canonical form of this state. Texts of outputs appear as offsets."""
        return _pack(
            (
                self.requests_chain,
                self.decisions_chain,
                self.decided_at_ms,
                self.control_floor,
                self.signal_floor,
                self.ordinal,
                [c.packed() for c in self.calls.values()],
                [s.snapshot() for s in self.sessions.values()],
                [o.packed() for o in self.outputs.values()],
                list(self.tags.items()),
                list(self.producers.items()),
                self.repeats.snapshot(),
                self.minute.snapshot(),
                self.denials.snapshot(),
                self.spend.snapshot(),
                self.taint.at_ms,
                self.chunks.snapshot(),
            )
        )

    def digest(self) -> bytes:
        """Returns the SHA-256 of the canonical form."""
        return sha256(self.snapshot()).digest()
