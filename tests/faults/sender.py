"""An open-loop sender: asks at a steady rate whatever comes back, and keeps a journal of it all."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.faults.world import SENDERS, World

ANSWER_S_MAX = 8.0
DEADLINE_MS = 1_000


@dataclass
class Entry:
    """One request and what its caller got: an answer, or the error of its connection."""

    number: int
    agent: str
    tool: str
    sent_s: float
    status: int = 0
    answer: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    took_s: float = 0.0

    @property
    def action(self) -> str:
        return str(self.answer.get("action", ""))


class Sender:
    """Sends from a thread of its own between `with` and its end; `journal` has every request."""

    def __init__(self, world: World, *, per_second: int) -> None:
        self._world = world
        self._pause_s = 1 / per_second
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send()), name="sender")
        self._idle: dict[str, list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = (
            defaultdict(list)
        )
        address = world.live.addresses["gateway"].removeprefix("http://")
        self._host, _, port = address.partition(":")
        self._port = int(port)
        self.journal: list[Entry] = []

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def decided_since(self, moment_s: float) -> int:
        """How many requests sent after a moment were decided on the log."""
        return sum(1 for e in list(self.journal) if e.sent_s >= moment_s and is_decided(e))

    async def _send(self) -> None:
        tasks: set[asyncio.Task[None]] = set()
        next_s = time.monotonic()
        number = 0
        while not self._stopping.is_set():
            task = asyncio.create_task(self._ask(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
            next_s += self._pause_s
            await asyncio.sleep(max(0.0, next_s - time.monotonic()))
        await asyncio.gather(*tasks)
        for idle in self._idle.values():
            for _, writer in idle:
                writer.close()

    async def _ask(self, number: int) -> None:
        agent = SENDERS[number % len(SENDERS)]
        tool = "notes.read" if number % 5 else "no.such.tool"
        entry = Entry(number, agent, tool, time.monotonic())
        self.journal.append(entry)
        body = {
            "agentId": agent,
            "toolName": tool,
            "parameters": {"name": f"n{number}"},
            "context": {"userTask": f"Read the note n{number}", "sessionId": f"s-{agent}"},
            "idempotencyKey": f"k{number}",
            "deadlineMs": DEADLINE_MS,
        }
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                entry.status, entry.answer = await self._post(agent, json.dumps(body).encode())
        except TimeoutError:
            entry.error = "no answer"
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            entry.error = f"connection: {type(error).__name__}"
        entry.took_s = time.monotonic() - entry.sent_s

    async def _post(self, agent: str, body: bytes) -> tuple[int, dict[str, Any]]:
        idle = self._idle[agent]
        while idle and (idle[-1][0].at_eof() or idle[-1][1].is_closing()):
            idle.pop()[1].close()
        reader, writer = (
            idle.pop() if idle else await asyncio.open_connection(self._host, self._port)
        )
        try:
            writer.write(
                b"POST /v1/decisions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                b"authorization: Bearer %s\r\ncontent-length: %d\r\n\r\n"
                % (self._world.tokens[agent].encode(), len(body))
                + body
            )
            status = int((await reader.readuntil(b"\r\n")).split()[1])
            length = 0
            while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            answer = json.loads(await reader.readexactly(length))
        except BaseException:
            writer.close()
            raise
        idle.append((reader, writer))
        return status, answer


def is_decided(entry: Entry) -> bool:
    """Whether a decision on the log was the answer."""
    return entry.answer.get("auditMetadata", {}).get("basis") == "decision"
