# SPDX-License-Identifier: Apache-2.0
"""How the registry reads a tool: its pin, its labels, and what counts where a label is missing.

A tool that nobody labelled counts as one that writes, all of whose arguments decide where the
effect goes, and whose outputs are not to be believed.
"""

from __future__ import annotations

from dataclasses import dataclass

from agentguard.bounds import COMMAND_LIST_ITEMS_MAX, NAME_CHARS_MAX
from agentguard.contracts.commands import (
    ArgumentExtractor,
    RegisterTool,
    Registration,
    SideEffect,
)
from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.hashing import tool_pin
from agentguard.contracts.records import Trust
from agentguard.contracts.strict_json import encode_canonical, parse_strict
from agentguard.registry.names import RegistrationError, check_name

TENANT_DEFAULT = "default"


def canonical_schema(schema_json: str) -> str:
    """Returns a parameter schema with sorted keys and without spaces; empty stays empty.

    A server may send the same schema in another order tomorrow: that is no change.
    Raises `RegistrationError` where it is no strict JSON object.
    """
    if not schema_json.strip():
        return ""
    try:
        schema = parse_strict(schema_json.encode())
    except (UndecodableError, UnicodeEncodeError) as error:
        raise RegistrationError("the parameter schema is not strict JSON") from error
    if not isinstance(schema, dict):
        raise RegistrationError("the parameter schema is not a JSON object")
    return encode_canonical(schema).decode()


def pin_of(description: str, schema_json: str) -> bytes:
    """Returns the 32-byte pin over description and canonical schema.

    Raises `RegistrationError` where the schema is no strict JSON object.
    """
    return tool_pin(description, canonical_schema(schema_json))


def schema_arguments(schema_json: str) -> tuple[str, ...]:
    """Returns the names of a schema's top-level properties, sorted.

    None of them where there are more than a registration can list, or where one cannot be listed:
    an empty list reads as all.
    """
    schema = parse_strict(schema_json.encode()) if schema_json else {}
    properties = schema.get("properties") if isinstance(schema, dict) else None
    names = tuple(sorted(properties)) if isinstance(properties, dict) else ()
    listable = all(0 < len(name) <= NAME_CHARS_MAX for name in names)
    return names if listable and len(names) <= COMMAND_LIST_ITEMS_MAX else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolLabels:
    """What a person says about a tool that its schema does not. Defaults are the careful ones.

    Without `decisive_arguments` every argument is decisive.
    """

    status: Registration = Registration.ENABLED
    server: str = ""
    version: str = ""
    operation: str = ""
    side_effect: SideEffect = SideEffect.UNKNOWN
    categories: tuple[str, ...] = ()
    decisive_arguments: tuple[str, ...] = ()
    extractors: tuple[ArgumentExtractor, ...] = ()
    output_trust: Trust = Trust.UNTRUSTED
    scopes: tuple[str, ...] = ()
    resource: str = ""


def make_tool(
    name: str,
    *,
    tenant: str = TENANT_DEFAULT,
    description: str = "",
    schema_json: str = "",
    labels: ToolLabels | None = None,
) -> RegisterTool:
    """Returns the registration of a tool with its pin. Raises `RegistrationError`.

    Where nobody said which arguments are decisive, it lists every one that the schema names: what
    counts is then on the log, and no reader needs to know the rule.
    """
    said = labels or ToolLabels()
    schema = canonical_schema(schema_json)
    return RegisterTool(
        tenant=check_name("tenant", tenant),
        tool=check_name("tool", name),
        status=said.status,
        server=said.server,
        version=said.version,
        description=description,
        schema_json=schema,
        pin=tool_pin(description, schema),
        operation=said.operation,
        side_effect=said.side_effect,
        categories=said.categories,
        decisive_arguments=said.decisive_arguments or schema_arguments(schema),
        extractors=said.extractors,
        output_trust=said.output_trust,
        scopes=said.scopes,
        resource=said.resource,
    )


def labels_of(tool: RegisterTool) -> ToolLabels:
    """Returns the labels that are on record."""
    return ToolLabels(
        status=tool.status,
        server=tool.server,
        version=tool.version,
        operation=tool.operation,
        side_effect=tool.side_effect,
        categories=tool.categories,
        decisive_arguments=tool.decisive_arguments,
        extractors=tool.extractors,
        output_trust=tool.output_trust,
        scopes=tool.scopes,
        resource=tool.resource,
    )


def effect_of(tool: RegisterTool) -> SideEffect:
    """Returns what the tool does to the world; unknown is write."""
    return SideEffect.WRITE if tool.side_effect is SideEffect.UNKNOWN else tool.side_effect


def has_side_effect(tool: RegisterTool) -> bool:
    """Returns whether a call changes anything."""
    return effect_of(tool) is not SideEffect.READ


def is_decisive(tool: RegisterTool, argument: str) -> bool:
    """Returns whether an argument says where the effect goes; all do where none is listed."""
    return not tool.decisive_arguments or argument in tool.decisive_arguments


def trust_of(tool: RegisterTool | None) -> Trust:
    """Returns how far the tool's outputs are believed.

    Trusted is only what is enabled: two people signed that, one alone signs a pending entry.
    """
    if tool is None or tool.status is not Registration.ENABLED:
        return Trust.UNTRUSTED
    return Trust.TRUSTED if tool.output_trust is Trust.TRUSTED else Trust.UNTRUSTED
