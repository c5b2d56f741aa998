# SPDX-License-Identifier: Apache-2.0
"""Recent calls and sessions of one agent: what is pending, what was charged, what was read."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from agentguard.bounds import SEEN_TOOLS_MAX, TAINT_MS
from agentguard.contracts.charges import CALLS, SENSITIVE, SPEND, UNTRUSTED_OUTPUT
from agentguard.contracts.records import AgentRequest, Charge, Verdict
from agentguard.session.outputs import Output, Taint

_pack = msgspec.msgpack.Encoder().encode

DELIVERED: Final = 1
REDEEMED: Final = 2
RETURNED: Final = 4
ANSWERED: Final = 8
DRY_RUN: Final = 16

EXECUTABLE: Final = (Verdict.ALLOW, Verdict.TRANSFORM)


class Price(NamedTuple):
    """What a pending call counts for where it restricts, under the deciding control prefix."""

    amount_minor: int
    is_sensitive: bool
    taints: bool


class Session:
    """What one session of an agent has seen and done.

    A session that begins within an hour of something untrusted in another one inherits it.
    """

    __slots__ = (
        "_inherited",
        "borrowed",
        "calls",
        "first_ms",
        "first_offset",
        "id",
        "is_cut",
        "lowered",
        "seen",
        "sensitive_calls",
        "size",
        "taint",
        "untrusted_calls",
    )

    def __init__(self, session_id: str, first_offset: int, first_ms: int, agent: Taint) -> None:
        self.id = session_id
        self.first_offset = first_offset
        self.first_ms = first_ms
        self.taint = Taint()
        self._inherited = agent.copy()
        self.calls = 0
        self.sensitive_calls = 0
        self.untrusted_calls = 0
        self.size = 0
        self.is_cut = False
        self.seen: dict[str, int] = {}
        self.borrowed: dict[bytes, Output] = {}
        self.lowered: set[bytes] = set()

    @property
    def is_tainted(self) -> bool:
        """Whether something untrusted was read here, or elsewhere within the hour before."""
        if self.untrusted_calls or self.taint.at_ms:
            return True
        return self._inherited.at_ms > self.first_ms - TAINT_MS

    def saw(self, tool: str, offset: int) -> None:
        """Remembers that a call of this tool ran; the first 64 tools are kept."""
        seen = self.seen
        known = seen.get(tool)
        if known is not None and known <= offset:
            return
        seen[tool] = offset
        if len(seen) > SEEN_TOOLS_MAX:
            del seen[max(seen, key=seen.__getitem__)]

    def snapshot(self) -> tuple[object, ...]:
        """Returns this session's part of a snapshot."""
        return (
            self.id,
            self.first_offset,
            self.first_ms,
            self.taint.at_ms,
            self._inherited.at_ms,
            self.calls,
            self.sensitive_calls,
            self.untrusted_calls,
            self.size,
            self.is_cut,
            sorted(self.seen.items()) if self.seen else (),
            sorted(self.borrowed) if self.borrowed else (),
            sorted(self.lowered) if self.lowered else (),
        )


class Call:
    """One request of an agent, from its record until nothing more can come of it."""

    __slots__ = (
        "_packed",
        "_price",
        "_priced_at",
        "charges",
        "epoch",
        "flags",
        "offset",
        "ordinal",
        "outputs",
        "parameters",
        "producer",
        "request_id",
        "session",
        "t_ms",
        "tag",
        "tool",
        "verdict",
    )

    def __init__(
        self,
        request: AgentRequest,
        *,
        offset: int,
        ordinal: int,
        session: Session,
        parameters: bytes,
    ) -> None:
        self.offset = offset
        self.ordinal = ordinal
        self.request_id = request.request_id
        self.producer = request.producer
        self.epoch = request.epoch
        self.tool = request.tool
        self.session = session
        self.tag = request.body_tag
        self.parameters = parameters
        self.flags = DRY_RUN if request.dry_run else 0
        self.verdict: Verdict | None = None
        self.t_ms = 0
        self.charges: tuple[Charge, ...] = ()
        self.outputs: list[Output] = []
        self._price: Price | None = None
        self._priced_at = -1
        self._packed: msgspec.Raw | None = None

    def note(self, flag: int) -> None:
        """Records what a door said of this call."""
        self.flags |= flag
        self._packed = None

    def decide(self, verdict: Verdict, charges: tuple[Charge, ...], t_ms: int) -> None:
        """Records the effective decision; what was needed to price the call is let go."""
        self.verdict = verdict
        self.charges = charges
        self.t_ms = t_ms
        self.parameters = b""
        self._packed = None

    @property
    def counts(self) -> bool:
        """Whether the call counts as executed while pending: not a dry run, not given back."""
        return not self.flags & (RETURNED | DRY_RUN)

    @property
    def is_executed(self) -> bool:
        """Whether an effective decision lets it run and nobody said that it was not delivered."""
        return self.verdict in EXECUTABLE and self.counts

    @property
    def is_settled(self) -> bool:
        """Whether no later record of a door can change anything about it."""
        if self.verdict is None:
            return False
        known = self.flags & (DELIVERED | REDEEMED)
        return not self.is_executed or bool(known and self.flags & ANSWERED)

    def remembered_price(self, control_offset: int) -> Price | None:
        """Returns the price made under this control offset, if there is one."""
        return self._price if self._priced_at == control_offset else None

    def remember_price(self, price: Price, control_offset: int) -> Price:
        """Keeps a price, so that a burst does not price its calls again and again."""
        self._price = price
        self._priced_at = control_offset
        return price

    def packed(self) -> msgspec.Raw:
        """Returns this call's part of a snapshot."""
        if self._packed is None:
            parts = (
                self.offset,
                self.ordinal,
                self.request_id,
                self.producer,
                self.epoch,
                self.tool,
                self.session.first_offset,
                self.tag,
                self.flags,
                self.verdict,
                self.t_ms,
                [(c.counter, c.amount, c.unit, c.categories) for c in self.charges],
            )
            self._packed = msgspec.Raw(_pack(parts))
        return self._packed


def amounts_of(charges: tuple[Charge, ...]) -> tuple[int, int, bool, bool]:
    """Returns (calls, minor units spent, sensitive, untrusted output) of charges."""
    calls = spend = 0
    sensitive = untrusted = False
    for charge in charges:
        if charge.counter == CALLS:
            calls += charge.amount
            sensitive = sensitive or SENSITIVE in charge.categories
            untrusted = untrusted or UNTRUSTED_OUTPUT in charge.categories
        elif charge.counter == SPEND:
            spend += charge.amount
    return calls, spend, sensitive, untrusted
