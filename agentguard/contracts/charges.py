# SPDX-License-Identifier: Apache-2.0
"""What a decision can charge: names of counters and of the categories that state understands.

State depends on no control record, so everything that it must know about a decided call is written
in the decision's charges: how often, how much, and of what kind.
"""

from __future__ import annotations

from typing import Final

CALLS: Final = "calls"
SPEND: Final = "spend"
DENIALS: Final = "denials"

CALL_UNIT: Final = "call"

# the call's output may hold what must not leave
SENSITIVE: Final = "sensitive"
# the call's output comes from somebody who is not trusted
UNTRUSTED_OUTPUT: Final = "untrusted_output"
