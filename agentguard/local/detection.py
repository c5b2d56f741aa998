# SPDX-License-Identifier: Apache-2.0
"""Detection quality: recorded calls replayed through the pure functions, and what came of them."""

from __future__ import annotations

import gzip
import json
import random  # noqa: TID251  resampling needs no secrecy
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentguard.classification.provenance import trace
from agentguard.classification.rules import classify
from agentguard.classification.suggest import suggest
from agentguard.contracts.commands import RegisterTool, Registration, SideEffect
from agentguard.contracts.facts import (
    Call,
    ExtractedFacts,
    HistoryFacts,
    Instructor,
    Origin,
    Provenance,
    Source,
)
from agentguard.contracts.records import Classification, Risk, Trust, Verdict
from agentguard.local.sample_traffic import SampleCall, SampleCase


def sources_of(
    task: str, history: Sequence[SampleCall], tools: dict[str, RegisterTool]
) -> tuple[Source, ...]:
    found = [Source(origin=Origin.TASK, text=task)]
    for i, c in enumerate(history):
        t = tools.get(c.tool)
        trusted = t is not None and t.output_trust is Trust.TRUSTED
        found.append(
            Source(
                origin=Origin.TRUSTED if trusted else Origin.UNTRUSTED,
                text=c.output,
                tool=c.tool,
                offset=i,
            )
        )
    return tuple(found)


def verdict_of(p: Provenance, tool: RegisterTool, c: Classification) -> Verdict:
    if tool.side_effect is SideEffect.READ and c.risk is Risk.LOW:
        return Verdict.ALLOW
    if p.decisive_addressed or (p.instructed_by is Instructor.UNTRUSTED and not p.asked_by_task):
        return Verdict.DENY
    if not p.asked_by_task:
        return Verdict.ESCALATE
    if p.decisive in (Origin.TASK, Origin.TRUSTED):
        return Verdict.ALLOW
    if p.decisive is Origin.UNTRUSTED and p.source_named_by_task:
        return Verdict.ALLOW
    return Verdict.ESCALATE


def judge(task, call: SampleCall, history, tools, incomplete=False):
    tool = tools[call.tool]
    src = sources_of(task, history, tools)
    k = Call(tool=call.tool, parameters=call.arguments, task=task)
    p = trace(k, tool, src, incomplete=incomplete)
    c = classify(k, tool, provenance=p, history=HistoryFacts(), extracted=ExtractedFacts())
    return verdict_of(p, tool, c), p, c
