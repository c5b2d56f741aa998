# SPDX-License-Identifier: Apache-2.0
"""Counters over the recent past, in buckets, so that memory does not grow with traffic."""

from __future__ import annotations

from typing import Final

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000


class Window:
    """Amounts of the last `span_ms`, in buckets of `bucket_ms`.

    A bucket counts as long as any part of it lies inside the window: never less than the truth.
    What it holds depends on the set of additions only, not on their order.
    """

    __slots__ = ("_buckets", "_last", "bucket_ms", "span_ms")

    def __init__(self, span_ms: int, bucket_ms: int) -> None:
        self.span_ms = span_ms
        self.bucket_ms = bucket_ms
        self._buckets: dict[int, int] = {}
        self._last = 0

    def advance(self, at_ms: int) -> None:
        """Forgets what lies outside a window that ends at the latest time seen."""
        bucket = at_ms // self.bucket_ms
        if bucket <= self._last:
            return
        self._last = bucket
        oldest = (at_ms - self.span_ms) // self.bucket_ms
        buckets = self._buckets
        if buckets and next(iter(buckets)) < oldest:
            self._buckets = {b: n for b, n in buckets.items() if b >= oldest}

    def add(self, at_ms: int, amount: int) -> None:
        """Adds an amount at a time; a negative one takes an earlier addition back."""
        bucket = at_ms // self.bucket_ms
        if bucket < self._last - self.span_ms // self.bucket_ms:
            return
        total = self._buckets.get(bucket, 0) + amount
        if total == 0:
            self._buckets.pop(bucket, None)
            return
        is_new = bucket not in self._buckets
        self._buckets[bucket] = total
        if is_new and bucket < self._last:
            self._buckets = dict(sorted(self._buckets.items()))

    def total(self, now_ms: int) -> int:
        """Returns the sum over the window that ends now."""
        oldest = (now_ms - self.span_ms) // self.bucket_ms
        return sum(n for b, n in self._buckets.items() if b >= oldest)

    def snapshot(self) -> tuple[tuple[int, int], ...]:
        """Returns the buckets in order of time."""
        return tuple(self._buckets.items())


class Repeats:
    """How often the same call ran in the last `span_ms`, by the tag of its body.

    At most `keys_max` (time, tag) pairs are kept, the latest ones. A pair stays at zero after its
    call was taken back, so that which ones are kept does not depend on when that was read.
    """

    __slots__ = ("_counts", "_oldest", "keys_max", "span_ms")

    def __init__(self, span_ms: int, keys_max: int) -> None:
        self.span_ms = span_ms
        self.keys_max = keys_max
        self._counts: dict[tuple[int, bytes], int] = {}
        self._oldest = 0

    def advance(self, at_ms: int) -> None:
        """Forgets what lies outside a window that ends at the latest time seen."""
        oldest = (at_ms - self.span_ms) // MINUTE_MS
        if oldest > self._oldest:
            self._oldest = oldest
            if self._counts:
                self._counts = {k: n for k, n in self._counts.items() if k[0] >= oldest}

    def add(self, at_ms: int, tag: bytes, amount: int) -> None:
        """Counts a call (1), takes one back (-1), or notes one that came to nothing (0)."""
        key = (at_ms // MINUTE_MS, tag)
        if key[0] < self._oldest:
            return
        self._counts[key] = self._counts.get(key, 0) + amount
        if len(self._counts) > self.keys_max:
            del self._counts[min(self._counts)]

    def total(self, now_ms: int, tag: bytes) -> int:
        """Returns how often calls of this tag ran in the window that ends now."""
        oldest = (now_ms - self.span_ms) // MINUTE_MS
        return sum(n for (at, t), n in self._counts.items() if t == tag and at >= oldest)

    def snapshot(self) -> list[tuple[tuple[int, bytes], int]]:
        """Returns the counts in order of time and tag."""
        return sorted(self._counts.items())
