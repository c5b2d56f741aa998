# SPDX-License-Identifier: Apache-2.0
"""Amounts as minor units of a currency, by decimal arithmetic only."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import ROUND_CEILING, Context, Decimal, InvalidOperation
from typing import Final

from agentguard.contracts.errors import UndecodableError
from agentguard.policy.normalise import fold_text

AMOUNT_MINOR_MAX: Final = 2**53 - 1
AMOUNT_CHARS_MAX: Final = 64
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
_SCALE: Final = Context(prec=AMOUNT_CHARS_MAX * 2)


def currency_of(text: str) -> str:
    """Returns the currency that a text names (`EUR`, `€`), or an empty text."""
    for symbol, code in _SYMBOLS.items():
        if symbol in text:
            return code
    found = _CODE.search(text)
    return found.group().upper() if found else ""


def first_currency(amounts: Iterable[str]) -> str:
    """Returns the currency that the first amount which names one names."""
    return next((c for c in map(currency_of, amounts) if c), "")


def total_minor(amounts: Iterable[str], currency: str) -> int:
    """Returns the sum of absolute amounts in minor units, what is below one rounded up.

    An amount that names no currency is taken in `currency`. What is too large counts as one more
    than `AMOUNT_MINOR_MAX`, which no policy input holds. Raises `UndecodableError` for a text
    that is no number.
    """
    total = 0
    for text in amounts:
        digits = MINOR_DIGITS.get(currency_of(text) or currency, MINOR_DIGITS_DEFAULT)
        total += _minor(text, digits)
    return min(total, AMOUNT_MINOR_MAX + 1)


def _minor(text: str, digits: int) -> int:
    number = abs(_decimal(text))
    if not number:
        return 0
    if number.adjusted() > 20:
        return AMOUNT_MINOR_MAX + 1
    # an exponent far below zero still costs one minor unit: rounding up never undercounts
    if number.adjusted() < -20:
        return 1
    return int(number.scaleb(digits, _SCALE).to_integral_value(ROUND_CEILING))


def _decimal(text: str) -> Decimal:
    folded = fold_text(text)
    found = _NUMBER.search(folded) if len(folded) <= AMOUNT_CHARS_MAX else None
    if found is None or len(_NUMBER.findall(folded)) > 1:
        raise UndecodableError("an amount is no number")
    try:
        return Decimal(_plain(found.group().strip()))
    except InvalidOperation as error:
        raise UndecodableError("an amount is no number") from error


def _plain(number: str) -> str:
    """Returns the digits with one decimal point; of two readings the larger one.

    `1,234` is 1234 here: a thousands separator is possible, and policy must see the worse case.
    """
    bare = re.sub(r"[_'\u00a0 ]", "", number)
    if "," not in bare:
        return bare.replace(".", "", bare.count(".") - 1) if bare.count(".") > 1 else bare
    comma, point = bare.rfind(","), bare.rfind(".")
    if point > comma:
        return bare.replace(",", "")
    if point >= 0:
        return bare.replace(".", "").replace(",", ".")
    is_grouped = bare.count(",") > 1 or len(bare) - comma - 1 == 3
    return bare.replace(",", "") if is_grouped else bare.replace(",", ".")
