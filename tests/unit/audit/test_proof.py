# SPDX-License-Identifier: Apache-2.0
"""Proofs of single records: found on the log, written as C2SP text, verified offline."""

from __future__ import annotations

import dataclasses

import pytest

from agentguard.adapters.mldsa_signer import MlDsaVerifier
from agentguard.audit.proof import parse_proofs, proof_text, summary_of, verify_record
from agentguard.audit.trust import parse_policy
from agentguard.cli.proof_check import ProofCheck
from agentguard.contracts.errors import ConfigError, LogError, VerificationError
from agentguard.pipeline.proving import Prover
from tests import samples_audit as samples
from tests.trails import SealedPlatform, busy_platform, busy_trail

POLICY = parse_policy(busy_trail()["policy.txt"].decode())
PLATFORM = busy_platform()
PROVER = Prover(PLATFORM.audit_ports())
FOUND = PROVER.find((5).to_bytes(16, "big"))
TEXT = "".join(proof_text(p) for p in PROVER.prove(FOUND))


def test_proof_reads_back_and_verifies_with_the_policy() -> None:
    request, decision, genesis = parse_proofs(TEXT)
    assert (request.value, request.index) == (FOUND[0].value, FOUND[0].offset)
    assert decision.value == FOUND[1].value
    assert genesis.index == 0
    heads = [verify_record(p, POLICY, MlDsaVerifier()) for p in (request, decision, genesis)]
    assert "ag.requests" in summary_of(heads)
    report = ProofCheck(parse_proofs(TEXT), POLICY, None).run()
    assert report.exit_code == 0


def test_proof_with_the_genesis_digest_alone_is_as_its_key_holder_states() -> None:
    report = ProofCheck(parse_proofs(TEXT), None, PROVER.founding.digest).run()
    assert report.exit_code == 3
    assert report.statement == "as the sealing key's holder states it"
    assert ProofCheck(parse_proofs(TEXT), POLICY, PROVER.founding.digest).run().exit_code == 0
    assert ProofCheck(parse_proofs(TEXT), None, bytes(32)).run().exit_code == 1
    with pytest.raises(ConfigError):
        ProofCheck(parse_proofs(TEXT), None, None).run()
    with pytest.raises(ConfigError):
        ProofCheck(parse_proofs(TEXT)[:2], None, PROVER.founding.digest).run()


@pytest.mark.parametrize("part", [0, 1, 2])
def test_changed_record_index_path_or_note_does_not_verify(part: int) -> None:
    proofs = list(parse_proofs(TEXT))
    proof = proofs[part]
    changes = [
        {"value": proof.value + b"x"},
        {"value": proof.value[:-1]},
        {"index": proof.index + 1},
        {"path": (*proof.path, bytes(32))},
        {"path": proof.path[:-1]},
        {"note": proof.note.replace("agentguard", "agentguarb")},
        {"note": "nothing"},
    ]
    for change in changes:
        proofs[part] = dataclasses.replace(proof, **change)  # type: ignore[arg-type]
        assert ProofCheck(tuple(proofs), POLICY, None).run().exit_code == 1, change


def test_decision_of_another_request_is_no_proof() -> None:
    other = PROVER.prove(PROVER.find((1).to_bytes(16, "big")))
    mixed = (parse_proofs(TEXT)[0], other[1])
    report = ProofCheck(mixed, POLICY, None).run()
    assert "PROOF" in report.totals
    assert ProofCheck((parse_proofs(TEXT)[0],), POLICY, None).run().exit_code == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v2\n",
        "x" + TEXT,
        TEXT.replace("index 2", "index 02").replace("index 0", "index 00"),
        TEXT.replace("extra ", "extra =", 1),
        TEXT.replace("extra ", "extras ", 1),
        TEXT.replace("index ", "index -", 1),
        "c2sp.org/tlog-proof@v1\nextra AA==\nindex 0\n",
        "c2sp.org/tlog-proof@v1\nextra AB==\nindex 0\n\nnote",
        "c2sp.org/tlog-proof@v1\n" * 3,
    ],
)
def test_text_that_is_no_proof_is_refused(text: str) -> None:
    with pytest.raises(VerificationError) as raised:
        parse_proofs(text)
    assert raised.value.finding == "PROOF"


def test_what_is_not_there_or_not_sealed_is_said() -> None:
    with pytest.raises(LogError):
        PROVER.find(b"?" * 16)
    platform = SealedPlatform()
    platform.sealer().cycle()
    platform.start_epoch()
    platform.call("agent-1")
    prover = Prover(platform.audit_ports())
    with pytest.raises(VerificationError) as raised:
        prover.prove(prover.find((1).to_bytes(16, "big")))
    assert raised.value.finding == "UNSEALED_TAIL"


def test_request_without_a_decision_has_no_proof_yet() -> None:
    platform = SealedPlatform()
    platform.door(samples.request(3))
    with pytest.raises(LogError, match="no decision"):
        Prover(platform.audit_ports()).find((3).to_bytes(16, "big"))
