# SPDX-License-Identifier: Apache-2.0
"""Verifies a proof file: a request and its decision under signed heads, offline."""

from __future__ import annotations

from collections.abc import Sequence

from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.mldsa_signer import MlDsaVerifier
from agentguard.audit.findings import Report
from agentguard.audit.note import NoteKey
from agentguard.audit.origins import Origin, anchors_origin
from agentguard.audit.proof import RecordProof, verify_record
from agentguard.audit.trust import TrustPolicy
from agentguard.contracts.codes import flatten
from agentguard.contracts.counting import decision_counts
from agentguard.contracts.errors import ConfigError, UndecodableError, VerificationError
from agentguard.contracts.ports import AnyRecord
from agentguard.contracts.records import AgentRequest, Decision, DecisionCore
from agentguard.contracts.topics import Topic
from agentguard.pipeline.exporting import founding_of


class ProofCheck:
    """One verification of one proof file."""

    def __init__(
        self,
        proofs: Sequence[RecordProof],
        policy: TrustPolicy | None,
        genesis_digest: bytes | None,
    ) -> None:
        self._codec = AvroCodec()
        self._proofs = proofs
        self._policy = policy
        self._genesis_digest = genesis_digest
        self._report = Report()

    def run(self) -> Report:
        """Returns what the proof shows. Raises `ConfigError` where nothing says whom to trust."""
        places: dict[str, tuple[RecordProof, Origin]] = {}
        try:
            for proof in self._proofs:
                origin = proof.stated_origin()
                places[origin.topic] = (proof, origin)
            trust = self._trust(places)
            for proof, origin in places.values():
                self._verify(proof, origin, trust)
            self._pair(places)
        except VerificationError as error:
            self._report.refused(error)
        return self._report

    def _verify(self, proof: RecordProof, origin: Origin, trust: TrustPolicy) -> None:
        try:
            verify_record(proof, trust, MlDsaVerifier())
        except VerificationError as error:
            self._report.refused(
                error, topic=origin.topic, partition=origin.partition, offset=proof.index
            )
        self._report.counts["records"] += 1

    def _trust(self, places: dict[str, tuple[RecordProof, Origin]]) -> TrustPolicy:
        """Returns the trust: the policy, or the key that the pinned founding command names."""
        if self._genesis_digest is not None:
            if Topic.CONTROL not in places:
                raise ConfigError(
                    "the proof holds no founding command", next_step="give --policy FILE"
                )
            founding = founding_of(self._codec, places[Topic.CONTROL][0].value)
            if founding.digest != self._genesis_digest:
                raise VerificationError("another founding command", finding="GENESIS")
            if self._policy is None:
                self._report.incomplete("NO_OUTSIDE_ANCHOR", "no anchor and no policy from outside")
                self._report.statement = "as the sealing key's holder states it"
                name = anchors_origin(founding.genesis.audit_domain, founding.cluster)
                return TrustPolicy(logs=(NoteKey(name=name, public_key=founding.sealing_key),))
        if self._policy is None:
            raise ConfigError(
                "trust must come from outside the proof",
                next_step="give --policy FILE or --genesis DIGEST",
            )
        return self._policy

    def _pair(self, places: dict[str, tuple[RecordProof, Origin]]) -> None:
        """Checks that the decision is one of exactly this request."""
        if Topic.REQUESTS not in places or Topic.DECISIONS not in places:
            raise VerificationError("the proof holds no request and decision", finding="PROOF")
        request_proof, request_origin = places[Topic.REQUESTS]
        decision_proof, origin = places[Topic.DECISIONS]
        request = self._decode(request_proof.value)
        decision = self._decode(decision_proof.value)
        core = self._decode(decision.core) if isinstance(decision, Decision) else None
        if not (
            isinstance(request, AgentRequest)
            and isinstance(decision, Decision)
            and isinstance(core, DecisionCore)
            and core.request_offset == request_proof.index
            and (request_origin.cluster, request_origin.partition)
            == (origin.cluster, origin.partition)
            and decision_counts(
                cluster=origin.cluster,
                partition=origin.partition,
                decision=decision,
                core=core,
                request_value=request_proof.value,
                request=request,
                readable=True,
            )
        ):
            raise VerificationError("the decision is not one of this request", finding="PROOF")
        self._report.counts[f"{core.verdict.value}: {flatten(core.reason.template)}"] += 1

    def _decode(self, value: bytes) -> AnyRecord | None:
        try:
            return self._codec.decode(value)
        except UndecodableError:
            return None
