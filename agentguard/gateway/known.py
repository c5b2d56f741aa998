# SPDX-License-Identifier: Apache-2.0
"""Which outputs this gateway has put on the log already, so that repeated history costs nothing."""

from __future__ import annotations

from collections import OrderedDict

from agentguard.bounds import OUTCOMES_KNOWN_MAX, OUTCOMES_KNOWN_PER_AGENT_MAX


class KnownOutcomes:
    """Ids of outcomes per agent, the longest unused forgotten first; bounded in all and per agent.

    Forgetting is harmless: the output is recorded once more, under the same id.
    """

    def __init__(self) -> None:
        self._agents: OrderedDict[bytes, OrderedDict[bytes, None]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def has(self, key: bytes, outcome_id: bytes) -> bool:
        """Returns whether an agent's outcome is on the log, and marks it as used."""
        ids = self._agents.get(key)
        if ids is None or outcome_id not in ids:
            return False
        ids.move_to_end(outcome_id)
        self._agents.move_to_end(key)
        return True

    def add(self, key: bytes, outcome_id: bytes) -> None:
        """Notes that an agent's outcome was appended."""
        ids = self._agents.setdefault(key, OrderedDict())
        self._agents.move_to_end(key)
        if outcome_id in ids:
            return
        ids[outcome_id] = None
        self._count += 1
        if len(ids) > OUTCOMES_KNOWN_PER_AGENT_MAX:
            ids.popitem(last=False)
            self._count -= 1
        while self._count > OUTCOMES_KNOWN_MAX:
            _, gone = self._agents.popitem(last=False)
            self._count -= len(gone)

    def drop(self, key: bytes, outcome_id: bytes) -> None:
        """Forgets an outcome whose append failed."""
        ids = self._agents.get(key)
        if ids is not None and outcome_id in ids:
            del ids[outcome_id]
            self._count -= 1
