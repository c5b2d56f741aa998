# SPDX-License-Identifier: Apache-2.0
"""What a policy says, in the one closed vocabulary of every language.

Rego exports it as the object `out`; Cedar carries it in annotations. Anything outside the
vocabulary is an error of the release, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from agentguard.contracts.codes import Code
from agentguard.contracts.errors import EngineError
from agentguard.contracts.facts import Denial, EngineResult, Json, Remedy
from agentguard.contracts.records import Fact, Obligation

OUT_BYTES_MAX: Final = 262_144
UNDEFINED: Final = '"<undefined>"'

RuleId: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_.]{0,99}\Z")]
Tag: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z][A-Za-z0-9_.:-]{0,63}\Z")]
Phrase: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
Scope: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
Severity: TypeAlias = Literal["low", "medium", "high", "critical"]


class RemedyItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What would make a denied call pass: exactly one of a person's approval or a transform."""

    approval: Tag | None = None
    transform: Tag | None = None
    args: dict[str, str | int | bool] = {}

    def __post_init__(self) -> None:
        if (self.approval is None) == (self.transform is None):
            raise ValueError("a remedy is either an approval or a transform")


class DenyItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule that says no."""

    id: RuleId
    code: Code
    reason: Phrase
    severity: Severity
    controls: tuple[Tag, ...] = ()
    remedy: RemedyItem | None = None

    def to_denial(self) -> Denial:
        """Returns it in the words of the contract."""
        return Denial(
            rule=self.id,
            code=self.code.value,
            reason=self.reason,
            severity=self.severity,
            controls=tuple(sorted(self.controls)),
            remedy=None if self.remedy is None else _remedy(self.remedy),
        )


class ObligationItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something the enforcing side must do with an allowed call."""

    type: Tag
    properties: dict[Tag, Scope] = {}

    def to_obligation(self) -> Obligation:
        """Returns it in the words of the contract, properties in key order."""
        facts = (Fact(name=k, value=v) for k, v in sorted(self.properties.items()))
        return Obligation(type=self.type, properties=tuple(facts))


class Out(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The object that every Rego package exports."""

    allow: tuple[RuleId, ...]
    deny: tuple[DenyItem, ...]
    obligations: tuple[ObligationItem, ...]
    scopes: tuple[Scope, ...]


_DECODER: Final = msgspec.json.Decoder(Out)


def _remedy(item: RemedyItem) -> Remedy:
    arguments: dict[str, Json] = dict(item.args)
    return Remedy(
        transform=item.transform or "", arguments=arguments, approval_group=item.approval or ""
    )


def read_out(text: str) -> EngineResult | None:
    """Returns the result that an exported object states, None where it is undefined.

    Raises `EngineError` for anything outside the vocabulary.
    """
    if text == UNDEFINED:
        return None
    if len(text) > OUT_BYTES_MAX:
        raise EngineError("a rule returned too much")
    try:
        out = _DECODER.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise EngineError(f"a rule returned what no policy may return: {error}") from error
    return make_result(
        permits=out.allow,
        denials=(item.to_denial() for item in out.deny),
        scopes=out.scopes,
        obligations=(item.to_obligation() for item in out.obligations),
    )


def make_result(
    *,
    permits: Iterable[str],
    denials: Iterable[Denial],
    scopes: Iterable[str],
    obligations: Iterable[Obligation],
) -> EngineResult:
    """Returns a result in its one order, so that equal results of two engines are equal."""
    return EngineResult(
        permits=tuple(sorted(set(permits))),
        denials=tuple(sorted(denials, key=lambda d: (d.rule, d.code))),
        scopes=tuple(sorted(set(scopes))),
        obligations=tuple(sorted(set(obligations), key=lambda o: (o.type, repr(o.properties)))),
    )
