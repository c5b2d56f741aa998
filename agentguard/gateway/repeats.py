# SPDX-License-Identifier: Apache-2.0
"""Remembers the requests of the last while: for repeats under an idempotency key, and to look up."""

from __future__ import annotations

import hmac
from collections import OrderedDict

from agentguard.bounds import RECENT_DECISION_MS_MAX, RECENT_DECISIONS_MAX
from agentguard.contracts.codes import Code
from agentguard.contracts.ports import Clock
from agentguard.gateway.callers import Caller
from agentguard.gateway.compose import Tags
from agentguard.gateway.refusals import RefusedError
from agentguard.gateway.waiting import Wait


class Repeats:
    """Recent requests by id and by idempotency tag; the oldest are forgotten first.

    Forgetting a tag early is safe: the repeat is decided anew on the log, which knows the first.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_id: OrderedDict[bytes, Wait] = OrderedDict()
        self._by_tag: OrderedDict[bytes, Wait] = OrderedDict()

    def add(self, wait: Wait) -> None:
        """Remembers a request from its append on."""
        self._by_id[wait.request.request_id] = wait
        if len(self._by_id) > RECENT_DECISIONS_MAX:
            self._by_id.popitem(last=False)
        tag = wait.request.idempotency_tag
        if tag is not None:
            self._by_tag[tag] = wait
            self._by_tag.move_to_end(tag)
            if len(self._by_tag) > RECENT_DECISIONS_MAX:
                self._by_tag.popitem(last=False)

    def drop(self, wait: Wait) -> None:
        """Forgets a request that never reached the log's client."""
        self._by_id.pop(wait.request.request_id, None)
        tag = wait.request.idempotency_tag
        if tag is not None and self._by_tag.get(tag) is wait:
            del self._by_tag[tag]

    def first(self, tags: Tags | None) -> Wait | None:
        """Returns the request that a repeat joins, None where it is to be decided anew.

        It joins only while this gateway holds the first one's secret, until its deadline. Raises
        `RefusedError` (idempotency_conflict) where the first one had another body.
        """
        if tags is None:
            return None
        wait = self._by_tag.get(tags.idempotency)
        if wait is None or self._clock.monotonic_ms() >= wait.deadline_ms:
            return None
        if not hmac.compare_digest(wait.request.body_tag or b"", tags.body):
            raise RefusedError(Code.IDEMPOTENCY_CONFLICT)
        return wait

    def find(self, caller: Caller, request_id: bytes) -> Wait | None:
        """Returns a recent request of this caller; another agent's is not there for it."""
        wait = self._by_id.get(request_id)
        if wait is None:
            return None
        request = wait.request
        is_own = request.tenant == caller.tenant and request.agent_id == caller.agent_id
        return wait if is_own else None

    def tick(self) -> None:
        """Forgets what is over for long enough."""
        now = self._clock.monotonic_ms()
        while self._by_id:
            request_id, oldest = next(iter(self._by_id.items()))
            if now < oldest.deadline_ms + RECENT_DECISION_MS_MAX:
                break
            del self._by_id[request_id]
        while self._by_tag:
            tag, oldest = next(iter(self._by_tag.items()))
            if now < oldest.deadline_ms:
                break
            del self._by_tag[tag]
