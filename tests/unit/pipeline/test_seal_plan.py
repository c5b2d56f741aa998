# SPDX-License-Identifier: Apache-2.0
"""What the control log lets the sealer seal; the way on after records were really lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentguard.adapters.mldsa_signer import MlDsaSigner, MlDsaVerifier
from agentguard.audit.merkle import root_of
from agentguard.audit.trust import parse_policy
from agentguard.cli.verify import Outside, verify_folder
from agentguard.contracts.commands import NewGeneration
from agentguard.contracts.errors import ConfigError, LogError, VerificationError
from agentguard.contracts.hashing import leaf_hash
from agentguard.contracts.ports import TopicPartition
from agentguard.contracts.topics import Topic
from agentguard.control.envelope import make_command
from agentguard.pipeline.exporting import read_founding
from agentguard.pipeline.seal_plan import read_plan
from agentguard.pipeline.sealing import Sealer, SealPorts
from tests import samples_audit as samples
from tests.trails import FOUNDERS, SEALING, SealedPlatform

S0 = TopicPartition(Topic.SIGNALS, 0)


def ports_of(platform: SealedPlatform, signer: MlDsaSigner = SEALING) -> SealPorts:
    return SealPorts(
        log=platform.log,
        index=platform.log,
        codec=platform.codec,
        clock=platform.clock,
        signer=signer,
        verifier=MlDsaVerifier(),
    )


def sealed_until(platform: SealedPlatform, values: list[bytes]) -> None:
    sealer = platform.sealer()
    for value in values:
        platform.put(Topic.SIGNALS, value)
    platform.clock.ms += 61_000
    sealer.cycle()


def lose_tail(platform: SealedPlatform, kept: int) -> None:
    del platform.log._partitions[S0].records[kept:]


def command_new_generation(platform: SealedPlatform, values: list[bytes], kept: int) -> None:
    leaves = [leaf_hash(v) for v in values]
    body = NewGeneration(
        topic=Topic.SIGNALS,
        topic_id=platform.log.topic_id(Topic.SIGNALS),
        partition=0,
        generation=1,
        first_offset=kept,
        old_size=len(values),
        old_root=root_of(leaves),
        survivors_root=root_of(leaves, 0, kept),
    )
    platform.put(
        Topic.CONTROL,
        make_command(
            body,
            codec=platform.codec,
            cluster=samples.CLUSTER,
            signers=tuple(zip(("founder-1", "founder-2"), FOUNDERS, strict=True)),
            nonce=platform.entropy.token(16),
        ),
    )


def verified(platform: SealedPlatform) -> tuple[int, set[str]]:
    trail = platform.export()
    policy = parse_policy(trail.files["policy.txt"].decode())
    outside = Outside(
        policy=policy, genesis_digest=None, anchor=None, as_of_ms=None, max_age_ms=None
    )
    report = verify_folder(trail, outside)
    return report.exit_code, set(report.totals)


def test_plan_names_what_the_control_log_names() -> None:
    platform = SealedPlatform()
    digest = read_founding(platform.audit_ports()).digest
    plan = read_plan(ports_of(platform), digest)
    assert (plan.domain, plan.cluster) == ("audit.example", samples.CLUSTER)
    assert plan.generations == {}


def test_key_that_the_control_log_does_not_name_may_not_sign() -> None:
    with pytest.raises(ConfigError):
        read_plan(ports_of(SealedPlatform(), MlDsaSigner.from_seed(b"x" * 32)), None)


def test_control_log_of_another_genesis_is_refused() -> None:
    with pytest.raises(LogError):
        read_plan(ports_of(SealedPlatform()), bytes(32))


def test_recreated_topic_is_refused() -> None:
    platform = SealedPlatform()
    platform.log.recreate(Topic.SIGNALS)
    with pytest.raises(VerificationError) as raised:
        read_plan(ports_of(platform), None)
    assert raised.value.finding == "REPLACED"


def test_after_a_loss_sealing_goes_on_once_two_persons_said_what_survived() -> None:
    platform = SealedPlatform()
    values = [b"a", b"b", b"c"]
    sealed_until(platform, values)
    lose_tail(platform, 2)
    with pytest.raises(VerificationError) as raised:
        Sealer(ports_of(platform), read_plan(ports_of(platform), None)).start()
    assert raised.value.finding == "SEALER_ROLLBACK"
    command_new_generation(platform, values, 2)
    plan = read_plan(ports_of(platform), None)
    assert plan.generations == {S0: 1}
    sealer = Sealer(ports_of(platform), plan)
    sealer.start()
    platform.put(Topic.SIGNALS, b"new")
    platform.clock.ms += 61_000
    sealer.cycle()
    assert sealer.alarms == {}
    assert verified(platform) == (3, {"LOST"})


def test_survivors_other_than_stated_are_never_signed() -> None:
    platform = SealedPlatform()
    values = [b"a", b"b", b"c"]
    sealed_until(platform, values)
    lose_tail(platform, 1)
    platform.put(Topic.SIGNALS, b"X")
    command_new_generation(platform, values, 2)
    sealer = Sealer(ports_of(platform), read_plan(ports_of(platform), None))
    sealer.start()
    platform.clock.ms += 1_000
    sealer.cycle()
    assert sealer.alarms[S0].finding == "SEALER_FORK"
    assert "SEALER_FORK" in sealer.reason()


def test_new_generation_that_no_command_began_is_tampering() -> None:
    platform = SealedPlatform()
    values = [b"a", b"b", b"c"]
    sealed_until(platform, values)
    lose_tail(platform, 2)
    plan = read_plan(ports_of(platform), None)
    sealer = Sealer(ports_of(platform), replace(plan, generations={S0: 1}))
    sealer.start()
    platform.clock.ms += 61_000
    sealer.cycle()
    code, names = verified(platform)
    assert code == 1
    assert {"GENERATION", "REPLACED"} <= names
