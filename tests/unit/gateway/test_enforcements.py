# SPDX-License-Identifier: Apache-2.0
"""Enforcement records: aggregated above a rate, kept while the log is away, losses counted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from agentguard.adapters.memory_log import AppendFault, MemoryLog
from agentguard.adapters.mldsa_signer import MlDsaVerifier
from agentguard.contracts import records as r
from agentguard.contracts.ports import TopicPartition
from agentguard.contracts.topics import Topic
from agentguard.control.fold import ControlFold
from agentguard.gateway.callers import Caller
from agentguard.gateway.door import Door
from agentguard.gateway.enforcements import Enforcements
from agentguard.gateway.parts import DoorIdentity
from agentguard.registry.agents import make_agent, make_credential
from agentguard.telemetry import GATEWAY_ENFORCEMENTS_LOST, Metrics
from tests.gateway.world import CODEC, TENANT
from tests.unit.gateway.test_waiting import wait_of
from tests.worlds import CountingEntropy, FakeClock


def caller_of(name: str) -> Caller:
    agent = make_agent(name, tenant=TENANT, credential=make_credential(bytes(38)))
    return Caller(agent=agent, key=f"{TENANT}|{name}".encode(), partition=0)


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.log = MemoryLog({Topic.REQUESTS: 1}, clock=self.clock, entropy=CountingEntropy())
        self.door = Door(
            cluster="c",
            identity=DoorIdentity(producer="gateway-0", epoch=1),
            codec=CODEC,
            writer=self.log.writer("door"),
            fold=ControlFold(CODEC, MlDsaVerifier(), None),
            metrics=self.metrics,
        )
        self.made = Enforcements(self.door, self.clock, self.metrics)

    def later(self, ms: int) -> None:
        self.clock.advance(ms)
        self.door.poll()
        self.made.tick()
        self.door.poll()

    def records(self) -> list[r.Enforcement]:
        reader = self.log.reader({TopicPartition(Topic.REQUESTS, 0): 0})
        found = [CODEC.decode(x.value or b"") for x in reader.read(timeout_ms=0, records_max=9_999)]
        assert all(isinstance(x, r.Enforcement) for x in found)
        return found  # type: ignore[return-value]


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def test_equal_denials_in_a_second_are_two_records_with_the_right_count(bench: Bench) -> None:
    for _ in range(50):
        bench.made.denied(caller_of("a"), "shed")
    bench.later(1_000)
    first, second = bench.records()
    assert (first.count, first.window_ms) == (1, 0)
    assert (second.count, second.window_ms) == (49, 1_000)
    assert {first.reason, second.reason} == {"shed"}


def test_a_quiet_window_leaves_no_second_record(bench: Bench) -> None:
    bench.made.denied(caller_of("a"), "malformed")
    bench.later(1_000)
    bench.later(1_000)
    assert len(bench.records()) == 1


def test_many_agents_at_once_are_written_at_a_bounded_rate_and_none_is_lost(bench: Bench) -> None:
    for i in range(300):
        bench.made.denied(caller_of(f"a{i}"), "shed")
    assert len(bench.records()) == 100
    bench.later(1_000)
    assert sum(x.count for x in bench.records()) == 300


def test_more_agents_than_the_bound_are_counted_as_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentguard.gateway.enforcements.ENFORCEMENT_KEYS_MAX", 5)
    for i in range(8):
        bench.made.denied(caller_of(f"a{i}"), "shed")
    assert bench.metrics.value(GATEWAY_ENFORCEMENTS_LOST) == 3


def test_withheld_allows_are_named_one_by_one_below_the_rate(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    for number in range(3):
        bench.made.withheld(wait_of(loop, number + 1), "deadline")
    found = bench.records()
    assert {x.code for x in found} == {r.EnforcementCode.NOT_DELIVERED}
    assert len({x.request_id for x in found}) == 3


def test_withheld_allows_above_the_rate_are_only_counted(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    for number in range(150):
        bench.made.withheld(wait_of(loop, number + 1), "deadline")
    bench.later(1_000)
    found = bench.records()
    assert sum(x.code is r.EnforcementCode.NOT_DELIVERED for x in found) == 100
    (counted,) = [x for x in found if x.code is r.EnforcementCode.DENIED_AT_GATEWAY]
    assert (counted.count, counted.request_id) == (50, None)


def test_what_the_log_does_not_take_waits_for_it_and_the_failed_numbers_are_listed(
    bench: Bench,
) -> None:
    bench.log.inject(lambda at, value: AppendFault.NOT_WRITTEN)
    bench.made.denied(caller_of("a"), "malformed")
    bench.later(10)
    bench.made.denied(caller_of("b"), "malformed")
    assert bench.records() == []
    bench.log.inject(None)
    bench.later(500)
    assert bench.records() == []
    bench.later(1_000)
    found = bench.records()
    denied = {x.agent_id for x in found if x.code is r.EnforcementCode.DENIED_AT_GATEWAY}
    assert denied == {"a", "b"}
    (listed,) = [x for x in found if x.code is r.EnforcementCode.NOT_WRITTEN]
    assert listed.sequences == (0,)
    numbers = {x.sequence for x in found} | set(listed.sequences)
    assert numbers == set(range(max(numbers) + 1))


def test_a_full_queue_uses_no_number(bench: Bench) -> None:
    bench.log.inject(lambda at, value: AppendFault.QUEUE_FULL)
    bench.made.denied(caller_of("a"), "malformed")
    bench.log.inject(None)
    bench.later(1_001)
    assert [x.sequence for x in bench.records()] == [0]


def test_the_queue_is_bounded_and_counts_what_it_loses(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentguard.gateway.enforcements.ENFORCEMENTS_WAITING_MAX", 3)
    bench.log.inject(lambda at, value: AppendFault.QUEUE_FULL)
    for i in range(8):
        bench.made.denied(caller_of(f"a{i}"), "malformed")
    assert bench.metrics.value(GATEWAY_ENFORCEMENTS_LOST) == 5


def test_at_the_end_open_windows_are_written(bench: Bench) -> None:
    for _ in range(4):
        bench.made.denied(caller_of("a"), "shed")
    bench.made.tick(is_last=True)
    assert sum(x.count for x in bench.records()) == 4
