# SPDX-License-Identifier: Apache-2.0
"""Finds the release that the control log enforces, on `ag.bundles`, and makes its engine."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final, TypeAlias

import structlog

from agentguard.contracts.commands import ActivateRelease
from agentguard.contracts.errors import EngineError, ReleaseError, UndecodableError
from agentguard.contracts.ports import Codec, LogReader, PolicyEngine, TopicPartition
from agentguard.contracts.records import Bundle
from agentguard.contracts.topics import Topic
from agentguard.control.fold import ControlFold
from agentguard.decision.world import ActivePolicy
from agentguard.pipeline.dead_letters import DeadLetters
from agentguard.pipeline.intake import FINGERPRINT
from agentguard.policy.golden import golden_inputs, is_sound
from agentguard.policy.release import Release, read_bundle

BUNDLES: Final = TopicPartition(Topic.BUNDLES, 0)
BUNDLES_HELD_MAX: Final = 16
RECORDS_PER_PUMP_MAX: Final = 16

MakeEngine: TypeAlias = Callable[[Release], PolicyEngine]

_log = structlog.get_logger("releases")


class Releases:
    """The policy in force. A release that cannot be used leaves the last good one until it ends.

    The reader is opened on the start of `ag.bundles`; what cannot be used there goes to `letters`.
    Belongs to one thread, as its engines do.
    """

    def __init__(
        self,
        reader: LogReader,
        codec: Codec,
        make_engine: MakeEngine,
        *,
        cluster: str,
        letters: DeadLetters | None = None,
    ) -> None:
        self._reader = reader
        self._codec = codec
        self._make_engine = make_engine
        self._cluster = cluster
        self._letters = letters
        self._bodies: dict[bytes, bytes] = {}
        self._refused: dict[bytes, str] = {}
        self.policy: ActivePolicy | None = None
        self.fault = ""

    def update(self, control: ControlFold, now_ms: int) -> bool:
        """Takes up the release in force now; returns whether the lane may decide by `policy`.

        False while the body is not here: then the process is not ready. `fault` says what is
        wrong, also where an older release still decides because the new one was refused.
        """
        wanted = control.release(now_ms)
        if wanted is None:
            self.policy, self.fault = None, ""
            return True
        if self.policy is not None and self.policy.activation == wanted:
            return True
        if wanted.bundle_digest not in self._bodies:
            self._pump()
        body = self._bodies.get(wanted.bundle_digest)
        if body is None:
            self.fault = f"release {wanted.sequence} is not on the log of bundles"
            return False
        if wanted.bundle_digest not in self._refused:
            self._take(wanted, body)
        refusal = self._refused.get(wanted.bundle_digest, "")
        self.fault = f"release {wanted.sequence} was refused: {refusal}" if refusal else ""
        return self.policy is not None

    def held(self) -> tuple[str, ...]:
        """Returns what heartbeats say about the release that decides."""
        if self.policy is None:
            return ()
        activation = self.policy.activation
        return (f"{activation.sequence}@{activation.bundle_digest.hex()}",)

    def is_sound(self) -> bool:
        """Returns whether the engine still decides the golden inputs as its release says."""
        return self.policy is None or is_sound(self.policy.engine, self.policy.golden)

    def _take(self, wanted: ActivateRelease, body: bytes) -> None:
        try:
            release = read_bundle(body)
            engine = self._make_engine(release)
            golden = golden_inputs(release)
        except (ReleaseError, EngineError) as error:
            self._refused[wanted.bundle_digest] = str(error)
            _log.error("release_refused", release=wanted.sequence, why=str(error))
            return
        self.policy = ActivePolicy(activation=wanted, engine=engine, golden=golden)
        _log.info("release_active", release=wanted.sequence)

    def _pump(self) -> None:
        for record in self._reader.read(timeout_ms=0, records_max=RECORDS_PER_PUMP_MAX):
            fault = self._hold(record.value)
            if fault and self._letters is not None:
                mark = (record.value or b"")[FINGERPRINT]
                self._letters.note(record, error=fault, fingerprint=mark)

    def _hold(self, value: bytes | None) -> str:
        """Keeps a body for its digest; returns why not, or an empty text."""
        if value is None:
            return "null_value"
        try:
            bundle = self._codec.decode(value)
        except UndecodableError:
            return "undecodable"
        if not isinstance(bundle, Bundle):
            return "not_a_bundle"
        if bundle.cluster != self._cluster:
            return "wrong_cluster"
        # two people signed the digest; the name in the record is only what its writer says
        if sha256(bundle.body).digest() != bundle.digest:
            return "wrong_digest"
        self._bodies.pop(bundle.digest, None)
        self._bodies[bundle.digest] = bundle.body
        if len(self._bodies) > BUNDLES_HELD_MAX:
            del self._bodies[next(iter(self._bodies))]
        return ""
