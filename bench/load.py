# SPDX-License-Identifier: Apache-2.0
"""Open-loop load on a gateway: latency counts from the moment a request was due, not sent.

One process, keep-alive connections, no coordinated omission: a late answer never delays the next
request. Bodies are prepared before the clock starts, so the generator's own cost stays small; it
is reported beside the result because it runs on the same cores.
"""

from __future__ import annotations

import asyncio
import json
import resource
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

CONNECTIONS_MAX = 512
ANSWER_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Shot:
    """One prepared request: the whole HTTP text."""

    wire: bytes


@dataclass(slots=True)
class Result:
    """What came back: latencies in ms of answered requests, and how they ended."""

    offered: int = 0
    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    decided_ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    cpu_s: float = 0.0

    def quantile(self, q: float) -> float:
        """Returns a quantile of the latency of decided requests."""
        ordered = sorted(self.decided_ms)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")

    def summary(self) -> dict[str, object]:
        """Returns the figures of one run."""
        decided = len(self.decided_ms)
        return {
            "offered_per_s": round(self.offered / self.seconds, 1),
            "decided_per_s": round(decided / self.seconds, 1),
            "p50_ms": round(self.quantile(0.5), 2),
            "p95_ms": round(self.quantile(0.95), 2),
            "p99_ms": round(self.quantile(0.99), 2),
            "statuses": dict(self.statuses),
            "actions": dict(self.actions),
            "codes": dict(self.codes.most_common(8)),
            "load_cpu_us": round(self.cpu_s / max(1, self.offered) * 1e6),
        }


def shot(host: str, token: str, body: bytes) -> Shot:
    """Returns a prepared `POST /v1/decisions`."""
    head = (
        f"POST /v1/decisions HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return Shot(head.encode() + body)


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request on it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._buffer = bytearray()
        self._need = -1
        self.due = 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Notes the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Collects one answer and gives the connection back."""
        self._buffer += data
        if self._need < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            at = head.index(b"content-length:") + 15
            stop = head.find(b"\r\n", at)
            length = int(head[at : stop if stop >= 0 else None])
            self._need = end + 4 + length
        if len(self._buffer) >= self._need:
            answer = bytes(self._buffer[: self._need])
            del self._buffer[: self._need]
            self._need = -1
            self._pool.answered(self, answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Counts a broken connection as no answer."""
        self._pool.broken(self)


class Pool:
    """Connections and what they brought back."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.free: list[Connection] = []
        self.result = Result()
        self.waiting = 0
        self.open = 0

    async def connect(self) -> Connection:
        """Returns a new connection."""
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(lambda: Connection(self), self.host, self.port)
        self.open += 1
        return protocol

    def answered(self, connection: Connection, answer: bytes) -> None:
        """Records one answer."""
        elapsed = (time.perf_counter() - connection.due) * 1e3
        self.waiting -= 1
        status = int(answer[9:12])
        result = self.result
        result.statuses[status] += 1
        result.latencies_ms.append(elapsed)
        body = json.loads(answer[answer.index(b"\r\n\r\n") + 4 :])
        result.actions[body.get("action", "?")] += 1
        result.codes[body.get("code", "?")] += 1
        if status == 200 and body.get("code") != "deadline":
            result.decided_ms.append(elapsed)
        self.free.append(connection)

    def broken(self, connection: Connection) -> None:
        """Forgets a connection that ended."""
        self.open -= 1
        if connection in self.free:
            self.free.remove(connection)
        else:
            self.waiting -= 1
            self.result.statuses[0] += 1


async def fire(
    host: str, port: int, shots: Sequence[Shot], *, rate: float, seconds: float
) -> Result:
    """Sends shots in turn at `rate` a second and returns what came back."""
    pool = Pool(host, port)
    pool.free = [await pool.connect() for _ in range(min(64, CONNECTIONS_MAX))]
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    total = int(rate * seconds)
    for i in range(total):
        due = started + i / rate
        wait = due - time.perf_counter()
        if wait > 0.0005:
            await asyncio.sleep(wait)
        if not pool.free and pool.open < CONNECTIONS_MAX:
            pool.free.append(await pool.connect())
        pool.result.offered += 1
        if not pool.free:
            pool.result.statuses[-1] += 1
            await asyncio.sleep(0)
            continue
        connection = pool.free.pop()
        connection.due = due
        pool.waiting += 1
        assert connection.transport is not None
        connection.transport.write(shots[i % len(shots)].wire)
        if i % 16 == 0:
            await asyncio.sleep(0)
    pool.result.seconds = time.perf_counter() - started
    until = time.perf_counter() + ANSWER_WAIT_S
    while pool.waiting > 0 and time.perf_counter() < until:
        await asyncio.sleep(0.01)
    after = resource.getrusage(resource.RUSAGE_SELF)
    pool.result.cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return pool.result


async def closed(
    host: str, port: int, shots: Sequence[Shot], *, in_flight: int, seconds: float
) -> Result:
    """Keeps `in_flight` requests open for `seconds`: what one caller that waits can get."""
    pool = Pool(host, port)
    pool.free = [await pool.connect() for _ in range(in_flight)]
    started = time.perf_counter()
    i = 0
    while time.perf_counter() - started < seconds:
        while pool.free:
            connection = pool.free.pop()
            connection.due = time.perf_counter()
            pool.waiting += 1
            pool.result.offered += 1
            assert connection.transport is not None
            connection.transport.write(shots[i % len(shots)].wire)
            i += 1
        await asyncio.sleep(0)
    pool.result.seconds = time.perf_counter() - started
    until = time.perf_counter() + ANSWER_WAIT_S
    while pool.waiting > 0 and time.perf_counter() < until:
        await asyncio.sleep(0.01)
    return pool.result
