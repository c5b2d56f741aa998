# SPDX-License-Identifier: Apache-2.0
"""Accepts or rejects one record of the control log. The log serialises, this judges.

Every reader comes to the same ruling from the same bytes. Judging changes nothing; what is
accepted takes effect in `ControlState.enact`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar, cast, get_args

from agentguard.bounds import COMMAND_SIGNATURES_MAX, RECORD_BYTES_MAX
from agentguard.contracts.commands import (
    ActivateRelease,
    CommandBody,
    CommandType,
    Genesis,
    KeyEntry,
    KeyPurpose,
    Kill,
    Lift,
    NewGeneration,
    RegisterAgent,
    RegisterKey,
    ReleaseMode,
    Semantics,
    SignedCommand,
    StateDigest,
    VoidDigest,
)
from agentguard.contracts.errors import AgentGuardError, UndecodableError, UnknownSchemaError
from agentguard.contracts.hashing import command_digest, command_message
from agentguard.contracts.names import name_fault
from agentguard.contracts.ports import AnyRecord, Codec, Verifier
from agentguard.contracts.records import ControlCommand, Mode
from agentguard.control.bodies import SCHEMES, body_fault
from agentguard.control.directions import Direction, direction
from agentguard.control.rejections import Rejection
from agentguard.control.scopes import scope_of
from agentguard.control.state import NO_DIGEST, ControlState, is_block

SEMANTICS_KNOWN = 1
_BODIES: Mapping[str, type] = {kind.__name__: kind for kind in get_args(CommandBody)}
_Read = TypeVar("_Read", bound=AnyRecord)
Keys: TypeAlias = Mapping[str, KeyEntry]


class OutdatedBuildError(AgentGuardError):
    """The log lists a schema that this build does not have: nothing after it can be judged."""

    code = "outdated_build"
    next_step = "upgrade this process"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A readable command at its offset. `body` None: the body is none of this command's type."""

    offset: int
    command: ControlCommand
    signed: SignedCommand
    body: CommandBody | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signers:
    """Whose signatures are right. `fault` says why another one did not count."""

    persons: frozenset[str] = frozenset()
    has_control: bool = False
    fault: Rejection = Rejection.NOT_ENOUGH_PERSONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What the judge says of one record. Without `rejection`, signed and body are set."""

    rejection: Rejection | None
    signed: SignedCommand | None = None
    body: CommandBody | None = None
    digest: bytes = b""
    persons: frozenset[str] = frozenset()


class Judge:
    """Judges records against a state. `pinned` is the digest of the founding command, or None."""

    def __init__(self, codec: Codec, verifier: Verifier, pinned: bytes | None) -> None:
        self._codec = codec
        self._verifier = verifier
        self._pinned = pinned

    def judge(self, offset: int, value: bytes | None, state: ControlState) -> Ruling:
        """Returns the ruling on the record at this offset. Raises `OutdatedBuildError`."""
        if state.semantics > SEMANTICS_KNOWN:
            return Ruling(rejection=Rejection.OUTDATED)
        if value is not None and len(value) > RECORD_BYTES_MAX:
            return Ruling(rejection=Rejection.TOO_LARGE)
        command = self._read(value, ControlCommand, state)
        signed = None if command is None else self._read(command.signed, SignedCommand, state)
        if command is None or signed is None:
            return Ruling(rejection=Rejection.UNDECODABLE)
        body = self._read_body(signed, state)
        case = Case(offset=offset, command=command, signed=signed, body=body)
        signers = Signers()
        rejection = self._refuse_genesis(case, value, state) or refuse_envelope(case, state)
        if rejection is None and body is not None:
            signers = count_signers(command, keys_for(body, state), self._verifier)
            rejection = (
                refuse_signers(signed, body, signers, state)
                or refuse_version(signed, body, state)
                or refuse_effect(case, state)
            )
        return Ruling(
            rejection=rejection,
            signed=signed,
            body=body,
            digest=command_digest(command.signed),
            persons=signers.persons,
        )

    def _read(self, frame: bytes | None, kind: type[_Read], state: ControlState) -> _Read | None:
        """Returns the record of a frame that this state can read, or None."""
        if frame is None:
            return None
        try:
            record = self._codec.decode(frame)
        except UnknownSchemaError as error:
            if state.is_readable(error.fingerprint):
                raise OutdatedBuildError("a listed schema is not in this build") from error
            return None
        except UndecodableError:
            return None
        # before Genesis nothing is listed; it must list what it is written in itself
        listed = state.genesis is None or state.is_readable(frame[2:10])
        return record if listed and isinstance(record, kind) else None

    def _read_body(self, signed: SignedCommand, state: ControlState) -> CommandBody | None:
        kind = _BODIES.get(signed.type)
        return None if kind is None else cast(CommandBody, self._read(signed.body, kind, state))

    def _refuse_genesis(
        self, case: Case, value: bytes | None, state: ControlState
    ) -> Rejection | None:
        if state.genesis is not None:
            is_second = case.signed.type == CommandType.GENESIS
            return Rejection.SECOND_GENESIS if is_second else None
        if case.offset != 0 or case.signed.type != CommandType.GENESIS:
            return Rejection.NO_GENESIS
        if self._pinned not in (None, command_digest(case.command.signed)):
            return Rejection.WRONG_GENESIS
        if not isinstance(case.body, Genesis) or value is None:
            return Rejection.MALFORMED_BODY
        listed = {schema.fingerprint for schema in case.body.schemas}
        written = (value, case.command.signed, case.signed.body)
        fits = all(frame[2:10] in listed for frame in written)
        return None if fits else Rejection.MALFORMED_BODY


def refuse_envelope(case: Case, state: ControlState) -> Rejection | None:
    """Returns why the envelope or the shape of the body does not stand, or None."""
    signed, body = case.signed, case.body
    cluster = state.cluster if state.genesis else signed.cluster
    if case.command.mode is not Mode.LIVE:
        return Rejection.WRONG_MODE
    if (signed.cluster, case.command.cluster) != (cluster, cluster) or name_fault(cluster):
        return Rejection.WRONG_CLUSTER
    if signed.audience != cluster:
        return Rejection.WRONG_AUDIENCE
    if state.has_folded(command_digest(case.command.signed)):
        return Rejection.DUPLICATE
    if signed.fold_min > max(state.semantics, 1) or signed.fold_min < 1:
        return Rejection.ABOVE_SEMANTICS
    if signed.type not in _BODIES:
        return Rejection.UNKNOWN_TYPE
    if body is None or body_fault(body):
        return Rejection.MALFORMED_BODY
    if not is_interval_allowed(signed, body):
        return Rejection.BAD_INTERVAL
    return None if signed.scope == scope_of(body) else Rejection.WRONG_SCOPE


def is_interval_allowed(signed: SignedCommand, body: CommandBody) -> bool:
    """Returns whether the interval can be kept by what it is on.

    Kills and lifts keep both ends, a release its beginning. Elsewhere an interval would be
    ignored, and the command would take effect at a time that nobody signed.
    """
    start_ms, end_ms = signed.not_before_ms, signed.not_after_ms
    if start_ms < 0 or end_ms < 0 or (end_ms and end_ms <= start_ms):
        return False
    match body:
        case Kill() | Lift():
            return True
        case ActivateRelease():
            return end_ms == 0
        case _:
            return start_ms == 0 and end_ms == 0


def keys_for(body: CommandBody | None, state: ControlState) -> Keys:
    """Returns the keys that may sign: those on record, or those that Genesis brings itself."""
    if state.genesis is None and isinstance(body, Genesis):
        return {key.key_id: key for key in body.keys}
    return state.keys()


def count_signers(command: ControlCommand, keys: Keys, verifier: Verifier) -> Signers:
    """Returns whose signatures are right; each is checked, none can spoil another.

    A wrong signature does not count and does no more: otherwise whoever can append could spoil a
    copy of a kill.
    """
    if len(command.signatures) > COMMAND_SIGNATURES_MAX:
        return Signers(fault=Rejection.TOO_MANY_SIGNATURES)
    message = command_message(command.signed)
    persons: set[str] = set()
    has_control = False
    fault = Rejection.NOT_ENOUGH_PERSONS
    for signature in command.signatures:
        key = keys.get(signature.key_id)
        if key is None:
            fault = Rejection.UNKNOWN_KEY
        elif signature.scheme is not SCHEMES.get(key.algorithm) or not verifier.verify(
            scheme=signature.scheme,
            public_key=key.public_key,
            message=message,
            signature=signature.signature,
        ):
            fault = Rejection.BAD_SIGNATURE
        elif key.purpose is KeyPurpose.PERSON:
            persons.add(key.person)
        else:
            has_control |= key.purpose is KeyPurpose.CONTROL
    return Signers(persons=frozenset(persons), has_control=has_control, fault=fault)


def persons_needed(body: CommandBody, way: Direction, state: ControlState) -> int:
    """Returns how many different persons must have signed."""
    if isinstance(body, Genesis):
        return len(body.persons)
    if way is not Direction.LOOSER:
        return 1
    needed = state.thresholds()
    if isinstance(body, ActivateRelease) and body.mode is ReleaseMode.ENFORCE:
        return max(needed.loosen, needed.enforce_release)
    return needed.loosen


def is_for_control_key(body: CommandBody, way: Direction) -> bool:
    """Returns whether the control plane's own key suffices: to tighten, and to state digests."""
    return way is Direction.STRICTER or isinstance(body, StateDigest)


def refuse_signers(
    signed: SignedCommand, body: CommandBody, signers: Signers, state: ControlState
) -> Rejection | None:
    """Returns why these signers do not suffice, or None."""
    way = direction(signed.type, body, state)
    if len(signers.persons) >= persons_needed(body, way, state):
        return None
    by_control = signers.has_control and is_for_control_key(body, way)
    return None if by_control else signers.fault


def refuse_version(
    signed: SignedCommand, body: CommandBody, state: ControlState
) -> Rejection | None:
    """Returns why the command was written against another state of its scope, or None.

    A stricter one is judged without its version: no race can reject a kill.
    """
    if direction(signed.type, body, state) is Direction.STRICTER:
        return None
    current = state.scope_version(signed.scope)
    return None if signed.scope_version == current else Rejection.STALE_SCOPE


def refuse_effect(case: Case, state: ControlState) -> Rejection | None:
    """Returns why the command cannot take effect on what is on record, or None."""
    match case.body:
        case RegisterKey() as body:
            return _refuse_key(body, state)
        case RegisterAgent() as body:
            return _refuse_agent(body, state)
        case ActivateRelease() as body:
            return _refuse_release(body, state)
        case Lift(kind=kind, tenant=tenant, target=target):
            stands = state.is_killed_ever(kind, tenant, target)
            return None if stands else Rejection.NOTHING_TO_LIFT
        case Semantics(number=number):
            next_ones = (state.semantics, state.semantics + 1)
            return None if number in next_ones else Rejection.WRONG_NUMBER
        case StateDigest(at_offset=at) | VoidDigest(at_offset=at):
            return None if at <= case.offset else Rejection.NO_SUCH_DIGEST
        case NewGeneration() as body:
            before = state.generation(body.topic, body.topic_id, body.partition)
            follows = body.generation == (0 if before is None else before.generation) + 1
            return None if follows else Rejection.WRONG_GENERATION
        case _:
            return None


def _refuse_key(body: RegisterKey, state: ControlState) -> Rejection | None:
    if body.revoked:
        return None if state.keys().get(body.key.key_id) == body.key else Rejection.NO_SUCH_KEY
    return Rejection.KEY_EXISTS if state.knows_key(body.key) else None


def _refuse_agent(body: RegisterAgent, state: ControlState) -> Rejection | None:
    if is_block(body) and state.agent(body.tenant, body.agent_id) is not None:
        return None
    holder = state.agent_by_credential(body.credential_hash)
    own = holder is None or (holder.tenant, holder.agent_id) == (body.tenant, body.agent_id)
    return None if own else Rejection.CREDENTIAL_IN_USE


def _refuse_release(body: ActivateRelease, state: ControlState) -> Rejection | None:
    last = state.last_release()
    if body.sequence <= (0 if last is None else last.sequence):
        return Rejection.STALE_SEQUENCE
    if body.previous_digest != (NO_DIGEST if last is None else last.bundle_digest):
        return Rejection.WRONG_PREVIOUS
    if not body.rollback_of:
        return None
    earlier = state.release_of(body.rollback_of)
    same = earlier is not None and earlier.bundle_digest == body.bundle_digest
    return None if same else Rejection.NO_SUCH_RELEASE
