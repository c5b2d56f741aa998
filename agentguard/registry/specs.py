# SPDX-License-Identifier: Apache-2.0
"""Tools as people write them in a file: names, schema as an object, labels with defaults."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from agentguard.contracts.commands import (
    ArgumentExtractor,
    RegisterTool,
    Registration,
    SideEffect,
)
from agentguard.contracts.facts import Json
from agentguard.contracts.records import Trust
from agentguard.contracts.strict_json import encode_canonical
from agentguard.registry.names import RegistrationError
from agentguard.registry.tools import ToolLabels, make_tool

JsonObject: TypeAlias = Mapping[str, Json]


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tool of a file. Members are optional but the name; what is missing gets the careful label.

    `schema` is the JSON Schema of the parameters, `extractors` maps arguments to extractor names.
    An unknown member is refused: a label with a typing error must not fall back in silence.
    """

    name: str
    tenant: str = ""
    description: str = ""
    schema: dict[str, object] | None = None
    server: str = ""
    version: str = ""
    status: Registration = Registration.ENABLED
    operation: str = ""
    side_effect: SideEffect = SideEffect.UNKNOWN
    categories: tuple[str, ...] = ()
    decisive_arguments: tuple[str, ...] = ()
    extractors: dict[str, str] = msgspec.field(default_factory=dict)
    output_trust: Trust = Trust.UNTRUSTED
    scopes: tuple[str, ...] = ()
    resource: str = ""


def read_specs(listed: Json, *, tenant: str) -> tuple[RegisterTool, ...]:
    """Returns the registrations of a list of tools, or of `{"tools": [...]}`.

    `tenant` is for those that name none. Raises `RegistrationError` naming the tool at fault.
    """
    items = listed.get("tools") if isinstance(listed, dict) else listed
    if not isinstance(items, list) or not items:
        raise RegistrationError("the file holds no list of tools")
    tools = tuple(_read_spec(item, place, tenant) for place, item in enumerate(items))
    keys = [(tool.tenant, tool.tool) for tool in tools]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise RegistrationError(f"tool `{twice[1]}` is listed twice")
    return tools


def read_spec(item: Json, *, tenant: str) -> RegisterTool:
    """Returns the registration of one tool. Raises `RegistrationError`."""
    return _read_spec(item, 0, tenant)


def _read_spec(item: Json, place: int, tenant: str) -> RegisterTool:
    label = item.get("name", place) if isinstance(item, dict) else place
    schema = item.get("schema") if isinstance(item, dict) else None
    try:
        spec = msgspec.convert(item, ToolSpec)
        text = "" if schema is None else encode_canonical(schema).decode()
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise RegistrationError(f"tool {json.dumps(label)[:80]}: {error}") from error
    labels = ToolLabels(
        status=spec.status,
        server=spec.server,
        version=spec.version,
        operation=spec.operation,
        side_effect=spec.side_effect,
        categories=spec.categories,
        decisive_arguments=spec.decisive_arguments,
        extractors=tuple(
            ArgumentExtractor(argument=argument, extractor=spec.extractors[argument])
            for argument in sorted(spec.extractors)
        ),
        output_trust=spec.output_trust,
        scopes=spec.scopes,
        resource=spec.resource,
    )
    return make_tool(
        spec.name,
        tenant=spec.tenant or tenant,
        description=spec.description,
        schema_json=text,
        labels=labels,
    )
