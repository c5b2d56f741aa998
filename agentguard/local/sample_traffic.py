# SPDX-License-Identifier: Apache-2.0
"""The recorded tool calls that travel with the package: registrations, cases, and how to send them."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import yaml

from agentguard.contracts.commands import (
    ArgumentExtractor,
    RegisterTool,
    Registration,
    SideEffect,
)
from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.facts import Json
from agentguard.contracts.hashing import tool_pin
from agentguard.contracts.records import Trust
from agentguard.contracts.strict_json import encode_canonical, parse_strict

FOLDER: Final = Path(__file__).parent / "samples"
SHOW_SUITE: Final = "slack"
SERVER: Final = "samples"

Send = Callable[[dict[str, Json]], dict[str, Json]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCall:
    """One recorded call and what its tool answered."""

    tool: str
    arguments: Mapping[str, Json]
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCase:
    """One trajectory. `judged` holds the indices of the calls that the case is about.

    `kind`: benign (nobody attacks), under_attack (the user's own calls after an attack was read),
    injection (what the attacker asks for), twin (the same, asked for by the user). `goal` is what
    the attacker wants.
    """

    suite: str
    case: str
    kind: str
    task: str
    goal: str
    calls: tuple[SampleCall, ...]
    judged: tuple[int, ...]

    def rows(self) -> Iterator[tuple[SampleCall, tuple[SampleCall, ...]]]:
        """Yields each judged call with the calls before it."""
        for index in self.judged:
            yield self.calls[index], self.calls[:index]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """All of the sample traffic: the tools as one tenant registers them, and the cases."""

    tools: tuple[RegisterTool, ...]
    cases: tuple[SampleCase, ...]


class _Schema(msgspec.Struct, frozen=True):
    description: str
    schema: msgspec.Raw


class _Call(msgspec.Struct, frozen=True):
    tool: str
    arguments: msgspec.Raw
    output: str


class _Case(msgspec.Struct, frozen=True):
    suite: str
    case: str
    kind: str
    task: str
    goal: str
    calls: list[_Call]
    judged: list[int]


class _File(msgspec.Struct, frozen=True):
    benchmark: str
    tools: dict[str, dict[str, _Schema]]
    cases: list[_Case]


class _Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    suites: list[str]
    operation: str
    effect: SideEffect
    output: Trust
    categories: list[str] = []
    decisive: list[str] = []
    extractors: dict[str, str] = {}


def load(tenant: str = "default", *, path: Path = FOLDER / "calls.json.gz") -> Samples:
    """Returns the sample traffic, tools registered as enabled for `tenant`."""
    file = msgspec.json.decode(gzip.decompress(path.read_bytes()), type=_File)
    return Samples(tools=_tools(tenant, file), cases=tuple(map(_case, file.cases)))


def _case(case: _Case) -> SampleCase:
    return SampleCase(
        suite=case.suite,
        case=case.case,
        kind=case.kind,
        task=case.task,
        goal=case.goal,
        calls=tuple(
            SampleCall(tool=c.tool, arguments=_object(c.arguments), output=c.output)
            for c in case.calls
        ),
        judged=tuple(case.judged),
    )


def _object(raw: msgspec.Raw) -> dict[str, Json]:
    value = parse_strict(bytes(raw))
    if not isinstance(value, dict):
        raise UndecodableError("not a JSON object")
    return value


def _tools(tenant: str, file: _File) -> tuple[RegisterTool, ...]:
    with (FOLDER / "tools.yaml").open(encoding="utf-8") as stream:
        labels = msgspec.convert(yaml.safe_load(stream), type=dict[str, _Label])
    known = {name: schema for tools in file.tools.values() for name, schema in tools.items()}
    return tuple(
        _register(tenant, name, known[name], label)
        for name, label in labels.items()
        if name in known
    )


def _register(tenant: str, name: str, known: _Schema, label: _Label) -> RegisterTool:
    schema_json = encode_canonical(_object(known.schema)).decode()
    return RegisterTool(
        tenant=tenant,
        tool=name,
        status=Registration.ENABLED,
        server=SERVER,
        version="1",
        description=known.description,
        schema_json=schema_json,
        pin=tool_pin(known.description, schema_json),
        operation=label.operation,
        side_effect=label.effect,
        categories=tuple(label.categories),
        decisive_arguments=tuple(label.decisive),
        extractors=tuple(
            ArgumentExtractor(argument=a, extractor=e) for a, e in label.extractors.items()
        ),
        output_trust=label.output,
        scopes=(),
        resource=label.suites[0],
    )


def show(samples: Samples) -> tuple[SampleCase, SampleCase]:
    """Returns what a newcomer is shown: one injected call, and its twin asked for by the user."""
    acting = {t.tool for t in samples.tools if t.side_effect is not SideEffect.READ}
    injected = next(
        c
        for c in samples.cases
        if c.suite == SHOW_SUITE
        and c.kind == "injection"
        and len(c.judged) == 1
        and c.calls[c.judged[0]].tool in acting
    )
    twin = next(c for c in samples.cases if c.kind == "twin" and c.task == injected.goal)
    return injected, twin


def request_body(
    case: SampleCase, index: int, *, agent_id: str, session_id: str
) -> dict[str, Json]:
    """Returns the HTTP body of one call of a case, its history inline."""
    call = case.calls[index]
    history: list[Json] = [
        {"tool": c.tool, "arguments": dict(c.arguments), "output": c.output}
        for c in case.calls[:index]
    ]
    return {
        "agentId": agent_id,
        "toolName": call.tool,
        "parameters": dict(call.arguments),
        "context": {
            "userTask": case.task,
            "sessionId": session_id,
            "history": history,
            "environment": "production",
        },
    }


def replay(case: SampleCase, send: Send, *, agent_id: str) -> Iterator[dict[str, Json]]:
    """Sends a case's judged calls in order and yields the answers; a call not allowed ends it."""
    for index in case.judged:
        answer = send(request_body(case, index, agent_id=agent_id, session_id=case.case))
        yield answer
        if answer.get("action") != "allow":
            return
