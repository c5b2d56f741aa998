# SPDX-License-Identifier: Apache-2.0
"""Amounts as minor units of a currency, by decimal arithmetic only."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import ROUND_CEILING, Context, Decimal, InvalidOperation
from typing import Final, NamedTuple

from agentguard.contracts.errors import UndecodableError
from agentguard.policy.normalise import fold_text

AMOUNT_MINOR_MAX: Final = 2**53 - 1
AMOUNT_CHARS_MAX: Final = 64
EXPONENT_MAX: Final = 20
MINOR_DIGITS_DEFAULT: Final = 2
# ISO 4217: currencies without two minor digits
MINOR_DIGITS: Final = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}
_SYMBOLS: Final = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR", "₩": "KRW"}
_CODE: Final = re.compile(r"(?<![A-Za-z])[A-Za-z]{3}(?![A-Za-z])")
_NUMBER: Final = re.compile(r"[0-9][0-9.,_'\u00a0 ]*(?:[eE][+-]?[0-9]{1,4})?|[.,][0-9]+")
_GAPS: Final = re.compile(r"[_'\u00a0 ]")
_EXACT: Final = Context(prec=AMOUNT_CHARS_MAX * 2)


class Amount(NamedTuple):
    """One amount as it was sent.

    `is_number` is a JSON number: its point is a point. `is_registered` says that the registration
    calls it an amount; then a text that is none is an error, else it counts for nothing.
    """

    text: str
    is_number: bool = False
    is_registered: bool = True


def currency_of(text: str) -> str:
    """Returns the currency that a text names (`EUR`, `€`), or an empty text."""
    for symbol, code in _SYMBOLS.items():
        if symbol in text:
            return code
    found = _CODE.search(text)
    return found.group().upper() if found else ""


def first_currency(amounts: Iterable[Amount]) -> str:
    """Returns the currency that the first amount which names one names."""
    return next((c for c in (currency_of(a.text) for a in amounts) if c), "")


def total_minor(amounts: Iterable[Amount], currency: str) -> int:
    """Returns the sum of absolute amounts in minor units, what is below one rounded up.

    An amount that names no currency is taken in `currency`. What is too large counts as one more
    than `AMOUNT_MINOR_MAX`, which no policy input holds. Raises `UndecodableError` for a
    registered amount that is no number.
    """
    total = 0
    for amount in amounts:
        digits = MINOR_DIGITS.get(currency_of(amount.text) or currency, MINOR_DIGITS_DEFAULT)
        number = _decimal(amount)
        if number is not None:
            total += _minor(abs(number), digits)
        elif amount.is_registered:
            raise UndecodableError("an amount is no number")
    return min(total, AMOUNT_MINOR_MAX + 1)


def _minor(number: Decimal, digits: int) -> int:
    if not number:
        return 0
    if number.adjusted() > EXPONENT_MAX:
        return AMOUNT_MINOR_MAX + 1
    # however small it still costs one minor unit: rounding up never undercounts
    if number.adjusted() < -EXPONENT_MAX:
        return 1
    return int(number.scaleb(digits, _EXACT).to_integral_value(ROUND_CEILING))


def _decimal(amount: Amount) -> Decimal | None:
    text = fold_text(amount.text)
    if not amount.is_number:
        found = _NUMBER.findall(text) if len(text) <= AMOUNT_CHARS_MAX else []
        if len(found) != 1:
            return None
        text = _plain(found[0])
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _plain(number: str) -> str:
    """Returns the digits with one decimal point; of two readings the larger one.

    `1,234` and `1.234` are 1234 here: a thousands separator is possible, and policy must see the
    worse case. `0.123` cannot be grouped.
    """
    whole, mark, exponent = _GAPS.sub("", number).lower().partition("e")
    marks = [c for c in whole if c in ".,"]
    if len(set(marks)) == 2:
        whole = whole.replace("," if marks[-1] == "." else ".", "").replace(",", ".")
    elif marks:
        head, _, tail = whole.rpartition(marks[0])
        is_grouped = len(marks) > 1 or (len(tail) == 3 and head.lstrip("0") != "")
        whole = whole.replace(marks[0], "") if is_grouped else f"{head}.{tail}"
    return whole + mark + exponent
