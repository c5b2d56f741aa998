# SPDX-License-Identifier: Apache-2.0
"""The real clock and the real randomness."""

from __future__ import annotations

import secrets
import time


class SystemClock:
    """`Clock` of this machine."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> float:
        """Milliseconds of a clock that never goes back."""
        return time.monotonic() * 1_000


class SystemEntropy:
    """`Entropy` of the operating system."""

    def token(self, size: int) -> bytes:
        """Returns that many unpredictable bytes."""
        return secrets.token_bytes(size)
