# SPDX-License-Identifier: Apache-2.0
"""The running gateway: starts and stops its parts, turns the log's events into settled waits.

Everything here but the decisions reader runs on one event loop: the pen, the pending map, the
control fold. What may block goes to a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from agentguard.bounds import CONTROL_END_ASK_MS, IN_FLIGHT_AGENT_MIN, IN_FLIGHT_AGENT_SHARE
from agentguard.contracts.codes import Code
from agentguard.contracts.errors import AgentGuardError, LogError
from agentguard.contracts.ports import Delivery, TopicPartition
from agentguard.contracts.topics import Topic
from agentguard.gateway.callers import Caller
from agentguard.gateway.decisions_feed import Batch, DecisionsFeed
from agentguard.gateway.door import APPEND_ERRORS
from agentguard.gateway.known import KnownOutcomes
from agentguard.gateway.opening import Opened, open_log
from agentguard.gateway.parts import Parts
from agentguard.gateway.reading import BodyMeter
from agentguard.gateway.refusals import RefusedError
from agentguard.gateway.repeats import Repeats
from agentguard.gateway.reply import PERMITTING
from agentguard.gateway.waiting import Wait, Waiting
from agentguard.pipeline.control_feed import CONTROL
from agentguard.telemetry import (
    GATEWAY_CONTROL_OFFSET,
    GATEWAY_DECISIONS_READ,
    GATEWAY_DECISIONS_REFUSED,
    GATEWAY_IN_FLIGHT,
    GATEWAY_READY,
)

TICK_S: Final = 0.05
_RETRY_S: Final = 0.2
_FLUSH_MS: Final = 3_000
_log = structlog.get_logger("gateway")


class Gateway:
    """All that the routes share. `start` and `stop` belong to the server's lifespan."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.clock = parts.clock
        self.metrics = parts.metrics
        self.fold = parts.fold
        self.meter = BodyMeter()
        self.known = KnownOutcomes()
        self.waiting = Waiting(parts.settings.cluster)
        self.repeats = Repeats(parts.clock)
        # callers that wait for something other than their own decision: repeats, outcomes
        self.others_waiting = 0
        self.reporting: dict[bytes, asyncio.Future[str]] = {}
        self.threads = ThreadPoolExecutor(2, thread_name_prefix="gateway")
        self._decisions = DecisionsFeed(
            parts.log,
            parts.index,
            parts.codec,
            is_awaited=self.waiting.__contains__,
            hand_over=self._hand_over,
        )
        self._opened: Opened | None = None
        self._why_not = "the log is being opened"
        self._is_positioned = False
        self._epochs_open = 0
        self._control_error = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []

    # -- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begins to open the log in the background; requests are denied until all is open."""
        self._loop = asyncio.get_running_loop()
        self._tasks.append(asyncio.create_task(self._open(), name="open"))

    async def stop(self) -> None:
        """Says what is left to say, waits for the log to have it, and closes everything."""
        self._why_not = "the gateway is stopping"
        self._settle_all(Code.NOT_READY)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._opened is not None:
            self._opened.deliveries.flush()
            self._opened.enforcements.tick(is_last=True)
            await self._flush(self._opened)
        await asyncio.to_thread(self._decisions.stop)
        self.threads.shutdown(wait=False, cancel_futures=True)

    async def _flush(self, opened: Opened) -> None:
        try:
            left = await asyncio.to_thread(opened.door.flush, _FLUSH_MS)
        except AgentGuardError as error:
            _log.warning("flush_failed", error=error.code)
            return
        if left == 0:
            self.parts.on_stopped(opened.door.last_sequence)

    async def _open(self) -> None:
        """Opens the log, again and again while it is away, then keeps everything moving."""
        while self._opened is None:
            try:
                self._opened = await asyncio.to_thread(
                    open_log, self.parts, self.known, self._decisions
                )
            except LogError as error:
                self._why_not = f"the log cannot be opened: {error}"
                await asyncio.sleep(_RETRY_S)
            except AgentGuardError as error:
                self.die(str(error))
                return
        self._why_not = ""
        self._is_positioned = True
        self._decisions.start()
        self._epochs_open = self._opened.partitions
        for partition in range(self._opened.partitions):
            self._start_epoch(self._opened, partition)
        self._tasks.append(asyncio.create_task(self._ask_ends(self._opened), name="ask-ends"))
        while not self._why_not:
            self._tick(self._opened)
            await asyncio.sleep(TICK_S)

    def _start_epoch(self, opened: Opened, partition: int) -> None:
        """Begins this life in a partition; none is used before the log has that record."""

        def report(delivery: Delivery) -> None:
            if delivery.error:
                self._later(_RETRY_S, partition)
            else:
                self._epochs_open -= 1

        try:
            opened.door.start_epoch(partition, report)
        except APPEND_ERRORS:
            self._later(_RETRY_S, partition)

    def _later(self, delay_s: float, partition: int) -> None:
        if self._loop is not None and self._opened is not None and not self._why_not:
            self._loop.call_later(delay_s, self._start_epoch, self._opened, partition)

    def die(self, reason: str) -> None:
        """Denies everything from here on: only a new process helps."""
        self._why_not = reason
        self._settle_all(Code.NOT_READY)
        _log.error("gateway_died", reason=reason)
        self.parts.on_fatal(reason)

    # -- readiness --------------------------------------------------------------------------------

    @property
    def opened(self) -> Opened:
        """What needs the log. Raises `RefusedError` (not_ready) before it is open."""
        if self._opened is None:
            raise RefusedError(Code.NOT_READY, self._why_not)
        return self._opened

    def why_not_ready(self) -> str:
        """Returns why no request is accepted now, or an empty text."""
        reason = self._why_not_open()
        if reason or self._opened is None:
            return reason
        control = self._opened.control.why_not_ready()
        return f"{control} ({self._control_error})" if control and self._control_error else control

    def check_open(self) -> None:
        """Raises `RefusedError` where a request cannot be accepted: too many wait, or not ready."""
        if len(self.waiting) + self.others_waiting >= self.parts.settings.in_flight_max:
            raise RefusedError(Code.SHED)
        reason = self._why_not_open()
        if reason:
            raise RefusedError(Code.NOT_READY, reason)
        if not self.opened.control.is_fresh():
            raise RefusedError(Code.CONTROL_STALE)
        reason = self.opened.control.why_not_ready()
        if reason:
            raise RefusedError(Code.NOT_READY, reason)

    def check_share(self, caller: Caller) -> None:
        """Raises `RefusedError` (shed) where one agent's requests fill more than its share."""
        most = max(IN_FLIGHT_AGENT_MIN, self.parts.settings.in_flight_max // IN_FLIGHT_AGENT_SHARE)
        if self.waiting.of_caller(caller) >= most:
            raise RefusedError(Code.SHED)

    def _why_not_open(self) -> str:
        if self._why_not:
            return self._why_not
        if not self._is_positioned:
            return "the decisions are read anew"
        if self._epochs_open > 0:
            return "the log has not taken this door's first records"
        if self.fold.genesis is not None and self.fold.cluster != self.parts.settings.cluster:
            return "the control log is another cluster's"
        return ""

    def floor(self, partition: int) -> int:
        """Returns the position in the decisions of a partition that this gateway has read."""
        return self._decisions.position(partition)

    # -- events of the log ------------------------------------------------------------------------

    def place(self, request_id: bytes, delivery: Delivery) -> None:
        """Takes the delivery report of a request's record."""
        if delivery.error:
            wait = self.waiting.refuse(request_id, Code.UNREACHABLE)
        else:
            wait = self.waiting.place(request_id, delivery.offset)
        if wait is not None:
            wait.wake()

    def expire(self, wait: Wait) -> None:
        """Ends a request's time: what is undecided is denied, the secret is forgotten."""
        if wait.offset < 0:
            self._poll()  # its delivery report may be due
        code = Code.DEADLINE if wait.offset >= 0 else Code.UNREACHABLE
        if self.waiting.refuse(wait.request.request_id, code) is not None:
            wait.wake()
        elif wait.effective is not None and wait.effective.core.verdict in PERMITTING:
            # decided in time; if its caller was gone by then, nobody was told
            self.withhold(wait, Code.DEADLINE)
        wait.forget()

    def withhold(self, wait: Wait, code: str) -> None:
        """Notes, once and only if nothing was told, that the caller got no answer but a deny."""
        if not wait.withheld and wait.told is None:
            wait.withheld = code
            self.opened.enforcements.withheld(wait, code)

    def _hand_over(self, batch: Batch) -> None:
        """Takes a batch from the reader's thread to the loop, in one wake-up."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._take, batch)

    def _take(self, batch: Batch) -> None:
        self.metrics.count(GATEWAY_DECISIONS_READ, by=batch.records)
        if batch.fatal:
            self.die(batch.fatal)
        if batch.is_gap:
            self._is_positioned = False
            self._settle_all(Code.UNREACHABLE)
        if batch.is_open:
            self._is_positioned = True
        if any(self.fold.is_readable(mark) for mark in batch.unknown):
            self.die("a decision has a schema that this build does not know")
        if not batch.seen:
            return
        self._poll()  # the delivery reports of these requests are due by now
        for seen in batch.seen:
            is_readable = all(self.fold.is_readable(mark) for mark in seen.fingerprints)
            wait, is_refused = self.waiting.offer(seen, is_readable=is_readable)
            if is_refused:
                self.metrics.count(GATEWAY_DECISIONS_REFUSED)
            if wait is not None:
                wait.wake()

    def _settle_all(self, code: Code) -> None:
        for wait in self.waiting.refuse_all(code):
            wait.wake()

    def follow_control(self) -> None:
        """Folds what has come of the control log; never waits.

        Also called before an allow is handed out, so that a kill that has reached this process is
        in the fold by then.
        """
        try:
            self.opened.control.pump()
            self._control_error = ""
        except LogError as error:
            self._control_error = str(error)  # the feed ages until nothing is allowed any more
        except AgentGuardError as error:
            self.die(str(error))

    # -- what has to happen again and again -------------------------------------------------------

    def _poll(self) -> None:
        try:
            self.opened.door.poll()
        except AgentGuardError as error:
            self.die(str(error))

    def _tick(self, opened: Opened) -> None:
        """Moves everything that nobody else moves."""
        self._poll()
        self.follow_control()
        if self._why_not:
            return
        opened.deliveries.tick()
        opened.enforcements.tick()
        if opened.heartbeats.is_due():
            self._beat(opened)
        self.repeats.tick()
        self.metrics.set(GATEWAY_IN_FLIGHT, len(self.waiting))
        self.metrics.set(GATEWAY_CONTROL_OFFSET, self.fold.folded)
        self.metrics.set(GATEWAY_READY, 0 if self.why_not_ready() else 1)

    def _beat(self, opened: Opened) -> None:
        """Says that this gateway lives, and how far it has read; a lost heartbeat is a beat late."""
        release = self.fold.release(self.clock.now_ms())
        reason = self.why_not_ready()
        folded = {
            TopicPartition(Topic.DECISIONS, p): self.floor(p) - 1 for p in range(opened.partitions)
        }
        with contextlib.suppress(*APPEND_ERRORS):
            opened.heartbeats.beat(
                folded={CONTROL: self.fold.folded, **folded},
                releases=() if release is None else (str(release.sequence),),
                ready=not reason,
                reason=reason,
            )

    async def _ask_ends(self, opened: Opened) -> None:
        """Asks for the control log's end, on a thread: while the log is away, that takes long."""
        loop = asyncio.get_running_loop()
        while not self._why_not:
            await loop.run_in_executor(self.threads, opened.control.ask_end)
            await asyncio.sleep(CONTROL_END_ASK_MS / 1000)
