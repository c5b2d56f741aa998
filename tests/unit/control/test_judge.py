"""Every way in which a command is refused, each with its own code and none with an effect."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentguard.bounds import COMMAND_SIGNATURES_MAX, RECORD_BYTES_MAX
from agentguard.contracts.commands import (
    ActivateRelease,
    CommandBody,
    KeyPurpose,
    NewGeneration,
    RegisterKey,
    Registration,
    ReleaseMode,
    SchemaEntry,
    SealedTopic,
    SealedTopics,
    Semantics,
    SignedCommand,
    StateDigest,
    TargetKind,
    VoidDigest,
)
from agentguard.contracts.errors import UnknownSchemaError
from agentguard.contracts.ports import AnyRecord
from agentguard.contracts.records import ControlCommand, Mode, SignatureScheme
from agentguard.control.envelope import seal_command
from agentguard.control.fold import ControlFold, Judgement
from agentguard.control.judge import OutdatedBuildError
from agentguard.control.scopes import scope_of
from tests.control_world import (
    CLUSTER,
    CODEC,
    VERIFIER,
    World,
    agent,
    command,
    digest_of,
    genesis_body,
    genesis_value,
    key,
    kill,
    lift,
    named,
    nonce,
    release,
    tool,
)


def opened(value: bytes) -> tuple[ControlCommand, SignedCommand]:
    outer = CODEC.decode(value)
    assert isinstance(outer, ControlCommand)
    signed = CODEC.decode(outer.signed)
    assert isinstance(signed, SignedCommand)
    return outer, signed


def resigned(value: bytes, *names: str, **members: object) -> bytes:
    """Returns the command with other members in what is signed, signed again."""
    _, signed = opened(value)
    frame = CODEC.encode(replace(signed, **members))  # type: ignore[arg-type]
    return seal_command(frame, codec=CODEC, cluster=CLUSTER, signers=named(names))


def rejected(world: World, value: bytes | None) -> str:
    """Returns the code of a refused record, having checked that it changed nothing."""
    before = world.fold.image()
    chain = world.fold.chain
    judgement = world.read(value)
    assert not judgement.accepted
    assert world.fold.image() == before
    assert world.fold.chain != chain, "a rejected command is evidence too"
    return judgement.code


def test_kill_by_one_person_is_accepted() -> None:
    world = World()
    judgement = world.do(kill(), "ada")
    assert judgement == Judgement(
        offset=1,
        accepted=True,
        code="",
        type="Kill",
        scope="kill|agent|default|mail",
        digest=judgement.digest,
        persons=("ada",),
    )
    assert world.is_killed()


@pytest.mark.parametrize("value", [None, b"", b"\xc3\x01", b"junk", b"\xc3\x01" + bytes(8)])
def test_bytes_that_are_no_command_are_undecodable(value: bytes | None) -> None:
    assert rejected(World(), value) == "undecodable"


def test_other_record_of_ours_is_undecodable_as_a_command() -> None:
    assert rejected(World(), CODEC.encode(kill())) == "undecodable"


def test_bytes_after_the_command_are_undecodable() -> None:
    assert rejected(World(), command(kill(), "ada") + b"\0") == "undecodable"


def test_signed_part_that_is_no_signed_command_is_undecodable() -> None:
    value = seal_command(CODEC.encode(kill()), codec=CODEC, cluster=CLUSTER, signers=named(["ada"]))
    assert rejected(World(), value) == "undecodable"


def test_record_above_the_bound_is_refused_unread() -> None:
    assert rejected(World(), bytes(RECORD_BYTES_MAX + 1)) == "too_large"


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.UNKNOWN])
def test_command_of_another_mode_is_refused(mode: Mode) -> None:
    outer, _ = opened(command(kill(), "ada"))
    assert rejected(World(), CODEC.encode(replace(outer, mode=mode))) == "wrong_mode"


def test_command_for_another_cluster_is_refused() -> None:
    value = command(kill(), "ada")
    outer, _ = opened(value)
    assert rejected(World(), CODEC.encode(replace(outer, cluster="other"))) == "wrong_cluster"
    assert rejected(World(), resigned(value, "ada", cluster="other")) == "wrong_cluster"


def test_command_for_another_audience_is_refused() -> None:
    value = resigned(command(kill(), "ada"), "ada", audience="other")
    assert rejected(World(), value) == "wrong_audience"


def test_command_folds_once() -> None:
    world = World()
    value = command(kill(), "ada")
    assert world.read(value).accepted
    assert world.do(lift(), "ada", "bo").accepted
    assert rejected(world, value) == "duplicate"
    assert not world.is_killed()


def test_refused_copy_does_not_spoil_the_command_itself() -> None:
    world = World()
    value = command(kill(), "ada")
    outer, _ = opened(value)
    assert rejected(world, CODEC.encode(replace(outer, signatures=()))) == "not_enough_persons"
    assert world.read(value).accepted


def test_unknown_type_is_refused_by_everybody() -> None:
    value = resigned(command(kill(), "ada", "bo"), "ada", "bo", type="Exemption")
    judgement = World().read(value)
    assert (judgement.code, judgement.type) == ("unknown_type", "Exemption")


def test_hostile_type_is_cut_in_the_evidence() -> None:
    value = resigned(command(kill(), "ada"), "ada", type="x" * 10_000)
    assert World().read(value).type == "x" * 64


@pytest.mark.parametrize("fold_min", [2, 2**31 - 1, 0, -1])
def test_command_above_the_semantics_in_force_is_refused(fold_min: int) -> None:
    value = resigned(command(kill(), "ada"), "ada", fold_min=fold_min)
    assert rejected(World(), value) == "above_semantics"


@pytest.mark.parametrize(("start", "end"), [(5, 5), (6, 5), (-1, 0), (0, -1)])
def test_reversed_or_negative_interval_is_refused(start: int, end: int) -> None:
    value = command(kill(), "ada", not_before_ms=start, not_after_ms=end)
    assert rejected(World(), value) == "bad_interval"


@pytest.mark.parametrize("body", [agent(), tool(), RegisterKey(key=key("cyd"), revoked=False)])
def test_interval_that_would_be_ignored_is_refused(body: CommandBody) -> None:
    value = command(body, "ada", "bo", not_before_ms=5)
    assert rejected(World(), value) == "bad_interval"


def test_release_may_begin_later_but_not_end_by_the_envelope() -> None:
    late = command(release(), "ada", "bo", not_before_ms=5, not_after_ms=9)
    assert rejected(World(), late) == "bad_interval"
    world = World()
    assert world.do(release(), "ada", "bo", not_before_ms=5).accepted
    assert world.fold.release(4) is None
    assert world.fold.release(5) is not None


def test_body_of_another_type_is_malformed() -> None:
    value = resigned(command(kill(), "ada"), "ada", body=CODEC.encode(lift()))
    assert rejected(World(), value) == "malformed_body"


def test_body_that_is_no_frame_is_malformed() -> None:
    value = resigned(command(kill(), "ada"), "ada", body=b"junk")
    assert rejected(World(), value) == "malformed_body"


def test_command_in_another_scope_than_its_body_names_is_refused() -> None:
    value = command(kill(), "ada", scope="kill|agent|default|other")
    assert rejected(World(), value) == "wrong_scope"


def test_wrong_signature_does_not_count() -> None:
    outer, _ = opened(command(kill(), "ada"))
    spoiled = replace(outer.signatures[0], signature=bytes(2_420))
    value = CODEC.encode(replace(outer, signatures=(spoiled,)))
    assert rejected(World(), value) == "bad_signature"


def test_signature_over_other_bytes_does_not_count() -> None:
    first, _ = opened(command(kill(), "ada"))
    second, _ = opened(command(kill(target="other"), "ada"))
    value = CODEC.encode(replace(first, signatures=second.signatures))
    assert rejected(World(), value) == "bad_signature"


def test_signature_under_another_key_id_does_not_count() -> None:
    outer, _ = opened(command(lift(), "ada", "bo"))
    borrowed = replace(outer.signatures[0], key_id="bo")
    world = World()
    assert world.do(kill(), "ada").accepted
    value = CODEC.encode(replace(outer, signatures=(outer.signatures[0], borrowed)))
    assert rejected(world, value) == "bad_signature"


def test_signature_of_an_undeclared_scheme_does_not_count() -> None:
    outer, _ = opened(command(kill(), "ada"))
    claimed = replace(outer.signatures[0], scheme=SignatureScheme.WEBAUTHN_ES256)
    value = CODEC.encode(replace(outer, signatures=(claimed,)))
    assert rejected(World(), value) == "bad_signature"


def test_wrong_signature_beside_a_right_one_spoils_no_kill() -> None:
    outer, _ = opened(command(kill(), "ada"))
    spoiled = replace(outer.signatures[0], key_id="bo", signature=b"junk")
    value = CODEC.encode(replace(outer, signatures=(spoiled, *outer.signatures)))
    assert World().read(value).accepted


def test_key_that_is_not_on_record_does_not_count() -> None:
    assert rejected(World(), command(kill(), "stranger")) == "unknown_key"
    world = World()
    assert world.do(kill(), "ada").accepted
    value = command(lift(), "ada", "stranger", scope_version=1)
    assert rejected(world, value) == "unknown_key"


def test_two_signatures_of_one_person_count_once() -> None:
    world = World()
    second = replace(key("ada-2"), person="ada")
    assert world.do(RegisterKey(key=second, revoked=False), "ada", "bo").accepted
    assert world.do(kill(), "ada").accepted
    for names in (("ada",), ("ada", "ada"), ("ada", "ada-2")):
        value = command(lift(), *names, scope_version=1)
        assert rejected(world, value) == "not_enough_persons"


def test_sealing_key_signs_no_command() -> None:
    assert rejected(World(), command(kill(), "sealing")) == "not_enough_persons"


def test_too_many_signatures_are_refused_unchecked() -> None:
    names = ["ada"] * (COMMAND_SIGNATURES_MAX + 1)
    assert rejected(World(), command(kill(), *names)) == "too_many_signatures"


def test_control_key_tightens_and_never_loosens() -> None:
    world = World()
    assert world.do(kill(), "control").accepted
    assert world.do(lift(), "control").code == "not_enough_persons"
    assert world.do(lift(), "ada", "control").code == "not_enough_persons"
    pending = agent(status=Registration.PENDING)
    assert world.do(pending, "control").code == "not_enough_persons"
    assert world.do(agent(status=Registration.BLOCKED), "control").accepted


def test_looser_command_against_an_older_scope_version_is_refused() -> None:
    world = World()
    assert world.do(kill(), "ada").accepted
    first, second = (command(lift(), "ada", "bo", scope_version=1) for _ in range(2))
    assert world.do(replace(kill(), reason="again"), "bo").accepted
    assert rejected(world, first) == "stale_scope"
    assert world.is_killed()
    assert world.do(lift(), "ada", "bo").accepted
    assert rejected(world, second) == "stale_scope"


def test_neutral_command_is_bound_to_its_scope_version() -> None:
    value = command(agent(status=Registration.PENDING), "ada", scope_version=1)
    assert rejected(World(), value) == "stale_scope"


@pytest.mark.parametrize("version", [0, 7, -1, 2**62])
def test_no_scope_version_can_refuse_a_kill(version: int) -> None:
    world = World()
    assert world.do(kill(), "ada").accepted
    assert world.read(command(kill(), "bo", scope_version=version)).accepted


def test_each_accepted_command_raises_its_scope_by_one() -> None:
    world = World()
    body = kill()
    for version in range(3):
        assert world.fold.scope_version(scope_of(body)) == version
        assert world.do(body, "ada").accepted
    assert world.fold.scope_version(scope_of(agent())) == 0


# -- Genesis ---------------------------------------------------------------------------------------


def fresh(digest: bytes | None = None) -> ControlFold:
    return ControlFold(CODEC, VERIFIER, digest)


def test_before_genesis_everything_is_refused() -> None:
    fold = fresh()
    assert fold.apply(0, command(kill(), "ada")).code == "no_genesis"
    assert fold.apply(1, genesis_value()).code == "no_genesis"
    assert fold.apply(2, command(kill(), "ada")).code == "no_genesis"
    assert (fold.genesis, fold.cluster, fold.folded) == (None, "", 2)


def test_second_genesis_is_refused() -> None:
    world = World()
    assert rejected(world, genesis_value()) == "second_genesis"
    assert rejected(world, command(genesis_body(), "ada", "bo")) == "second_genesis"


def test_genesis_that_is_not_the_pinned_one_is_refused() -> None:
    other = command(genesis_body(), "ada", "bo")
    assert fresh(digest_of(genesis_value())).apply(0, other).code == "wrong_genesis"
    assert fresh(None).apply(0, other).accepted


def test_genesis_needs_every_person_it_names() -> None:
    assert fresh().apply(0, command(genesis_body(), "ada")).code == "not_enough_persons"
    three = command(genesis_body(("ada", "bo", "cyd")), "ada", "bo")
    assert fresh().apply(0, three).code == "not_enough_persons"


def test_genesis_signed_by_keys_that_it_does_not_name_is_refused() -> None:
    assert fresh().apply(0, command(genesis_body(), "eve", "mal")).code == "unknown_key"


def test_genesis_must_list_what_it_is_written_in() -> None:
    body = genesis_body()
    kept = tuple(s for s in body.schemas if s.name != "SignedCommand")
    value = command(replace(body, schemas=kept), "ada", "bo")
    assert fresh().apply(0, value).code == "malformed_body"


def test_genesis_with_one_key_for_two_persons_is_refused() -> None:
    body = genesis_body()
    twin = replace(body.keys[1], public_key=body.keys[0].public_key)
    value = command(replace(body, keys=(body.keys[0], twin)), "ada", "bo")
    assert fresh().apply(0, value).code == "malformed_body"


@pytest.mark.parametrize(("loosen", "enforce"), [(1, 2), (2, 1), (0, 0), (3, 2), (2, 3)])
def test_genesis_with_thresholds_nobody_could_mean_is_refused(loosen: int, enforce: int) -> None:
    body = genesis_body()
    thresholds = replace(body.thresholds, loosen=loosen, enforce_release=enforce)
    value = command(replace(body, thresholds=thresholds), "ada", "bo")
    assert fresh().apply(0, value).code == "malformed_body"


def test_genesis_with_a_body_that_cannot_be_read_is_refused() -> None:
    value = resigned(genesis_value(), "ada", "bo", body=b"junk")
    assert fresh().apply(0, value).code == "malformed_body"


# -- effects on what is on record ------------------------------------------------------------------


def test_command_in_an_unlisted_schema_is_undecodable() -> None:
    body = genesis_body()
    kept = tuple(s for s in body.schemas if s.name not in {"Kill", "Bundle"})
    fold = fresh()
    assert fold.apply(0, command(replace(body, schemas=kept), "ada", "bo")).accepted
    assert fold.apply(1, command(kill(), "ada")).code == "malformed_body"
    listed = tuple(s for s in body.schemas if s.name == "Kill")
    assert fold.apply(2, command(Semantics(number=1, schemas=listed), "ada", "bo")).accepted
    assert fold.apply(3, command(kill(), "ada")).accepted


class OlderCodec:
    """A build that does not have the schema of `Kill`."""

    def encode(self, record: AnyRecord) -> bytes:
        return CODEC.encode(record)

    def decode(self, frame: bytes) -> AnyRecord:
        if frame[2:10] == CODEC.encode(kill())[2:10]:
            raise UnknownSchemaError("unknown schema fingerprint", fingerprint=frame[2:10])
        return CODEC.decode(frame)


def test_build_without_a_listed_schema_stops_and_does_not_skip_the_record() -> None:
    fold = ControlFold(OlderCodec(), VERIFIER, None)
    assert fold.apply(0, genesis_value()).accepted
    with pytest.raises(OutdatedBuildError):
        fold.apply(1, command(kill(), "ada"))
    assert fold.folded == 0


def test_newer_semantics_outdate_this_build_and_judge_nothing_more() -> None:
    world = World()
    assert world.do(Semantics(number=2, schemas=()), "ada").code == "not_enough_persons"
    assert world.do(Semantics(number=3, schemas=()), "ada", "bo").code == "wrong_number"
    assert not world.fold.is_outdated
    assert world.do(Semantics(number=2, schemas=()), "ada", "bo").accepted
    assert world.fold.is_outdated
    assert rejected(world, command(kill(), "ada")) == "outdated"


def test_semantics_list_schemas_from_there_on() -> None:
    world = World()
    entry = SchemaEntry(name="Later", fingerprint=b"\x01" * 8, sha256=bytes(32))
    assert not world.fold.is_readable(entry.fingerprint)
    assert world.do(Semantics(number=1, schemas=(entry,)), "ada", "bo").accepted
    assert world.fold.is_readable(entry.fingerprint)


def test_key_ids_and_public_keys_are_used_once_for_ever() -> None:
    world = World(("ada", "bo", "cyd"))
    same_id = replace(key("eve"), key_id="ada")
    same_key = replace(key("cyd"), key_id="cyd-2")
    for entry in (key("ada"), same_id, same_key):
        assert world.do(RegisterKey(key=entry, revoked=False), "ada", "bo").code == "key_exists"
    assert world.do(RegisterKey(key=key("cyd"), revoked=True), "ada").accepted
    for entry in (key("cyd"), same_key):
        assert world.do(RegisterKey(key=entry, revoked=False), "ada", "bo").code == "key_exists"


def test_revoked_key_signs_nothing() -> None:
    world = World(("ada", "bo", "cyd"))
    assert world.do(RegisterKey(key=key("cyd"), revoked=True), "ada").accepted
    assert world.do(kill(), "cyd").code == "unknown_key"


def test_revocation_must_name_the_key_on_record() -> None:
    world = World(("ada", "bo", "cyd"))
    other = replace(key("cyd"), public_key=key("eve").public_key)
    for entry in (other, key("eve")):
        assert world.do(RegisterKey(key=entry, revoked=True), "ada").code == "no_such_key"


def test_credential_belongs_to_one_agent() -> None:
    world = World()
    assert world.do(agent("mail"), "ada", "bo").accepted
    thief = agent("thief", Registration.PENDING, credential_hash=agent("mail").credential_hash)
    assert world.do(thief, "ada").code == "credential_in_use"
    found = world.fold.agent_by_credential(agent("mail").credential_hash)
    assert found is not None
    assert found.agent_id == "mail"


def test_lift_of_nothing_is_refused() -> None:
    assert rejected(World(), command(lift(), "ada", "bo")) == "nothing_to_lift"


def test_release_sequence_rises_and_names_its_predecessor() -> None:
    world = World()
    first = release(3)
    assert world.do(first, "ada", "bo").accepted
    for sequence in (2, 3):
        stale = release(sequence, first.bundle_digest)
        assert world.do(stale, "ada", "bo").code == "stale_sequence"
    assert world.do(release(4), "ada", "bo").code == "wrong_previous"
    assert world.do(release(4, first.bundle_digest), "ada", "bo").accepted


def test_rollback_names_an_earlier_release_with_the_same_body() -> None:
    world = World()
    first = release(1)
    second = release(2, first.bundle_digest)
    assert world.do(first, "ada", "bo").accepted
    assert world.do(second, "ada", "bo").accepted
    back = replace(release(3, second.bundle_digest), rollback_of=1)
    assert world.do(back, "ada", "bo").code == "no_such_release"
    again = replace(back, rollback_of=7)
    assert world.do(again, "ada", "bo").code == "no_such_release"
    right = replace(back, bundle_digest=first.bundle_digest)
    assert world.do(right, "ada", "bo").accepted
    assert world.fold.release(0) == right


@pytest.mark.parametrize("mode", [ReleaseMode.ENFORCE, ReleaseMode.SHADOW])
def test_release_takes_two_persons(mode: ReleaseMode) -> None:
    world = World()
    body: ActivateRelease = release(1, mode=mode)
    assert world.do(body, "ada").code == "not_enough_persons"
    assert world.do(body, "ada", "bo").accepted


def test_shadow_release_enforces_nothing() -> None:
    world = World()
    assert world.do(release(1, mode=ReleaseMode.SHADOW), "ada", "bo").accepted
    assert world.fold.release(0) is None
    assert world.fold.last_release() is not None


def test_generation_follows_the_one_on_record() -> None:
    body = NewGeneration(
        topic="ag.requests",
        topic_id="id",
        partition=3,
        generation=1,
        first_offset=5,
        old_size=9,
        old_root=bytes(32),
        survivors_root=bytes(32),
    )
    world = World()
    assert world.do(replace(body, generation=2), "ada", "bo").code == "wrong_generation"
    assert world.do(body, "ada").code == "not_enough_persons"
    assert world.do(body, "ada", "bo").accepted
    assert world.do(body, "ada", "bo").code == "wrong_generation"
    assert world.fold.generation("ag.requests", "id", 3) == body


def test_sealed_topics_replace_the_list() -> None:
    topics = (SealedTopic(topic="ag.requests", topic_id="id", partitions=12),)
    world = World()
    assert world.do(SealedTopics(topics=topics), "ada").code == "not_enough_persons"
    assert world.do(SealedTopics(topics=topics), "ada", "bo").accepted
    assert world.fold.sealed_topics() == topics


def test_digest_of_what_is_not_folded_yet_is_refused() -> None:
    body = StateDigest(at_offset=1_000, digest=bytes(32))
    assert World().do(body, "control").code == "no_such_digest"
    void = VoidDigest(at_offset=1_000, reason="")
    assert World().do(void, "ada", "bo").code == "no_such_digest"


def test_target_of_a_killed_session_may_be_any_text_and_imitates_no_scope() -> None:
    world = World()
    odd = kill(TargetKind.SESSION, "s|agent|x\u202e\n")
    assert world.do(odd, "ada").accepted
    assert world.is_killed(session_id="s|agent|x\u202e\n")
    assert not world.is_killed(session_id="s")


def test_purpose_unknown_or_foreign_algorithm_is_malformed() -> None:
    for entry in (
        replace(key("eve"), purpose=KeyPurpose.UNKNOWN),
        replace(key("eve"), algorithm="ML-DSA-65"),
        replace(key("eve"), public_key=bytes(31)),
        replace(key("eve"), person="a|b"),
    ):
        body = RegisterKey(key=entry, revoked=False)
        assert World().do(body, "ada", "bo").code == "malformed_body"


def test_nonce_makes_equal_commands_different() -> None:
    assert nonce() != nonce()
    world = World()
    assert world.do(kill(), "ada").digest != world.do(kill(), "ada").digest
