# SPDX-License-Identifier: Apache-2.0
"""The values of a call: its leaves, the ways each may be written, the targets inside prose."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from agentguard.classification.text import words_of
from agentguard.contracts.facts import Json
from agentguard.contracts.strict_json import JsonNumber

LEAVES_MAX: Final = 256
PARTS_MAX: Final = 32
VALUE_CHARS_MAX: Final = 65_536
PROSE_CHARS_MIN: Final = 60
PROSE_WORDS_MIN: Final = 9

_SMALL: Final = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
]
_ORDINAL: Final = [
    "zeroth",
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
]
_MONTHS: Final = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
RELATIVE_DATES: Final = frozenset(
    [
        "today",
        "tomorrow",
        "yesterday",
        "tonight",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
        "week",
        "weeks",
        "weekend",
        "month",
        "months",
        "year",
        "years",
        "day",
        "days",
        "next",
        "last",
        "hour",
        "hours",
        "morning",
        "afternoon",
        "evening",
        "noon",
        "midnight",
        "night",
        "minutes",
        "minute",
    ]
)
_DATE: Final = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[ t](\d{1,2}):(\d{2}))?")
_TIME: Final = re.compile(r"(\d{1,2}):(\d{2})(?::\d{2})?\s?(am|pm)?")
# what a text can point to: addresses, links, hosts, account and phone numbers
_SPECIFIC: Final = re.compile(
    r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"
    r"|(?:https?://|www\.)[^\s\"'<>()]{1,256}"
    r"|\b[\w-]{1,63}(?:\.[\w-]{1,63}){0,4}\.(?:com|net|org|io|co|info|biz|dev|app|ru|cn|xyz)\b(?:/[^\s\"'<>()]{0,200})?"
    r"|\b[A-Za-z]{2}\d{2}[A-Za-z0-9]{10,30}\b|\+?\d[\d -]{7,24}\d"
)


class Leaf(NamedTuple):
    """One value at the end of a path: its top-level argument and the value itself."""

    argument: str
    value: Json


def leaves_of(parameters: Mapping[str, Json]) -> Iterator[Leaf]:
    """Yields every leaf in order; a key of an inner object counts where it carries a target."""
    for argument, value in parameters.items():
        stack = [value]
        while stack:
            item = stack.pop()
            if isinstance(item, dict):
                for key in reversed(item):
                    stack.append(item[key])
                    if _SPECIFIC.fullmatch(key):
                        stack.append(key)
            elif isinstance(item, list):
                stack.extend(reversed(item))
            else:
                yield Leaf(argument, item)


def is_prose(text: str) -> bool:
    """Returns whether a text is written for readers rather than naming one thing.

    White space alone does not make it one, and one word never is: a long path names one thing.
    """
    words = text.split()
    is_long = len(words) > 1 and len(words) - 1 + sum(map(len, words)) >= PROSE_CHARS_MIN
    return is_long or len(words) >= PROSE_WORDS_MIN


def specifics_of(text: str) -> list[str]:
    """Returns the targets that prose points to, up to one too many, without closing punctuation."""
    found = dict.fromkeys(m.group().rstrip(".,;:!?)-/ ") for m in _SPECIFIC.finditer(text))
    return list(found)[: PARTS_MAX + 1]


def payees_of(text: str) -> frozenset[str]:
    """Returns the addresses and account or phone numbers of a text, each in one spelling."""
    found = (m.group() for m in _SPECIFIC.finditer(text) if _DATE.match(m.group()) is None)
    squeezed = ("".join(c for c in f if c.isalnum() or c == "@") for f in found)
    return frozenset(s for s in squeezed if "@" in s or sum(c.isdigit() for c in s) > 5)


def is_specific(text: str) -> bool:
    """Returns whether a whole text is one target."""
    return _SPECIFIC.fullmatch(text) is not None


def is_account(text: str) -> bool:
    """Returns whether a text is an account, card or phone number, which people write in groups."""
    return 8 <= len(text) <= 40 and text.isalnum() and sum(c.isdigit() for c in text) > 5


def points_somewhere(text: str) -> bool:
    """Returns whether a text may name a target: an address, path, number or identifier."""
    return sum(c.isdigit() for c in text) > 2 or any(c in text for c in "@/\\") or is_specific(text)


def number_forms(value: int | float) -> list[str]:
    """Returns the ways a number may be written in a text, the likeliest first."""
    text = value.text if isinstance(value, JsonNumber) else str(value)
    forms = [text]
    whole = float(value).is_integer() and abs(value) < 1e15
    if whole:
        n = int(value)
        forms += [str(n), f"{n:,}", f"{n}.00", f"{n:,}.00", f"{n}.0"]
        if 0 <= n <= 20:
            forms.append(_SMALL[n])
        if 1 <= n <= 10:
            forms += [_ORDINAL[n], f"{n}{_suffix(n)}"]
        if n >= 1000 and n % 1000 == 0:
            forms += [f"{n // 1000}k", f"{n // 1000} thousand"]
        if n >= 1_000_000 and n % 100_000 == 0:
            forms += [f"{n / 1e6:g} million", f"{n / 1e6:g}m"]
    elif abs(value) < 1e15:
        forms += [f"{value:,.2f}", f"{value:.2f}", f"{value:g}"]
        percent = float(value) * 100
        forms += [f"{percent:g}%", f"{percent:g} percent"]
    return list(dict.fromkeys(forms))


def _suffix(n: int) -> str:
    return {1: "st", 2: "nd", 3: "rd"}.get(n, "th")


def date_forms(low: str) -> list[str] | None:
    """Returns the ways an ISO date may be written, or None where the text is no date."""
    match = _DATE.fullmatch(low[:16]) if len(low) >= 8 else None
    if match is None:
        return None
    year, month, day = int(match[1]), int(match[2]), int(match[3])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    name = _MONTHS[month - 1]
    forms = [f"{year:04}-{month:02}-{day:02}"]
    for m in (name, name[:3]):
        forms += [
            f"{m} {day}",
            f"{m} {day}{_ending(day)}",
            f"{day} {m}",
            f"{day}{_ending(day)} {m}",
        ]
        forms += [f"{day}{_ending(day)} of {m}", f"{m} {day:02}", f"{day:02} {m}"]
    forms += [f"{month}/{day}", f"{month:02}/{day:02}", f"{day}/{month}", f"{day:02}/{month:02}"]
    forms += [f"{day:02}.{month:02}", f"{day}.{month}", f"{day:02}-{month:02}-{year}"]
    forms += [f"{month:02}-{day:02}-{year}", f"{year}/{month:02}/{day:02}"]
    return forms


def _ending(day: int) -> str:
    return "th" if 10 <= day % 100 <= 20 else _suffix(day % 10)


def time_forms(low: str) -> list[str] | None:
    """Returns the ways a time of day may be written, or None where the text is no time."""
    match = _TIME.fullmatch(low)
    if match is None:
        return None
    hour, minute, half = int(match[1]), match[2], match[3]
    forms = [f"{match[1]}:{minute}", f"{hour:02}:{minute}", f"{hour}:{minute}"]
    of_day = hour + 12 if half == "pm" and hour < 12 else hour
    twelve, mark = (of_day - 1) % 12 + 1, "pm" if of_day >= 12 else "am"
    forms += [f"{twelve}:{minute} {mark}", f"{twelve}:{minute}{mark}", f"{of_day:02}:{minute}"]
    if minute == "00":
        forms += [f"{twelve} {mark}", f"{twelve}{mark}", f"{twelve} o'clock", f"{of_day}h"]
        if of_day in (0, 12):
            forms.append("noon" if of_day == 12 else "midnight")
    return forms


def text_forms(low: str) -> list[str]:
    """Returns the ways a folded text value may be written, itself first."""
    forms = [low]
    core = low
    for lead in ("https://", "http://", "www."):
        core = core.removeprefix(lead)
    core = core.rstrip("/")
    if core and core != low:
        forms.append(core)
    if "/" in low and " " not in low and "." not in low.partition("/")[0].strip("."):
        tail = low.rstrip("/").rpartition("/")[2]
        if len(tail) > 2:
            forms.append(tail)
    if "_" in low or "-" in low:
        spaced = " ".join(words_of(low))
        if spaced and not any(c.isdigit() for c in low):
            forms.append(spaced)
    if low[:1] in "#@$":
        forms.append(low[1:])
    return [f for f in forms if f]


def parts_of(low: str) -> list[str]:
    """Returns the parts of a list that was written as one text, or nothing."""
    for separator in (";", "\n", ","):
        if separator in low:
            parts = [p.strip(" '\"[]()") for p in low.split(separator)]
            parts = [p for p in parts if p]
            return parts[: PARTS_MAX + 1] if len(parts) > 1 else []
    return []


_CREDENTIALS: Final = frozenset(
    [
        "token",
        "access_token",
        "accesstoken",
        "auth_token",
        "authtoken",
        "session",
        "session_id",
        "sessionid",
        "api_key",
        "apikey",
        "access_key",
        "appid",
        "app_id",
        "credentials",
    ]
)


def names_credential(argument: str) -> bool:
    """Returns whether an argument only proves who calls and aims at nothing."""
    return argument.lower() in _CREDENTIALS
