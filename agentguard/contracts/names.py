# SPDX-License-Identifier: Apache-2.0
"""What a name on the log may look like: tenants, agents, tools, persons, key ids."""

from __future__ import annotations

import re

from agentguard.bounds import NAME_CHARS_MAX

# INVARIANT: written out, never `str.isprintable`: that follows the interpreter's Unicode version,
# and a fold that judges names must judge alike on every interpreter, for ever. Controls, soft
# hyphen, every space but U+0020, zero-width, bidirectional and other format characters, the
# replacement and annotation block, tags.
_HIDDEN = re.compile(
    "[\u0000-\u001f\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f"
    "\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164\ud800-\uf8ff\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U0010ffff]"
)


def name_fault(name: str) -> str:
    """Returns what is wrong with a name, or an empty text.

    A name is 1 to `NAME_CHARS_MAX` visible characters without `|` (record keys and scopes are
    joined by it) and without space at either end (two names must not look alike).
    """
    if not name:
        return "is empty"
    if len(name) > NAME_CHARS_MAX:
        return f"has more than {NAME_CHARS_MAX} characters"
    if _HIDDEN.search(name):
        return "holds a character that cannot be seen"
    if "|" in name:
        return "holds `|`"
    if name[0] == " " or name[-1] == " ":
        return "begins or ends with a space"
    return ""
