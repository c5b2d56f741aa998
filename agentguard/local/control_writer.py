# SPDX-License-Identifier: Apache-2.0
"""Signs commands, appends them, and waits until its own fold says what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agentguard.bounds import RECORD_BYTES_MAX, STATE_DIGEST_EVERY
from agentguard.contracts.commands import CommandBody, StateDigest
from agentguard.contracts.errors import AgentGuardError, LogError
from agentguard.contracts.ports import (
    Clock,
    Codec,
    Delivery,
    Entropy,
    Log,
    LogIndex,
    LogRecord,
    LogWriter,
    Signer,
)
from agentguard.control.bodies import body_fault
from agentguard.control.envelope import NONCE_BYTES, make_command
from agentguard.control.fold import ControlFold, Judgement
from agentguard.control.scopes import scope_of
from agentguard.pipeline.control_feed import CONTROL, CONTROL_START, ControlFeed

CONTROL_WAIT_MS_MAX = 30_000
POLL_MS = 100
FLUSH_MS = 10_000


class CommandError(AgentGuardError):
    """A command that nobody should sign: its body would be rejected."""

    code = "command"
    next_step = "correct the command and send it again"


class OpenLog(Log, LogIndex, Protocol):
    """A log that also knows itself, as every adapter is."""

    def close(self) -> None:
        """Ends the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A command to be signed; interval ends of 0 are none."""

    body: CommandBody
    not_before_ms: int = 0
    not_after_ms: int = 0


class ControlWriter:
    """Appends commands for the keys it is given. Belongs to one thread.

    With the control plane's key (`state_with`) it also states the fold's digest at every multiple
    of the step that its own appends cross.
    """

    def __init__(
        self,
        log: OpenLog,
        fold: ControlFold,
        *,
        codec: Codec,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self.fold = fold
        self._log = log
        self._writer = log.writer("control")
        self._control: tuple[str, Signer] | None = None
        self._codec = codec
        self._clock = clock
        self._entropy = entropy
        self._judgements: dict[int, Judgement] = {}
        self._reader = log.reader(CONTROL_START)
        self._feed = ControlFeed(self._reader, log, fold, clock, on_judgement=self._note)

    def close(self) -> None:
        """Closes the reader."""
        self._reader.close()

    def state_with(self, control: tuple[str, Signer] | None) -> None:
        """Gives the key that signs state digests; None states none."""
        self._control = control

    def catch_up(self, timeout_ms: int = CONTROL_WAIT_MS_MAX) -> None:
        """Folds up to the log's end as it is now. Raises `LogError` after `timeout_ms`."""
        self._wait_for(self._log.bounds(CONTROL)[1], timeout_ms)
        self._judgements.clear()

    def submit(
        self, orders: Sequence[Order], signers: Sequence[tuple[str, Signer]]
    ) -> tuple[Judgement, ...]:
        """Returns what the fold says of each command, once they are acknowledged and folded.

        Signs them against the scope versions folded so far. One that lost a race is judged
        `stale_scope` and is not sent again: whoever signed it has not seen what came between.
        Raises `CommandError` before anything is appended, `LogError` where the log did not
        acknowledge (then it may have taken effect).
        """
        return self.append_values(self._sign(orders, signers))

    def append_values(self, values: Sequence[bytes]) -> tuple[Judgement, ...]:
        """Returns what the fold says of commands that were signed before, such as Genesis."""
        if not values:
            return ()
        offsets = self._append(values)
        self._wait_for(max(offsets) + 1, CONTROL_WAIT_MS_MAX)
        judgements = tuple(self._judgements[offset] for offset in offsets)
        self._judgements.clear()
        self._state_digest(offsets)
        return judgements

    def _state_digest(self, offsets: Sequence[int]) -> None:
        """States the digest where these appends crossed a multiple of the step."""
        crossed = [o + 1 for o in offsets if (o + 1) % STATE_DIGEST_EVERY == 0]
        if not crossed or self._control is None:
            return
        body = StateDigest(at_offset=crossed[-1], digest=self.fold.digest_at(crossed[-1]))
        offset = self._append(self._sign([Order(body=body)], [self._control]))[0]
        self._wait_for(offset + 1, CONTROL_WAIT_MS_MAX)

    def _note(self, record: LogRecord, judgement: Judgement) -> None:
        self._judgements[record.offset] = judgement

    def _wait_for(self, end: int, timeout_ms: int) -> None:
        deadline_ms = self._clock.monotonic_ms() + timeout_ms
        while self.fold.folded + 1 < end:
            if not self._feed.pump(POLL_MS) and self._clock.monotonic_ms() >= deadline_ms:
                raise LogError(
                    f"the control log was not read to offset {end - 1} in {timeout_ms} ms",
                    next_step="agentguard status",
                )

    def _sign(
        self, orders: Sequence[Order], signers: Sequence[tuple[str, Signer]]
    ) -> tuple[bytes, ...]:
        ahead: dict[str, int] = {}
        values = []
        for order in orders:
            fault = body_fault(order.body)
            if fault:
                raise CommandError(f"a `{type(order.body).__name__}` command is wrong: {fault}")
            scope = scope_of(order.body)
            value = make_command(
                order.body,
                codec=self._codec,
                cluster=self.fold.cluster,
                signers=signers,
                nonce=self._entropy.token(NONCE_BYTES),
                scope_version=self.fold.scope_version(scope) + ahead.get(scope, 0),
                not_before_ms=order.not_before_ms,
                not_after_ms=order.not_after_ms,
            )
            if len(value) > RECORD_BYTES_MAX:
                raise CommandError(f"the command is larger than {RECORD_BYTES_MAX} bytes")
            ahead[scope] = ahead.get(scope, 0) + 1
            values.append(value)
        return tuple(values)

    def _append(self, values: Sequence[bytes]) -> tuple[int, ...]:
        delivered: list[Delivery] = []
        for value in values:
            self._writer.append(
                CONTROL.topic,
                value,
                key=None,
                partition=CONTROL.partition,
                on_delivery=delivered.append,
            )
        flush_all(self._writer, delivered, len(values))
        return tuple(sorted(delivery.offset for delivery in delivered))


def flush_all(writer: LogWriter, delivered: Sequence[Delivery], expected: int) -> None:
    """Waits for every acknowledgement. Raises `LogError` where one is missing."""
    writer.flush(FLUSH_MS)
    failed = [delivery.error for delivery in delivered if delivery.error]
    if failed or len(delivered) < expected:
        raise LogError(
            f"the log did not acknowledge: {failed[0] if failed else 'no answer'}",
            next_step="agentguard status; then read what took effect before you repeat",
        )
