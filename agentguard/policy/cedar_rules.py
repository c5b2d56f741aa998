# SPDX-License-Identifier: Apache-2.0
"""Cedar policies as rules of ours: annotations read once, and the set that is evaluated.

Cedar names only the policies that determined its answer, and skips those that err. We need every
rule that matches, so the set that runs has each `forbid` turned into a `permit` of the same
condition: one evaluation then names all rules that hold, and errors stay visible. Which of them
deny is known here, and `policy.combine` lets a denial win, as Cedar does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from agentguard.contracts.errors import ReleaseError
from agentguard.contracts.facts import Denial, EngineResult
from agentguard.contracts.records import Obligation
from agentguard.policy.outcome import (
    DenyItem,
    ObligationItem,
    RuleId,
    Scope,
    Severity,
    make_result,
)

_PLACEHOLDER: Final = re.compile(r"(\{tool\}|\{operation\})")


class _PermitNotes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Annotations of a permit."""

    id: RuleId
    scope: Scope
    obligation: str = ""


class _ForbidNotes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Annotations of a forbid."""

    id: RuleId
    code: str
    reason: str
    severity: Severity
    control: str = ""
    approval: str | None = None
    transform: str | None = None
    transform_args: str = "{}"


class _Policy(msgspec.Struct, frozen=True):
    effect: str
    principal: msgspec.Raw
    action: msgspec.Raw
    resource: msgspec.Raw
    conditions: tuple[msgspec.Raw, ...]
    annotations: dict[str, str | None] = {}


class _PolicySet(msgspec.Struct, frozen=True):
    staticPolicies: dict[str, _Policy]  # noqa: N815 - Cedar's own name
    templates: dict[str, msgspec.Raw] = {}
    templateLinks: tuple[msgspec.Raw, ...] = ()  # noqa: N815 - Cedar's own name


@dataclass(frozen=True, slots=True, kw_only=True)
class PermitRule:
    """What a permit gives: scope templates and obligations."""

    scopes: tuple[str, ...]
    obligations: tuple[Obligation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CedarRules:
    """The rules of a release: `evaluated` is the Cedar JSON of the set that runs."""

    permits: Mapping[str, PermitRule]
    denials: Mapping[str, Denial]
    evaluated: str


def read_rules(policies_json: str) -> CedarRules:
    """Returns the rules of a policy set in Cedar's JSON form.

    Raises `ReleaseError` for templates, a missing or repeated `@id`, an annotation outside the
    vocabulary, and a permit without any condition.
    """
    try:
        policies = msgspec.json.decode(policies_json, type=_PolicySet)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ReleaseError(f"the Cedar policies have an unknown shape: {error}") from error
    if policies.templates or policies.templateLinks:
        raise ReleaseError("the release holds Cedar templates")
    permits: dict[str, PermitRule] = {}
    denials: dict[str, Denial] = {}
    evaluated: dict[str, _Policy] = {}
    for policy in policies.staticPolicies.values():
        rule = _read_rule(policy, permits, denials)
        if rule in evaluated:
            raise ReleaseError(f"two Cedar policies are called `{rule}`")
        evaluated[rule] = msgspec.structs.replace(policy, effect="permit", annotations={})
    body = msgspec.json.encode(_PolicySet(staticPolicies=evaluated))
    return CedarRules(permits=permits, denials=denials, evaluated=body.decode())


def _read_rule(policy: _Policy, permits: dict[str, PermitRule], denials: dict[str, Denial]) -> str:
    name = policy.annotations.get("id") or "?"
    try:
        if policy.effect == "forbid":
            forbid = msgspec.convert(policy.annotations, type=_ForbidNotes)
            denials[forbid.id] = _denial(forbid)
            return forbid.id
        permit = msgspec.convert(policy.annotations, type=_PermitNotes)
        duties = [_obligation(kind) for kind in permit.obligation.split()]
    except (msgspec.MsgspecError, ValueError) as error:
        raise ReleaseError(f"annotations of Cedar policy `{name}`: {error}") from error
    if not policy.conditions and all(
        msgspec.json.decode(part) == {"op": "All"}
        for part in (policy.principal, policy.action, policy.resource)
    ):
        raise ReleaseError(f"Cedar policy `{permit.id}` permits everything")
    permits[permit.id] = PermitRule(scopes=tuple(permit.scope.split()), obligations=tuple(duties))
    return permit.id


def _obligation(kind: str) -> Obligation:
    return msgspec.convert({"type": kind}, type=ObligationItem).to_obligation()


def _denial(notes: _ForbidNotes) -> Denial:
    remedy = None
    if notes.approval is not None or notes.transform is not None:
        args = msgspec.json.decode(notes.transform_args)
        remedy = {"approval": notes.approval, "transform": notes.transform, "args": args}
    item = {
        "id": notes.id,
        "code": notes.code,
        "reason": notes.reason,
        "severity": notes.severity,
        "controls": tuple(notes.control.split()),
        "remedy": remedy,
    }
    return msgspec.convert(item, type=DenyItem).to_denial()


def result_of(
    rules: CedarRules, matched: Iterable[str], *, tool: str, operation: str
) -> EngineResult:
    """Returns the result that these matching rules make. Raises `KeyError` for an unknown one."""
    permits: list[str] = []
    denials: list[Denial] = []
    scopes: set[str] = set()
    obligations: set[Obligation] = set()
    for name in matched:
        if name in rules.denials:
            denials.append(rules.denials[name])
            continue
        rule = rules.permits[name]
        permits.append(name)
        obligations.update(rule.obligations)
        scopes.update(_expand(scope, tool, operation) for scope in rule.scopes)
    return make_result(permits=permits, denials=denials, scopes=scopes, obligations=obligations)


def _expand(template: str, tool: str, operation: str) -> str:
    # one pass over the template: a tool's name cannot bring a placeholder of its own
    parts = _PLACEHOLDER.split(template)
    values = {"{tool}": tool, "{operation}": operation}
    return "".join(values.get(part, part) for part in parts)
