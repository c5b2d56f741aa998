# SPDX-License-Identifier: Apache-2.0
"""What a verifier trusts: a C2SP tlog-policy file, and the key each tree must be signed with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agentguard.audit.note import NoteKey, parse_verifier_key, verifier_key
from agentguard.audit.origins import ANCHORS, anchors_origin
from agentguard.contracts.errors import VerificationError

POLICY_CHARS_MAX = 1_000_000
NO_QUORUM = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A named set of witnesses and groups of which `threshold` must have signed."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustPolicy:
    """Keys of logs and witnesses, and which witnesses must have signed.

    A log line named after a cluster's anchor log (`…/anchors`) vouches for every tree of that
    cluster: all are signed with one key, each under its own name, and the format forbids listing
    one key twice.
    """

    logs: tuple[NoteKey, ...]
    witnesses: Mapping[str, NoteKey] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    quorum: str = NO_QUORUM

    def log_key(self, origin: str) -> NoteKey | None:
        """Returns the key that a checkpoint of this origin must be signed with, or None."""
        for key in self.logs:
            if key.name == origin:
                return key
            prefix, _, last = key.name.rpartition("/")
            if last == ANCHORS and origin.startswith(f"{prefix}/"):
                return NoteKey(name=origin, public_key=key.public_key)
        return None

    def is_witnessed(self, names: Iterable[str], member: str | None = None) -> bool:
        """Returns whether signatures of these key names fulfil the quorum (or one member of it)."""
        signed = set(names)
        name = self.quorum if member is None else member
        if name == NO_QUORUM:
            return member is None
        if name in self.witnesses:
            return self.witnesses[name].name in signed
        group = self.groups[name]
        return sum(self.is_witnessed(signed, m) for m in group.members) >= group.threshold


def policy_text(domain: str, cluster: str, public_key: bytes) -> str:
    """Returns the policy file of a cluster without witnesses."""
    key = NoteKey(name=anchors_origin(domain, cluster), public_key=public_key)
    return f"log {verifier_key(key)}\nquorum none\n"


def parse_policy(text: str) -> TrustPolicy:
    """Returns the trust of a C2SP tlog-policy file. Raises `VerificationError` (POLICY)."""
    if len(text) > POLICY_CHARS_MAX or any(c < " " and c not in "\n\t" for c in text):
        raise _refused("it is too long or holds control characters")
    reader = _PolicyReader()
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.replace("\t", " ").split(" ")
        words = [w for w in words if w]
        if words and not words[0].startswith("#"):
            reader.read(words, number)
    return reader.policy()


def _refused(why: str) -> VerificationError:
    return VerificationError(f"the policy file is refused: {why}", finding="POLICY")


class _PolicyReader:
    def __init__(self) -> None:
        self._logs: list[NoteKey] = []
        self._witnesses: dict[str, NoteKey] = {}
        self._groups: dict[str, Group] = {}
        self._used: set[str] = set()
        self._quorum: str | None = None

    def read(self, words: list[str], number: int) -> None:
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                self._logs.append(self._new_key(vkey, self._logs))
            case ["witness", name, vkey] | ["witness", name, vkey, _]:
                self._check_new(name)
                self._witnesses[name] = self._new_key(vkey, self._witnesses.values())
            case ["group", name, threshold, *members] if members:
                self._check_new(name)
                self._groups[name] = self._group(threshold, members)
            case ["quorum", name] if self._quorum is None:
                if name != NO_QUORUM and name not in self._witnesses and name not in self._groups:
                    raise _refused(f"line {number} names `{name}`, which is not defined above")
                self._quorum = name
            case _:
                raise _refused(f"line {number} is not understood")

    def policy(self) -> TrustPolicy:
        if self._quorum is None:
            raise _refused("it has no quorum line")
        return TrustPolicy(
            logs=tuple(self._logs),
            witnesses=self._witnesses,
            groups=self._groups,
            quorum=self._quorum,
        )

    def _check_new(self, name: str) -> None:
        if name == NO_QUORUM or name in self._witnesses or name in self._groups:
            raise _refused(f"`{name}` is defined twice")

    def _new_key(self, vkey: str, known: Iterable[NoteKey]) -> NoteKey:
        key = parse_verifier_key(vkey)
        if any(k.public_key == key.public_key for k in known):
            raise _refused(f"the key of `{key.name}` is listed twice")
        return key

    def _group(self, threshold: str, members: list[str]) -> Group:
        for member in members:
            if member not in self._witnesses and member not in self._groups:
                raise _refused(f"`{member}` is not defined above")
            if member in self._used:
                raise _refused(f"`{member}` is in two groups")
            self._used.add(member)
        words = {"any": 1, "all": len(members)}
        if threshold not in words and not (threshold.isascii() and threshold.isdigit()):
            raise _refused(f"`{threshold}` is no threshold")
        need = words[threshold] if threshold in words else int(threshold[:9])
        if not 1 <= need <= len(members):
            raise _refused(f"a threshold of {need} among {len(members)}")
        return Group(threshold=need, members=tuple(members))
