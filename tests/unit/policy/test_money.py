# SPDX-License-Identifier: Apache-2.0
"""Amounts: exact, in minor units, the worse of two readings."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.contracts.errors import UndecodableError
from agentguard.policy.money import (
    AMOUNT_MINOR_MAX,
    Amount,
    currency_of,
    first_currency,
    total_minor,
)


@pytest.mark.parametrize(
    ("text", "minor"),
    [
        ("12.50", 1_250),
        ("12.5 EUR", 1_250),
        ("\u20ac1,234.56", 123_456),
        ("1.234,56 \u20ac", 123_456),
        ("1,234", 123_400),
        ("1.234", 123_400),
        ("0.123", 13),
        ("1,23", 123),
        ("1.234.567", 123_456_700),
        ("1 234,5", 123_450),
        ("1_000", 100_000),
        ("1e3", 100_000),
        ("-5", 500),
        ("(5)", 500),
        ("0", 0),
        (".5", 50),
        ("0.001", 1),
        ("1e-300", 1),
        ("100 JPY", 100),
        ("5 BHD", 5_000),
        ("1e999", AMOUNT_MINOR_MAX + 1),
        ("\uff11\uff10", 1_000),
    ],
)
def test_text_is_read_as_minor_units(text: str, minor: int) -> None:
    assert total_minor([Amount(text)], "") == minor


def test_number_is_read_exactly_as_it_was_written() -> None:
    assert total_minor([Amount("1.234", is_number=True)], "") == 124
    assert total_minor([Amount("-0.10", is_number=True)], "") == 10
    assert total_minor([Amount("1e-400", is_number=True)], "") == 1


@pytest.mark.parametrize(
    "text", ["abc", "", "12 USD 13", "1.2,3.4,5.6", "1" * 65, "1e99999", "\u0663"]
)
def test_registered_amount_that_is_no_number_is_refused_and_a_guessed_one_ignored(
    text: str,
) -> None:
    with pytest.raises(UndecodableError):
        total_minor([Amount(text)], "")
    assert total_minor([Amount(text, is_registered=False)], "") == 0


def test_amounts_add_up_without_sign_and_end_above_the_bound() -> None:
    assert total_minor([Amount("5"), Amount("-7")], "") == 1_200
    huge = Amount("90071992547409.92")
    assert total_minor([huge], "") == AMOUNT_MINOR_MAX + 1
    assert total_minor([huge, huge], "") == AMOUNT_MINOR_MAX + 1


def test_currency_argument_gives_the_minor_digits_unless_the_amount_names_one() -> None:
    assert total_minor([Amount("5")], "JPY") == 5
    assert total_minor([Amount("5 EUR")], "JPY") == 500


def test_currency_is_read_from_code_or_sign() -> None:
    assert currency_of("usd") == "USD"
    assert currency_of("\u00a35") == "GBP"
    assert currency_of("price") == ""
    assert first_currency([Amount("5"), Amount("5 CHF"), Amount("5 EUR")]) == "CHF"
    assert first_currency([]) == ""


@given(st.decimals(min_value=0, max_value=10**9, places=2))
def test_plain_amount_is_never_read_as_less(value: Decimal) -> None:
    assert total_minor([Amount(str(value))], "EUR") == int(value * 100)
