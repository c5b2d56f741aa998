# SPDX-License-Identifier: Apache-2.0
"""Which decision counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentguard.adapters.avro_codec import AvroCodec
from agentguard.contracts.counting import chained_agent, decision_counts, expects_decision
from agentguard.contracts.hashing import leaf_hash
from agentguard.contracts.records import AgentRequest, Decision, DecisionCore, EpochStart, Mode
from tests import samples_audit as samples


def counts(
    codec: AvroCodec,
    core: DecisionCore | None,
    *,
    request: AgentRequest | EpochStart | None,
    value: bytes | None,
    decision: Decision | None = None,
    partition: int = 0,
    cluster: str = samples.CLUSTER,
    readable: bool = True,
) -> bool:
    if decision is None and core is not None:
        decision = samples.decision(codec.encode(core))
    return decision_counts(
        cluster=cluster,
        partition=partition,
        decision=decision,
        core=core,
        request_value=value,
        request=request,
        readable=readable,
    )


def test_decision_that_names_exactly_its_request_counts(codec: AvroCodec) -> None:
    request = samples.request(4)
    value = codec.encode(request)
    core = samples.core_for(value, request, offset=4)
    assert counts(codec, core, request=request, value=value)


@pytest.mark.parametrize(
    "change",
    [
        {"cluster": "cluster-b"},
        {"mode": Mode.REPLAY},
        {"mode": Mode.UNKNOWN},
        {"tenant": "other"},
        {"agent_id": "agent-2"},
        {"request_id": bytes(16)},
        {"request_id": None},
        {"request_partition": 1},
        {"request_leaf": bytes(32)},
    ],
    ids=str,
)
def test_core_that_names_anything_else_does_not_count(
    codec: AvroCodec, change: dict[str, object]
) -> None:
    request = samples.request(4)
    value = codec.encode(request)
    core = replace(samples.core_for(value, request, offset=4), **change)  # type: ignore[arg-type]
    assert not counts(codec, core, request=request, value=value)


def test_outer_record_of_another_cluster_or_mode_does_not_count(codec: AvroCodec) -> None:
    request = samples.request(4)
    value = codec.encode(request)
    core = samples.core_for(value, request, offset=4)
    outer = samples.decision(codec.encode(core))
    for other in (replace(outer, cluster="cluster-b"), replace(outer, mode=Mode.SHADOW)):
        assert not counts(codec, core, request=request, value=value, decision=other)


def test_decision_in_another_partition_or_with_unlisted_schema_does_not_count(
    codec: AvroCodec,
) -> None:
    request = samples.request(4)
    value = codec.encode(request)
    core = samples.core_for(value, request, offset=4)
    assert not counts(codec, core, request=request, value=value, partition=1)
    assert not counts(codec, core, request=request, value=value, readable=False)
    assert not counts(codec, None, request=request, value=value)
    assert not counts(codec, core, request=request, value=value, cluster="")


def test_undecodable_request_is_decided_without_names(codec: AvroCodec) -> None:
    junk = b"\xc3\x01 not a record"
    core = samples.core_for(junk, None, offset=9)
    assert counts(codec, core, request=None, value=junk)
    assert not counts(codec, replace(core, tenant="acme"), request=None, value=junk)
    assert not counts(codec, replace(core, agent_id="a"), request=None, value=junk)
    assert not counts(codec, replace(core, request_id=b"x" * 16), request=None, value=junk)


def test_null_value_is_decided_by_the_hash_of_empty_bytes(codec: AvroCodec) -> None:
    core = samples.core_for(b"", None, offset=9)
    assert core.request_leaf == leaf_hash(None)
    assert counts(codec, core, request=None, value=None)


def test_other_door_records_get_no_decision(codec: AvroCodec) -> None:
    start = EpochStart(
        cluster=samples.CLUSTER,
        mode=Mode.LIVE,
        producer="gateway-0",
        epoch=1,
        sequence=0,
        control_offset=0,
    )
    value = codec.encode(start)
    core = samples.core_for(value, None, offset=0)
    assert not expects_decision(start)
    assert not counts(codec, core, request=start, value=value)


def test_only_what_an_agent_did_is_in_its_chain(codec: AvroCodec) -> None:
    request = samples.request(4)
    assert chained_agent(request) == ("acme", "agent-1")
    assert chained_agent(None) is None
    assert chained_agent(samples.core_for(b"", None, offset=0)) is None
    assert expects_decision(None)
    assert expects_decision(request)
    assert expects_decision(samples.core_for(b"", None, offset=0))
