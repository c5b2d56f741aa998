# SPDX-License-Identifier: Apache-2.0
"""The decision table as it lies on disk: rows over one base document, for every engine."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from agentguard.contracts.errors import ReleaseError, UndecodableError
from agentguard.contracts.records import Verdict
from agentguard.policy.document import (
    ORIGIN_ORDINALS,
    RISK_ORDINALS,
    Document,
    encode_document,
)

TABLE_BASE = "base.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the decision table: a policy input and what every engine must say about it."""

    description: str
    document: bytes
    verdict: Verdict
    code: str
    rules: tuple[str, ...]


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row as it is written: named groups of overrides, then overrides of its own."""

    case: str
    verdict: Verdict
    code: str
    rules: tuple[str, ...]
    given: tuple[str, ...] = ()
    change: dict[str, Any] = {}


class _Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The document that rows change, and the named groups of overrides."""

    document: dict[str, Any]
    groups: dict[str, dict[str, Any]]


def read_cases(folder: Path) -> tuple[Case, ...]:
    """Returns every row of the decision table in `folder`.

    Raises `ReleaseError` naming the row where one does not make a valid policy input.
    """
    base = _load(folder / TABLE_BASE, _Base)
    return tuple(
        _case(base, row)
        for path in sorted(folder.glob("*.yaml"))
        if path.name != TABLE_BASE
        for row in _load(path, tuple[_Row, ...])
    )


def _load(path: Path, kind: type[Any]) -> Any:
    try:
        return msgspec.convert(yaml.safe_load(path.read_bytes()), type=kind)
    except (yaml.YAMLError, msgspec.MsgspecError) as error:
        raise ReleaseError(f"`{path.name}` does not fit: {error}") from error


def _case(base: _Base, row: _Row) -> Case:
    plain = copy.deepcopy(base.document)
    try:
        for path, value in _changes(base, row):
            _change(plain, path, value)
        _twins(plain["context"])
        document = encode_document(msgspec.convert(plain, type=Document))
    except (KeyError, msgspec.MsgspecError, UndecodableError) as error:
        raise ReleaseError(f"row `{row.case}` is no policy input: {error}") from error
    return Case(
        description=row.case,
        document=document,
        verdict=row.verdict,
        code=row.code,
        rules=row.rules,
    )


def _changes(base: _Base, row: _Row) -> Iterator[tuple[str, Any]]:
    for group in row.given:
        yield from base.groups[group].items()
    yield from row.change.items()


def _change(plain: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    node = plain
    for part in parents:
        node = node[part]
    if last not in node:
        raise KeyError(path)
    node[last] = value


def _twins(context: dict[str, Any]) -> None:
    """Sets the ordinals that go with words, so that rows need not repeat them."""
    context["classification"]["risk_ord"] = RISK_ORDINALS[context["classification"]["risk"]]
    context["provenance"]["decisive_ord"] = ORIGIN_ORDINALS[context["provenance"]["decisive"]]
