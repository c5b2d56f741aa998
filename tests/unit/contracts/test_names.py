"""Names on the log."""

from __future__ import annotations

import pytest

from agentguard.bounds import NAME_CHARS_MAX
from agentguard.contracts.names import name_fault


@pytest.mark.parametrize("name", ["a", "send_mail", "a b", "ünïcode", "日本", "a/b:c.d", "😀"])
def test_visible_name_is_accepted(name: str) -> None:
    assert name_fault(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        "", " a", "a ", "a|b", "a\n", "a\tb", "\u202ea", "a\u200bb", "\ufeffa", "a\u00a0b", "\ud800",
        "a\u2028b", "\u3164", "\U000e0041", "x" * (NAME_CHARS_MAX + 1),
    ],
)  # fmt: skip
def test_hidden_empty_or_ambiguous_name_is_refused(name: str) -> None:
    assert name_fault(name) != ""


def test_longest_name_is_accepted() -> None:
    assert name_fault("x" * NAME_CHARS_MAX) == ""
