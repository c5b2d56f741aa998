# SPDX-License-Identifier: Apache-2.0
"""Normal forms of hostile text, so that one value has one spelling when policy reads it."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote

from agentguard.contracts.errors import UndecodableError

DECODE_ROUNDS_MAX: Final = 4
PARTS_MAX: Final = 1_024
HOST_CHARS_MAX: Final = 1_024

AddressClass: TypeAlias = Literal[
    "none", "name", "public", "private", "loopback", "link_local", "metadata"
]
# where credentials of a cloud machine can be read: AWS, Azure, GCP, Oracle; AWS over IPv6; Alibaba
METADATA_ADDRESSES: Final = frozenset({"169.254.169.254", "fd00:ec2::254", "100.100.100.200"})
METADATA_NAMES: Final = frozenset({"metadata.google.internal", "metadata"})
_CLASSES: Final[tuple[AddressClass, ...]] = (
    "none",
    "public",
    "name",
    "private",
    "loopback",
    "link_local",
    "metadata",
)
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,20}:[/\\]{2,}[^\s\"'<>)\]}]{1,2048}")
# a web scheme works without slashes in a browser, any other needs one
_SCHEME: Final = re.compile(r"(?i:https?|wss?|ftp):|[A-Za-z][A-Za-z0-9+.-]{0,20}:(?=[/\\])")
_ANGLED: Final = re.compile(r"<([^<>]*)>")
_SEPARATORS: Final = re.compile(r"[,;\n\r]")
# dots that resolvers accept beside the ASCII one (UTS 46, section 2.3)
_DOTS: Final = str.maketrans({"\u3002": ".", "\uff0e": ".", "\uff61": "."})


def distinct(parts: Iterable[str]) -> tuple[str, ...]:
    """Returns each part once, in order. Raises `UndecodableError` for more than `PARTS_MAX`.

    What repeats costs nothing, and what does not is bounded.
    """
    once = tuple(dict.fromkeys(parts))
    if len(once) > PARTS_MAX:
        raise UndecodableError("a text holds too many parts to read")
    return once


def fold_text(text: str) -> str:
    """Returns NFKC text without control, format and surrogate characters, ends trimmed.

    Full-width forms become ASCII; zero-width and bidirectional marks disappear.
    """
    if text.isascii() and text.isprintable():
        return text.strip()
    composed = unicodedata.normalize("NFKC", text)
    # by distinct characters: hostile text is long, its alphabet is not
    hidden = {ord(c): None for c in set(composed) if unicodedata.category(c)[0] == "C"}
    return composed.translate(hidden).strip()


def decode_percent(text: str) -> str:
    """Returns text with percent-escapes resolved, also escaped escapes, at most four rounds."""
    for _ in range(DECODE_ROUNDS_MAX):
        if "%" not in text:
            break
        decoded = unquote(text, errors="replace")
        if decoded == text:
            break
        text = decoded
    return text


def normal_path(text: str) -> str:
    """Returns one spelling of a path: decoded, `/` only, no `.`, no `//`, `..` resolved.

    `..` above the root of an absolute path is dropped as a kernel does; in a relative path it
    stays in front. Case is kept: file systems differ.
    """
    folded = fold_text(decode_percent(text)).replace("\\", "/")
    if folded[:7].lower() == "file://":
        folded = "/" + folded[7:].split("/", 1)[-1] if "/" in folded[7:] else "/"
    absolute = folded.startswith("/")
    parts: list[str] = []
    for part in folded.split("/"):
        if part in ("", "."):
            continue
        if part != "..":
            parts.append(part)
        elif parts and parts[-1] != "..":
            parts.pop()
        elif not absolute:
            parts.append(part)
    return ("/" if absolute else "") + "/".join(parts) or ("." if folded else "")


def normal_host(text: str) -> str:
    """Returns one spelling of a host: IDNA A-labels in lower case, addresses in plain form.

    Takes a bare host, with or without port and brackets. Returns an empty text for an empty one;
    what IDNA refuses stays as folded text, so that policy sees something it will not list.
    """
    host = fold_text(decode_percent(text)).translate(_DOTS).lower().strip("[]").rstrip(".")
    if not host:
        return ""
    address = _address(host)
    if address is not None:
        return str(address)
    if host.isascii() or len(host) > HOST_CHARS_MAX:
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if ":" in host:
        try:
            six = ipaddress.IPv6Address(host)
        except ValueError:
            return None
        return six.ipv4_mapped or six
    return _loose_ipv4(host) if host[0].isdigit() else None


def _loose_ipv4(host: str) -> ipaddress.IPv4Address | None:
    """Returns the address that `inet_aton` would read: 1 to 4 parts, decimal, octal or hex."""
    parts = host.split(".")
    if len(parts) > 4:
        return None
    numbers: list[int] = []
    for part in parts:
        number = _loose_number(part)
        if number is None:
            return None
        numbers.append(number)
    *head, last = numbers
    if any(n > 255 for n in head) or last >= 256 ** (5 - len(numbers)):
        return None
    value = last
    for i, n in enumerate(head):
        value |= n << (24 - 8 * i)
    return ipaddress.IPv4Address(value)


def _loose_number(part: str) -> int | None:
    base, digits = 10, part
    if part[:2] == "0x":
        base, digits = 16, part[2:] or "0"
    elif len(part) > 1 and part[0] == "0":
        base, digits = 8, part[1:]
    if not digits.isascii() or not digits.isalnum() or len(digits) > 16:
        return None
    try:
        return int(digits, base)
    except ValueError:
        return None


def address_class(hosts: Iterable[str]) -> AddressClass:
    """Returns the most dangerous class among normalised hosts; `none` where there are none."""
    worst = 0
    for host in hosts:
        worst = max(worst, _CLASSES.index(_class_of(host)))
    return _CLASSES[worst]


def _class_of(host: str) -> AddressClass:
    if host in METADATA_ADDRESSES or host in METADATA_NAMES:
        return "metadata"
    if host == "localhost" or host.endswith(".localhost"):
        return "loopback"
    if not (host[:1].isdigit() or ":" in host):
        return "name"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "name"
    if address.is_loopback or address.is_unspecified:
        return "loopback"
    if address.is_link_local:
        return "link_local"
    return "public" if address.is_global else "private"


def hosts_of(text: str) -> tuple[str, ...]:
    """Returns the hosts that a URL or a `host:port` may go to, sorted.

    Where readers disagree (escapes, a backslash or a second `@` in the authority) all readings
    are named: policy must not depend on which library the tool uses.
    """
    readings: set[str] = set()
    folded = fold_text(text)
    for spelled in {folded, fold_text(decode_percent(text))}:
        rest = _SCHEME.sub("", spelled, count=1).lstrip("/\\")
        for authority in {_until(rest, "/?#"), _until(rest, "/?#\\")}:
            parts = authority.split("@")
            readings.update(normal_host(_without_port(p)) for p in {parts[-1], *parts[1:2]})
    readings.discard("")
    return tuple(sorted(readings))


def _until(text: str, ends: str) -> str:
    for end in ends:
        text = text.split(end, 1)[0]
    return text


def _without_port(authority: str) -> str:
    if authority.startswith("["):
        return authority[1:].split("]", 1)[0]
    return authority if authority.count(":") > 1 else authority.split(":", 1)[0]


def hosts_in(text: str) -> tuple[str, ...]:
    """Returns the hosts of every URL inside a text, in order."""
    found: dict[str, None] = {}
    for url in distinct(_URL.findall(text)):
        for host in hosts_of(url):
            found[host] = None
    return tuple(found)


def recipients_of(text: str) -> tuple[tuple[str, str], ...]:
    """Returns (recipient, domain) for each addressee in a text; no domain where it is no address.

    Display names and `mailto:` fall away, lists are split, case is folded. An address inside a
    display name counts too: which of the two is used depends on the reader.
    """
    folded = fold_text(decode_percent(_SEPARATORS.sub(",", text)))
    found: dict[tuple[str, str], None] = {}
    for part in distinct((*_ANGLED.findall(folded), *_ANGLED.sub("<>", folded).split(","))):
        words = distinct(part.replace("<>", " ").split())
        addresses = [word for word in words if "@" in word]
        for address in addresses:
            found[_address_of(address)] = None
        name = " ".join(part.casefold().split())
        if name and not addresses and "<>" not in part:
            found[(name, "")] = None
    return tuple(found)


def _address_of(word: str) -> tuple[str, str]:
    bare = word[7:].split("?", 1)[0] if word[:7].lower() == "mailto:" else word
    local, _, domain = bare.strip("\"'()").rpartition("@")
    host = normal_host(domain)
    return f"{local.casefold()}@{host}", host
