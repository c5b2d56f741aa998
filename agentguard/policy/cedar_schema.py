# SPDX-License-Identifier: Apache-2.0
"""The policy input as Cedar sees it: the schema, and the projection of one document.

Principal is the agent (member of its roles), action the tool's side effect (all but `read` are
members of `act`), resource the tool (member of its categories), context the document's own
context, byte for byte. The schema is made from the document's types, so they cannot drift apart.
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple, cast, get_args

import msgspec
from msgspec import inspect

from agentguard.policy.document import Context, Document, EffectWord, SubjectProperties

ACTING: Final = "act"
READING: Final = "read"


class Tool(msgspec.Struct, frozen=True):
    """Attributes of the resource: what the document's action and resource say, side by side."""

    operation: str
    protected: bool
    registered: bool
    resource: str
    server: str
    side_effect: str
    tenant: str
    version: str


class _Uid(msgspec.Struct, frozen=True):
    id: str
    type: str


class _Agent(msgspec.Struct, frozen=True):
    attestation: str
    capabilities: tuple[str, ...]
    delegation_depth: int
    on_behalf_of: object
    owner: str
    risk_profile: str
    tenant: str
    version: str


class _Entity(msgspec.Struct, frozen=True):
    attrs: _Agent | Tool
    parents: tuple[_Uid, ...]
    uid: _Uid


class Question(NamedTuple):
    """One document as a Cedar request: ids of the three entities, and the entities as JSON."""

    agent: str
    effect: str
    tool: str
    entities: str


@cache
def cedar_schema() -> str:
    """Returns the schema of the policy input in Cedar's own syntax."""
    skipped = {"roles"}
    agent = _record(SubjectProperties, skipped=skipped)
    effects = [e for e in get_args(EffectWord) if e != READING]
    acts = ", ".join(f'"{e}"' for e in effects)
    applies = "appliesTo { principal: [Agent], resource: [Tool], context: Context }"
    return "\n".join(
        (
            "// made from agentguard/policy/document.py; a test compares",
            f"type Context = {_record(Context)};",
            "entity Role;",
            "entity Category;",
            f"entity Agent in [Role] = {agent};",
            f"entity Tool in [Category] = {_record(Tool)};",
            f'action "{ACTING}";',
            f'action {acts} in ["{ACTING}"] {applies};',
            f'action "{READING}" {applies};',
            "",
        )
    )


def _record(struct: type, *, skipped: set[str] | None = None) -> str:
    info = cast(inspect.StructType, inspect.type_info(struct))
    fields = (
        f"{field.encode_name}: {_cedar_type(field.type)}"
        for field in info.fields
        if field.encode_name not in (skipped or ())
    )
    return "{ " + ", ".join(fields) + " }"


def _cedar_type(kind: inspect.Type) -> str:
    match kind:
        case inspect.StructType():
            return _record(kind.cls)
        case inspect.VarTupleType():
            return f"Set<{_cedar_type(kind.item_type)}>"
        case inspect.BoolType():
            return "Bool"
        case inspect.IntType():
            return "Long"
        case _:
            # words and texts; a document holds no other kind, and the schema is checked in
            return "String"


def project(document: Document) -> Question:
    """Returns what Cedar is asked about a document, its context left out."""
    subject, action, resource = document.subject, document.action, document.resource
    agent = _Entity(
        attrs=_Agent(
            attestation=subject.properties.attestation,
            capabilities=subject.properties.capabilities,
            delegation_depth=subject.properties.delegation_depth,
            on_behalf_of=subject.properties.on_behalf_of,
            owner=subject.properties.owner,
            risk_profile=subject.properties.risk_profile,
            tenant=subject.properties.tenant,
            version=subject.properties.version,
        ),
        parents=tuple(_Uid(id=role, type="Role") for role in subject.properties.roles),
        uid=_Uid(id=subject.id, type="Agent"),
    )
    tool = _Entity(
        attrs=Tool(
            operation=action.properties.operation,
            protected=resource.properties.protected,
            registered=action.properties.registered,
            resource=resource.id,
            server=resource.properties.server,
            side_effect=action.properties.side_effect,
            tenant=resource.properties.tenant,
            version=action.properties.tool_version,
        ),
        parents=tuple(_Uid(id=name, type="Category") for name in action.properties.categories),
        uid=_Uid(id=action.name, type="Tool"),
    )
    return Question(
        agent=subject.id,
        effect=action.properties.side_effect,
        tool=action.name,
        entities=_ENCODER.encode((agent, tool)).decode(),
    )


_ENCODER: Final = msgspec.json.Encoder()
