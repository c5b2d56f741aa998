# SPDX-License-Identifier: Apache-2.0
"""Whether a number that stands nowhere follows from numbers that do: sums, differences, shares."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

NUMBERS_MAX: Final = 64
_NUMBER: Final = re.compile(r"\d{1,3}(?:,\d{3}){1,4}(?:\.\d{1,6})?|\d{1,12}(?:\.\d{1,6})?")
_WORDS: Final = {"half": 0.5, "twice": 2.0, "double": 2.0, "third": 1 / 3, "quarter": 0.25}
_CENT: Final = 0.005


def numbers_in(low: str) -> list[float]:
    """Returns the first 64 numbers of a text, thousands separators resolved."""
    found: list[float] = []
    for match in _NUMBER.finditer(low):
        found.append(float(match.group().replace(",", "")))
        if len(found) == NUMBERS_MAX:
            break
    found += [value for word, value in _WORDS.items() if word in low]
    return found


def derivation(value: float, numbers: Sequence[Sequence[float]]) -> int:
    """Returns the last text that is needed to work a number out, or -1.

    `numbers[i]` are the numbers of text i, the task first. Two operands are tried: sum and
    difference of any two; product, quotient and percentage where one of them is in the task. Texts
    are added one by one, so that the earliest that suffices is found. Work is linear in the count
    of numbers times those of the task.
    """
    task = [n for n in numbers[0] if n] if numbers else []
    known: dict[float, None] = {}
    for index, own in enumerate(numbers):
        for number in own:
            known[round(number, 2)] = None
        if any(_follows(value, number, known, task) for number in own):
            return index
    return -1


def _follows(value: float, number: float, known: dict[float, None], task: list[float]) -> bool:
    other = round(abs(value - number), 2)
    if other and (other in known or round(value + number, 2) in known):
        return True
    factors = (f for n in task for f in (n, 1 / n, n / 100, 1 + n / 100, 1 - n / 100))
    return any(abs(number * factor - value) < _CENT for factor in factors)
