# SPDX-License-Identifier: Apache-2.0
"""Names of the sealed trees: which topic, which partition, which generation."""

from __future__ import annotations

import re
from typing import NamedTuple

from agentguard.contracts.errors import VerificationError

ANCHORS = "anchors"
_ORIGIN = re.compile(
    r"(?P<domain>[^\s+/]+)/agentguard/(?P<cluster>[^\s+/]+)/(?P<topic>[^\s+/]+)"
    r"/(?P<topic_id>[^\s+/]+)/(?P<partition>0|[1-9][0-9]{0,8})(?:/g(?P<generation>[1-9][0-9]{0,8}))?"
)


class Origin(NamedTuple):
    """One tree: `<domain>/agentguard/<cluster>/<topic>/<topic id>/<partition>[/g<N>]`.

    The topic id makes a recreated topic another log; generation N follows a `NewGeneration`.
    """

    domain: str
    cluster: str
    topic: str
    topic_id: str
    partition: int
    generation: int = 0

    def __str__(self) -> str:
        """Returns the text that checkpoints carry."""
        base = (
            f"{self.domain}/agentguard/{self.cluster}/{self.topic}/{self.topic_id}/{self.partition}"
        )
        return f"{base}/g{self.generation}" if self.generation else base


def parse_origin(text: str) -> Origin:
    """Returns the parts of an origin. Raises `VerificationError` (ORIGIN)."""
    match = _ORIGIN.fullmatch(text)
    if match is None:
        raise VerificationError("not the origin of a sealed partition", finding="ORIGIN")
    return Origin(
        domain=match["domain"],
        cluster=match["cluster"],
        topic=match["topic"],
        topic_id=match["topic_id"],
        partition=int(match["partition"]),
        generation=int(match["generation"] or 0),
    )


def anchors_origin(domain: str, cluster: str) -> str:
    """Returns the origin of the anchor log, whose leaves are lists of all heads."""
    return f"{domain}/agentguard/{cluster}/{ANCHORS}"
