# SPDX-License-Identifier: Apache-2.0
"""The pending map, without any log: reports and decisions in any order."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from agentguard.contracts import records as r
from agentguard.contracts.codes import Code
from agentguard.contracts.ports import LogRecord
from agentguard.gateway.callers import Caller
from agentguard.gateway.waiting import SeenDecision, Wait, Waiting
from agentguard.registry.agents import make_agent, make_credential
from tests.gateway.world import CODEC, TENANT, core_of
from tests.samples_audit import request as sample

AGENT = make_agent("agent-1", tenant=TENANT, credential=make_credential(bytes(38)))
CALLER = Caller(agent=AGENT, key=b"acme|agent-1", partition=0)


@pytest.fixture
def loop() -> asyncio.AbstractEventLoop:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def wait_of(loop: asyncio.AbstractEventLoop, number: int = 1) -> Wait:
    request = sample(number)
    return Wait(
        caller=CALLER,
        request=request,
        value=CODEC.encode(request),
        partition=0,
        started_ms=0,
        deadline_ms=1_000,
        secret=b"s" * 32,
        parameters={"a": 1},
        future=loop.create_future(),
    )


def seen_of(wait: Wait, *, offset: int = 0, at: int = 5, **changes: object) -> SeenDecision:
    record = LogRecord("ag.requests", 0, at, None, wait.value, 0)
    core = core_of(wait.request, record, **changes)
    decision = r.Decision(
        cluster=wait.request.cluster,
        mode=r.Mode.LIVE,
        core=b"",
        measured=r.Measured(lane="a", worker="0", stages=(), cache=False),
        macs=(),
    )
    return SeenDecision(0, offset, decision, core, (b"", b""))


def test_a_decision_before_the_delivery_report_is_held_until_the_offset_is_known(
    loop: asyncio.AbstractEventLoop,
) -> None:
    waiting, wait = Waiting("cluster-a"), wait_of(loop)
    waiting.add(wait)
    seen = seen_of(wait)
    assert waiting.offer(seen, is_readable=True) == (None, False)
    assert waiting.place(wait.request.request_id, 5) is wait
    assert wait.effective is seen
    assert len(waiting) == 0


def test_held_decisions_of_another_offset_are_dropped(loop: asyncio.AbstractEventLoop) -> None:
    waiting, wait = Waiting("cluster-a"), wait_of(loop)
    waiting.add(wait)
    wrong, right = seen_of(wait, at=4, offset=0), seen_of(wait, at=5, offset=1)
    waiting.offer(wrong, is_readable=True)
    waiting.offer(right, is_readable=True)
    assert waiting.place(wait.request.request_id, 5) is wait
    assert wait.effective is right


def test_after_the_report_only_its_offset_counts(loop: asyncio.AbstractEventLoop) -> None:
    waiting, wait = Waiting("cluster-a"), wait_of(loop)
    waiting.add(wait)
    assert waiting.place(wait.request.request_id, 5) is None
    assert waiting.offer(seen_of(wait, at=6), is_readable=True) == (None, True)
    assert waiting.offer(seen_of(wait, at=5), is_readable=True) == (wait, False)


def test_a_decision_below_the_floor_or_unreadable_is_refused(
    loop: asyncio.AbstractEventLoop,
) -> None:
    waiting, wait = Waiting("cluster-a"), wait_of(loop)
    wait.request = replace(wait.request, decisions_floor=10)
    wait.value = CODEC.encode(wait.request)
    waiting.add(wait)
    waiting.place(wait.request.request_id, 5)
    assert waiting.offer(seen_of(wait, offset=9), is_readable=True) == (None, True)
    assert waiting.offer(seen_of(wait, offset=10), is_readable=False) == (None, True)
    assert waiting.offer(seen_of(wait, offset=11), is_readable=True) == (wait, False)


def test_held_decisions_are_bounded(loop: asyncio.AbstractEventLoop) -> None:
    waiting, wait = Waiting("cluster-a"), wait_of(loop)
    waiting.add(wait)
    for offset in range(100):
        waiting.offer(seen_of(wait, offset=offset, at=4), is_readable=True)
    assert len(wait.held) == 16


def test_a_settled_wait_holds_neither_bytes_nor_parameters(
    loop: asyncio.AbstractEventLoop,
) -> None:
    waiting, wait = Waiting("cluster-a"), wait_of(loop)
    waiting.add(wait)
    waiting.place(wait.request.request_id, 5)
    waiting.offer(seen_of(wait), is_readable=True)
    assert (wait.value, wait.parameters, wait.held) == (b"", {}, [])
    assert wait.secret
    wait.forget()
    assert wait.secret == b""


def test_a_transform_keeps_the_parameters_that_it_is_applied_to(
    loop: asyncio.AbstractEventLoop,
) -> None:
    waiting, wait = Waiting("cluster-a"), wait_of(loop)
    waiting.add(wait)
    waiting.place(wait.request.request_id, 5)
    waiting.offer(seen_of(wait, verdict=r.Verdict.TRANSFORM), is_readable=True)
    assert wait.parameters == {"a": 1}


def test_a_wait_is_refused_once_and_takes_no_decision_afterwards(
    loop: asyncio.AbstractEventLoop,
) -> None:
    waiting, wait = Waiting("cluster-a"), wait_of(loop)
    waiting.add(wait)
    seen = seen_of(wait)
    assert waiting.refuse(wait.request.request_id, Code.DEADLINE) is wait
    assert waiting.refuse(wait.request.request_id, Code.UNREACHABLE) is None
    assert waiting.offer(seen, is_readable=True) == (None, False)
    assert waiting.place(wait.request.request_id, 5) is None
    assert (wait.refused, wait.effective) == (Code.DEADLINE, None)


def test_refusing_all_leaves_nobody_waiting(loop: asyncio.AbstractEventLoop) -> None:
    waiting = Waiting("cluster-a")
    waits = [wait_of(loop, n) for n in range(3)]
    for wait in waits:
        waiting.add(wait)
    assert waiting.refuse_all(Code.UNREACHABLE) == tuple(waits)
    assert len(waiting) == 0
