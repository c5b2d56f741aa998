# SPDX-License-Identifier: Apache-2.0
"""What a running platform decided comes out again, byte for byte, from its logs alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentguard.adapters.regorus_engine import RegorusEngine
from agentguard.audit.export import LEAF_BYTES_MAX
from agentguard.cli.audit import audit_ports
from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.ports import AnyRecord, LogRecord, TopicPartition
from agentguard.contracts.records import Bundle, Decision, DecisionCore, Verdict
from agentguard.contracts.topics import Topic
from agentguard.control.fold import ControlFold
from agentguard.decision.rederive import Past, fold_at, rederive
from agentguard.decision.world import ActivePolicy
from agentguard.local.platform_files import read_platform
from agentguard.pipeline.ranges import read_range
from agentguard.policy.golden import golden_inputs
from agentguard.policy.release import read_bundle
from tests.live_platform import LivePlatform

AS_A_LANE_SAYS = "it is no request"


class Logs:
    """Everything that an auditor reads of a running platform."""

    def __init__(self, data: Path) -> None:
        self.ports = audit_ports(data)
        self.genesis = bytes.fromhex(read_platform(data).genesis_digest)
        self.partitions = self.ports.index.partitions(Topic.REQUESTS)

    def read(self, topic: Topic, partition: int = 0) -> Iterator[LogRecord]:
        at = TopicPartition(topic, partition)
        first, end = self.ports.index.bounds(at)
        return read_range(self.ports.log, at, first, end, clock=self.ports.clock)

    def decoded(self, value: bytes | None) -> AnyRecord | None:
        assert len(value or b"") <= LEAF_BYTES_MAX
        try:
            return self.ports.codec.decode(value or b"")
        except UndecodableError:
            return None

    def past(self, partition: int) -> Past:
        """The decisions first: what they are about has been read by then."""
        decisions = []
        for record in self.read(Topic.DECISIONS, partition):
            decision = self.decoded(record.value)
            core = self.decoded(decision.core) if isinstance(decision, Decision) else None
            assert isinstance(decision, Decision)
            assert isinstance(core, DecisionCore)
            decisions.append((record, decision, core))
        return Past(
            partition=partition,
            partitions=self.partitions,
            starts=(0, 0, 0),
            requests=[(r, self.decoded(r.value)) for r in self.read(Topic.REQUESTS, partition)],
            decisions=decisions,
        )

    def policies(self) -> dict[bytes, tuple[RegorusEngine, object]]:
        found = {}
        for record in self.read(Topic.BUNDLES):
            bundle = self.decoded(record.value)
            assert isinstance(bundle, Bundle)
            release = read_bundle(bundle.body)
            found[release.digest] = (RegorusEngine(release), golden_inputs(release))
        return found


class Controls:
    """The control log, folded to where each decision wants it."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        self._values = [record.value for record in logs.read(Topic.CONTROL)]
        self._fold = self._new()

    def at(self, offset: int) -> ControlFold:
        if self._fold.folded > offset:
            self._fold = self._new()
        while self._fold.folded < offset:
            after = self._fold.folded + 1
            self._fold.apply(after, self._values[after])
        return self._fold

    def _new(self) -> ControlFold:
        ports = self._logs.ports
        return ControlFold(ports.codec, ports.verifier, self._logs.genesis)


@pytest.mark.platform
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_decision_of_a_running_platform_comes_out_again_byte_for_byte(
    live: LivePlatform,
) -> None:
    logs = Logs(live.data)
    controls, policies = Controls(logs), logs.policies()
    verdicts = set()
    for partition in range(logs.partitions):
        past = logs.past(partition)
        for record, decision, core in past.decisions:
            assert decision is not None
            assert core is not None
            control = controls.at(core.versions.control_offset)
            activation = control.release(core.observations.decided_at_ms)
            policy = None
            if activation is not None:
                engine, golden = policies[activation.bundle_digest]
                policy = ActivePolicy(activation=activation, engine=engine, golden=golden)  # type: ignore[arg-type]
            again = rederive(
                core, fold_at(past, core), control, policy=policy, fault=AS_A_LANE_SAYS
            )
            assert again is not None
            assert logs.ports.codec.encode(again) == decision.core, (partition, record.offset)
            verdicts.add(core.verdict)
    assert verdicts >= {Verdict.ALLOW, Verdict.DENY}
