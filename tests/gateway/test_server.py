# SPDX-License-Identifier: Apache-2.0
"""The real server on loopback: slow, endless and too many clients disturb nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
import uvloop

from agentguard.gateway.app import create_app
from agentguard.gateway.server import BoundedProtocol, server_of
from tests.gateway.world import World, ask_body, deciding, new_world


@contextlib.asynccontextmanager
async def serving(world: World) -> AsyncIterator[int]:
    """A real server on a free port, stopped at the end."""
    server = server_of(create_app(world.parts()), host="127.0.0.1", port=0)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(10):
            while not server.started:  # noqa: ASYNC110  the server has no event for it
                await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            while (await _get(port, "/readyz"))[0] != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        yield port
    finally:
        server.should_exit = True
        await task


async def _exchange(port: int, head: bytes, body: bytes = b"") -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(head + body)
        await writer.drain()
        raw = await reader.read()
    finally:
        writer.close()
    first, _, rest = raw.partition(b"\r\n")
    return int(first.split(b" ")[1]), rest.partition(b"\r\n\r\n")[2]


async def _get(port: int, path: str) -> tuple[int, bytes]:
    return await _exchange(
        port, f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()
    )


def _head(world: World, length: int, agent: str = "alice") -> bytes:
    return (
        f"POST /v1/decisions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {world.token(agent)}\r\n"
        f"content-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    ).encode()


async def _ask(world: World, port: int) -> tuple[int, bytes]:
    body = json.dumps(ask_body()).encode()
    return await _exchange(port, _head(world, len(body)), body)


def run(scenario: object) -> object:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(scenario)  # type: ignore[arg-type]


def test_two_hundred_slow_clients_delay_nobody_and_are_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(BoundedProtocol, "slow_client_ms", 700)
    world = new_world(slow_client_ms=700, in_flight_max=8)

    async def scenario() -> None:
        async with serving(world) as port:
            slow = []
            for i in range(200):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                head = _head(world, 500)
                writer.write(head[:30] if i % 2 else head + b'{"agentId"')
                slow.append((reader, writer))
            answers = await asyncio.gather(*(_ask(world, port) for _ in range(5)))
            assert [status for status, _ in answers] == [200] * 5
            assert all(json.loads(body)["action"] == "allow" for _, body in answers)
            ends = await asyncio.gather(*(_end_of(reader) for reader, _ in slow))
            assert all(raw == b"" or b'"action":"deny"' in raw for raw in ends)
            assert sum(raw != b"" for raw in ends) == 100
            for _, writer in slow:
                writer.close()

    with deciding(world):
        run(scenario())


async def _end_of(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


def test_a_head_without_end_is_refused_with_a_deny() -> None:
    world = new_world()

    async def scenario() -> tuple[int, bytes]:
        async with serving(world) as port:
            head = b"POST /v1/decisions HTTP/1.1\r\n" + b"x: " + b"y" * 33_000
            return await _exchange(port, head)

    status, body = run(scenario())  # type: ignore[misc]
    assert (status, json.loads(body)["action"]) == (400, "deny")


def test_what_is_no_http_is_refused_with_a_deny() -> None:
    async def scenario() -> tuple[int, bytes]:
        async with serving(new_world()) as port:
            return await _exchange(port, b"\x16\x03\x01 hello\r\n\r\n")

    status, body = run(scenario())  # type: ignore[misc]
    assert (status, json.loads(body)["action"]) == (400, "deny")


def test_connections_above_the_bound_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedProtocol, "connections_max", 3)
    world = new_world()

    async def scenario() -> int:
        async with serving(world) as port:
            opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
            done, _ = await asyncio.wait(
                [asyncio.create_task(_end_of(reader)) for reader, _ in opened],
                return_when=asyncio.FIRST_COMPLETED,
            )
            for _, writer in opened:
                writer.close()
            return len(done)

    assert run(scenario())


def test_a_kept_connection_serves_calls_one_after_the_other() -> None:
    world = new_world()

    async def scenario() -> list[int]:
        async with serving(world) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            body = json.dumps(ask_body()).encode()
            head = _head(world, len(body)).replace(b"connection: close\r\n", b"")
            statuses = []
            for _ in range(3):
                writer.write(head + body)
                answer = await reader.readuntil(b"\r\n\r\n")
                length = int(answer.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                statuses.append(int(answer.split(b" ")[1]))
            writer.close()
            return statuses

    with deciding(world):
        assert run(scenario()) == [200, 200, 200]


def test_a_stopping_server_leaves_a_clean_end_of_its_epoch() -> None:
    world = new_world()

    async def scenario() -> None:
        async with serving(world) as port:
            assert (await _get(port, "/healthz"))[0] == 200

    run(scenario())
    assert world.stops == [2]
