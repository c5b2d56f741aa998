"""Which release decides: the one in force, or the last good one where the new one is refused."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

from agentguard.adapters.memory_log import MemoryLog
from agentguard.contracts.commands import ActivateRelease, ReleaseMode
from agentguard.contracts.errors import ReleaseError
from agentguard.contracts.ports import PolicyEngine
from agentguard.contracts.records import Bundle, Mode
from agentguard.contracts.topics import Topic
from agentguard.control.fold import ControlFold
from agentguard.control.scopes import scope_of
from agentguard.pipeline.releases import BUNDLES, Releases
from agentguard.policy.release import Release
from tests import worlds as w


def log_with(*bundles: Bundle) -> MemoryLog:
    log = MemoryLog({Topic.BUNDLES: 1}, clock=w.FakeClock(), entropy=w.CountingEntropy())
    for bundle in bundles:
        log.writer("t").append(
            Topic.BUNDLES, w.CODEC.encode(bundle), key=bundle.digest, partition=0
        )
    return log


def bundle_of(body: bytes, digest: bytes, cluster: str = w.CLUSTER) -> Bundle:
    return Bundle(cluster=cluster, mode=Mode.LIVE, digest=digest, body=body)


GOOD = bundle_of(w.bundle(), w.release().digest)


def releases(log: MemoryLog, make: object = None) -> Releases:
    def engine(release: Release) -> PolicyEngine:
        return w.engine()

    return Releases(
        log.reader({BUNDLES: 0}),
        w.CODEC,
        engine if make is None else make,  # type: ignore[arg-type]
        cluster=w.CLUSTER,
    )


def control_with(digest: bytes, expires_at_ms: int = 0) -> ControlFold:
    """A control fold in which release 2 has this bundle."""
    fold = w.control()
    body = ActivateRelease(
        sequence=2,
        bundle_digest=digest,
        previous_digest=w.release().digest,
        mode=ReleaseMode.ENFORCE,
        expires_at_ms=expires_at_ms,
        rollback_of=0,
    )
    version = fold.scope_version(scope_of(body))
    judged = fold.apply(fold.folded + 1, w.command(body, nonce=700, scope_version=version))
    assert judged.accepted, judged
    return fold


def test_release_in_force_is_loaded_from_the_log() -> None:
    made = releases(log_with(GOOD))
    assert made.update(w.shared_control(), w.NOW)
    assert made.policy is not None
    assert made.held() == (f"1@{w.release().digest.hex()}",)
    assert made.is_sound()
    assert made.fault == ""


def test_process_is_not_ready_until_it_holds_the_body() -> None:
    log = log_with()
    made = releases(log)
    assert not made.update(w.shared_control(), w.NOW)
    assert "not on the log" in made.fault
    assert made.held() == ()
    log.writer("t").append(Topic.BUNDLES, w.CODEC.encode(GOOD), key=GOOD.digest, partition=0)
    assert made.update(w.shared_control(), w.NOW)


def test_body_that_differs_from_its_name_is_not_held() -> None:
    forged = bundle_of(w.bundle() + b"x", w.release().digest)
    foreign = bundle_of(w.bundle(), w.release().digest, cluster="other")
    assert not releases(log_with(forged, foreign)).update(w.shared_control(), w.NOW)


def test_junk_on_the_topic_of_bundles_stops_nothing() -> None:
    log = log_with()
    writer = log.writer("t")
    for value in (None, b"junk", w.CODEC.encode(w.request(1))):
        writer.append(Topic.BUNDLES, value, key=b"k", partition=0)
    writer.append(Topic.BUNDLES, w.CODEC.encode(GOOD), key=GOOD.digest, partition=0)
    assert releases(log).update(w.shared_control(), w.NOW)


def test_refused_release_leaves_the_last_good_one_and_says_so() -> None:
    other = b"not a bundle"
    digest = sha256(other).digest()
    made = releases(log_with(GOOD, bundle_of(other, digest)))
    assert made.update(w.shared_control(), w.NOW)
    assert made.update(control_with(digest), w.NOW)
    assert made.policy is not None
    assert made.policy.activation.sequence == 1
    assert "release 2 was refused" in made.fault


def test_engine_that_refuses_every_release_leaves_none() -> None:
    def refuse(release: Release) -> PolicyEngine:
        raise ReleaseError("no")

    made = releases(log_with(GOOD), refuse)
    assert not made.update(w.shared_control(), w.NOW)
    assert made.policy is None
    assert made.is_sound()


def test_without_an_enforced_release_there_is_no_policy() -> None:
    fold = ControlFold(w.CODEC, w.RememberingVerifier(), w.founding().genesis_digest)
    fold.apply(0, w.control_values()[0])
    made = releases(log_with(GOOD))
    assert made.update(w.shared_control(), w.NOW)
    assert made.update(fold, w.NOW)
    assert made.policy is None


def test_same_bundle_under_a_new_sequence_is_a_new_activation() -> None:
    made = releases(log_with(GOOD))
    made.update(w.shared_control(), w.NOW)
    assert made.update(control_with(w.release().digest, expires_at_ms=w.NOW + 1), w.NOW)
    assert made.policy is not None
    assert made.policy.activation.sequence == 2
    assert replace(made.policy.activation, sequence=1) != made.policy.activation
