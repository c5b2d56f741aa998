# SPDX-License-Identifier: Apache-2.0
"""Notes which answers reached their callers, in batches per partition and tenant."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from agentguard.bounds import DELIVERIES_BATCH_MS, DELIVERIES_PER_RECORD_MAX
from agentguard.contracts.ports import Clock
from agentguard.contracts.records import Deliveries, Delivery, Verdict
from agentguard.gateway.door import APPEND_ERRORS, Door
from agentguard.gateway.waiting import Wait


class DeliveryBook:
    """Collects deliveries and appends each batch within 250 ms.

    A batch that the log does not take is lost, its numbers are not: a delivery only bars a later
    `not_delivered`, which this gateway never writes for an answer that it has sent.
    """

    def __init__(self, door: Door, clock: Clock) -> None:
        self._door = door
        self._clock = clock
        self._open: dict[tuple[int, str], list[Delivery]] = {}
        self._oldest_ms = 0.0

    def add(self, wait: Wait, action: Verdict) -> None:
        """Notes that an answer reached its caller's socket."""
        if wait.effective is None:
            return
        if not self._open:
            self._oldest_ms = self._clock.monotonic_ms()
        place = (wait.partition, wait.request.tenant)
        items = self._open.setdefault(place, [])
        items.append(
            Delivery(
                request_offset=wait.offset,
                decision_offset=wait.effective.offset,
                action=action,
            )
        )
        if len(items) >= DELIVERIES_PER_RECORD_MAX:
            self._append({place: self._open.pop(place)})

    def tick(self) -> None:
        """Appends the batches once the oldest delivery in them is due."""
        waited = self._clock.monotonic_ms() - self._oldest_ms
        if self._open and waited >= DELIVERIES_BATCH_MS:
            self.flush()

    def flush(self) -> None:
        """Appends what was collected."""
        collected, self._open = self._open, {}
        self._append(collected)

    def _append(self, batches: Mapping[tuple[int, str], list[Delivery]]) -> None:
        for (partition, tenant), items in batches.items():
            record = Deliveries(**self._door.stamp(), tenant=tenant, items=tuple(items))
            with contextlib.suppress(*APPEND_ERRORS):
                self._door.append(record, key=None, partition=partition)
