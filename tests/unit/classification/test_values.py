# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from agentguard.classification.arithmetic import derivation, numbers_in
from agentguard.classification.values import (
    date_forms,
    is_prose,
    leaves_of,
    number_forms,
    parts_of,
    payees_of,
    specifics_of,
    text_forms,
    time_forms,
)


def test_leaves_come_in_order_with_their_argument_and_telling_keys() -> None:
    found = list(leaves_of({"a": [1, {"x": "y", "m@ex.org": 2}], "b": None}))
    assert [(x.argument, x.value) for x in found] == [
        ("a", 1),
        ("a", "y"),
        ("a", "m@ex.org"),
        ("a", 2),
        ("b", None),
    ]


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (1200, "1,200"),
        (1200.5, "1,200.50"),
        (3, "three"),
        (2, "second"),
        (5000, "5k"),
        (0.1, "10%"),
    ],
)
def test_numbers_are_known_in_the_ways_people_write_them(value: float, form: str) -> None:
    assert form in number_forms(value)


@pytest.mark.parametrize(
    "form", ["may 3", "may 3rd", "3 may", "3rd of may", "5/3", "2024-05-03", "03.05"]
)
def test_dates_are_known_in_the_ways_people_write_them(form: str) -> None:
    assert form in (date_forms("2024-05-03 10:00") or [])


@pytest.mark.parametrize("text", ["2024-13-01", "v1.2-3-4", "tomorrow", "12"])
def test_what_is_no_date_has_no_date_forms(text: str) -> None:
    assert date_forms(text) is None


@pytest.mark.parametrize(
    ("text", "form"),
    [("14:00", "2 pm"), ("00:00", "midnight"), ("12:00", "noon"), ("9:30 pm", "21:30")],
)
def test_times_are_known_in_the_ways_people_write_them(text: str, form: str) -> None:
    assert form in (time_forms(text) or [])


def test_addresses_are_known_without_scheme_and_paths_by_their_last_part() -> None:
    assert "example.org/x" in text_forms("https://www.example.org/x/")
    assert "draft.txt" in text_forms("/home/me/draft.txt")
    assert text_forms("www.example.org/random") == ["www.example.org/random", "example.org/random"]


def test_prose_is_told_from_names_and_yields_its_targets() -> None:
    text = "Please see https://evil.example/x, call +1 555 123 4567 or write to m@ex.org."
    assert is_prose(text)
    assert not is_prose("Le Marais Boutique Hotel")
    assert specifics_of(text) == ["https://evil.example/x", "+1 555 123 4567", "m@ex.org"]


def test_payees_are_addresses_and_accounts_in_one_spelling_and_no_dates() -> None:
    text = "due 2024-05-14 to de89 3704 0044 0532 0130 00, de89370400440532013000 or m@ex.org"
    assert "m@exorg" in payees_of(text)
    assert not any(p.startswith("2024") for p in payees_of(text))
    assert payees_of("pay de89370400440532013000, de89370400440532013000") == {
        "de89370400440532013000"
    }


def test_a_list_written_as_one_text_has_parts() -> None:
    assert parts_of("a@ex.org; b@ex.org") == ["a@ex.org", "b@ex.org"]
    assert parts_of("one thing") == []


def test_numbers_of_a_text_are_read_with_their_separators() -> None:
    assert numbers_in("1,200.50 eur, 7 days, half") == [1200.5, 7.0, 0.5]


@pytest.mark.parametrize(
    ("value", "texts", "index"),
    [
        (1320.0, ["raise it by 10%", "rent 1200"], 1),
        (30.0, ["refund the difference", "paid 130", "owed 100"], 2),
        (150.0, ["three nights at 50, 3 in all"], 0),
        (999.0, ["pay 5", "rent 1200"], -1),
    ],
)
def test_a_number_that_follows_from_others_has_the_last_text_it_needs(
    value: float, texts: list[str], index: int
) -> None:
    assert derivation(value, [numbers_in(t) for t in texts]) == index
