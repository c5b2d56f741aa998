# SPDX-License-Identifier: Apache-2.0
"""What a name on the log may look like: tenants, agents, tools, persons, key ids."""

from __future__ import annotations

from agentguard.bounds import NAME_CHARS_MAX


def name_fault(name: str) -> str:
    """Returns what is wrong with a name, or an empty text.

    A name is 1 to `NAME_CHARS_MAX` printable characters without `|` (record keys and scopes are
    joined by it) and without space at either end (two names must not look alike).
    """
    if not name:
        return "is empty"
    if len(name) > NAME_CHARS_MAX:
        return f"has more than {NAME_CHARS_MAX} characters"
    if not name.isprintable():
        return "holds a character that cannot be printed"
    if "|" in name:
        return "holds `|`"
    if name != name.strip():
        return "begins or ends with a space"
    return ""
