# SPDX-License-Identifier: Apache-2.0
"""Typed values that policy reads out of a call's parameters, each in one spelling.

A registration names the extractor of an argument; where it names none, the argument's name and
the `format` in its schema choose. Raw parameters stay opaque to policy.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import msgspec

from agentguard.contracts.commands import RegisterTool
from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.facts import ExtractedFacts, Json
from agentguard.contracts.strict_json import JsonNumber
from agentguard.policy import money, normalise, shell

SOURCES_CACHED_MAX: Final = 4_096
LEAVES_MAX: Final = 4_096
TYPED_CHARS_MAX: Final = 65_536
# one character may become eighteen when it is folded
FOLDED_CHARS_MAX: Final = 65_536


@dataclass(slots=True)
class Found:
    """What the extractors of one call have found so far; dictionaries keep first-seen order."""

    amounts: list[money.Amount] = field(default_factory=list)
    currency: str = ""
    paths: dict[str, None] = field(default_factory=dict)
    hosts: dict[str, None] = field(default_factory=dict)
    recipients: dict[str, None] = field(default_factory=dict)
    domains: dict[str, None] = field(default_factory=dict)
    commands: dict[str, None] = field(default_factory=dict)
    tables: dict[str, None] = field(default_factory=dict)
    has_secret: bool = False


def _path(text: str, found: Found) -> None:
    # a NUL ends a path for a C library: policy sees both readings
    decoded = normalise.decode_percent(text)
    for part in dict.fromkeys((decoded, decoded.split("\0", 1)[0])):
        spelled = normalise.normal_path(part)
        if spelled:
            found.paths[spelled] = None


def _host(text: str, found: Found) -> None:
    for host in normalise.hosts_of(text):
        found.hosts[host] = None


def _recipient(text: str, found: Found) -> None:
    for recipient, domain in normalise.recipients_of(text):
        found.recipients[recipient] = None
        if domain:
            found.domains[domain] = None


def _currency(text: str, found: Found) -> None:
    found.currency = money.currency_of(text) or found.currency


def _command(text: str, found: Found) -> None:
    for program in shell.programs_of(text):
        found.commands[program] = None


def _table(text: str, found: Found) -> None:
    for table in shell.tables_of(text):
        found.tables[table] = None


def _nothing(text: str, found: Found) -> None:
    del text, found


EXTRACTORS: Final[Mapping[str, Callable[[str, Found], None]]] = {
    "path": _path,
    "host": _host,
    "recipient": _recipient,
    "amount": _nothing,
    "currency": _currency,
    "command": _command,
    "table": _table,
    "secret": _nothing,
    "text": _nothing,
}

# kinds whose text is only searched, never folded
_UNREAD: Final = frozenset({"text", "secret"})

_NAMES: Final = {
    "path": "path paths file files filename file_name filepath file_path directory dir folder"
    " source_path destination_path old_path new_path cwd",
    "host": "url urls uri link href host hostname domain endpoint website address_url webhook",
    "recipient": "to cc bcc recipient recipients email emails user_email email_address"
    " participants attendees shared_with iban",
    "amount": "amount amounts price total amount_minor payment",
    "currency": "currency currency_code",
    "command": "command cmd commands shell_command bash shell script",
    "table": "table tables table_name sql sql_query",
    "secret": "password passwd secret api_key private_key access_token",
}
_BY_NAME: Final = {name: kind for kind, names in _NAMES.items() for name in names.split()}
_BY_FORMAT: Final = {
    "uri": "host",
    "url": "host",
    "iri": "host",
    "hostname": "host",
    "idn-hostname": "host",
    "email": "recipient",
    "idn-email": "recipient",
    "password": "secret",
}


class _Property(msgspec.Struct, frozen=True):
    format: str = ""


class _Schema(msgspec.Struct, frozen=True):
    properties: dict[str, msgspec.Raw] = {}


@lru_cache(maxsize=SOURCES_CACHED_MAX)
def _formats(schema_json: str) -> Mapping[str, str]:
    """Returns which extractor the schema's `format` asks for; a broken schema asks for none."""
    try:
        schema = msgspec.json.decode(schema_json, type=_Schema)
    except msgspec.MsgspecError:
        return {}
    chosen: dict[str, str] = {}
    for name, raw in schema.properties.items():
        try:
            kind = _BY_FORMAT.get(msgspec.json.decode(raw, type=_Property).format, "")
        except msgspec.MsgspecError:
            continue
        if kind:
            chosen[name] = kind
    return chosen


@lru_cache(maxsize=SOURCES_CACHED_MAX)
def _by_name(argument: str) -> str:
    return _BY_NAME.get(argument.lower().replace("-", "_"), "text")


def extractor_of(tool: RegisterTool, argument: str) -> str:
    """Returns the name of the extractor that reads an argument of a tool."""
    return _registered(tool, argument) or _default(tool, argument)


def _registered(tool: RegisterTool, argument: str) -> str:
    return next((e.extractor for e in tool.extractors if e.argument == argument), "")


def _default(tool: RegisterTool, argument: str) -> str:
    return _formats(tool.schema_json).get(argument) or _by_name(argument)


def extract(tool: RegisterTool, parameters: Mapping[str, Json]) -> ExtractedFacts:
    """Returns the typed values of a call's parameters.

    Every text leaf is also searched for URLs (hosts) and for secrets that have no business in it.
    Raises `UndecodableError` where a registration names an extractor that does not exist, where a
    registered amount cannot be read as a number, and where there is too much to read in bounded
    time: the caller denies.
    """
    found = Found()
    leaves = typed_chars = folded_chars = 0
    for argument, value in parameters.items():
        registered = _registered(tool, argument)
        kind = registered or _default(tool, argument)
        read = EXTRACTORS.get(kind)
        if read is None:
            raise UndecodableError(f"no extractor is called `{kind}`")
        for leaf in _leaves(value):
            leaves += 1
            if leaves > LEAVES_MAX:
                raise UndecodableError("the parameters hold too many values")
            text = leaf if isinstance(leaf, str) else _written(leaf)
            typed_chars += 0 if kind in _UNREAD else len(text)
            if typed_chars > TYPED_CHARS_MAX:
                raise UndecodableError("the parameters hold too much text to read")
            if kind not in _UNREAD and not text.isascii():
                folded_chars += len(unicodedata.normalize("NFKC", text))
                if folded_chars > FOLDED_CHARS_MAX:
                    raise UndecodableError("the parameters hold too much text to read")
            if kind == "amount":
                is_number = not isinstance(leaf, str)
                found.amounts.append(money.Amount(text, is_number, bool(registered)))
            if text:
                read(text, found)
                # where a secret belongs, finding one says nothing
                _search(text, found, is_secret_expected=kind == "secret")
    return _facts(found)


def _facts(found: Found) -> ExtractedFacts:
    return ExtractedFacts(
        amount_minor=money.total_minor(found.amounts, found.currency),
        currency=found.currency or money.first_currency(found.amounts),
        paths=tuple(found.paths),
        hosts=tuple(found.hosts),
        recipients=tuple(found.recipients),
        recipient_domains=tuple(found.domains),
        commands=tuple(found.commands),
        tables=tuple(found.tables),
        has_secret=found.has_secret,
    )


def _search(text: str, found: Found, *, is_secret_expected: bool) -> None:
    if "://" in text:
        for host in normalise.hosts_in(text):
            found.hosts[host] = None
    if not (found.has_secret or is_secret_expected):
        found.has_secret = shell.holds_secret(text)


def _written(leaf: float) -> str:
    """Returns a number as it was sent."""
    return leaf.text if isinstance(leaf, JsonNumber) else repr(leaf)


def _leaves(value: Json) -> Iterator[str | int | float]:
    """Yields every text and number in a value; truth values and null carry nothing."""
    match value:
        case None | bool():
            return
        case str() | int() | float():
            yield value
        case dict():
            for item in value.values():
                yield from _leaves(item)
        case _:
            for item in value:
                yield from _leaves(item)
