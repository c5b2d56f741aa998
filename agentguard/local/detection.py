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


def verdict_of(
    p: Provenance, tool: RegisterTool, c: Classification, untrusted: bool = True
) -> Verdict:
    reads = tool.side_effect is SideEffect.READ
    usual = c.risk in (Risk.LOW, Risk.MEDIUM)
    told = p.instructed_by is Instructor.UNTRUSTED and not p.asked_by_task
    if not reads and (told or p.decisive_addressed):
        return Verdict.DENY
    if not usual:
        return Verdict.ESCALATE
    if reads:
        staged = (told or p.decisive_addressed) and c.risk is Risk.MEDIUM
        return Verdict.ESCALATE if staged else Verdict.ALLOW
    if not p.asked_by_task:
        return Verdict.ESCALATE
    match p.decisive:
        case Origin.TASK | Origin.TRUSTED:
            return Verdict.ALLOW
        case Origin.UNTRUSTED:
            return Verdict.ALLOW if p.source_named_by_task else Verdict.ESCALATE
        case Origin.NOWHERE:
            plain = tool.side_effect in (SideEffect.WRITE, SideEffect.UNKNOWN)
            ok = plain and not untrusted and not p.incomplete
            return Verdict.ALLOW if ok else Verdict.ESCALATE


def judge(task, call: SampleCall, history, tools, incomplete=False):
    tool = tools[call.tool]
    src = sources_of(task, history, tools)
    k = Call(tool=call.tool, parameters=call.arguments, task=task)
    p = trace(k, tool, src, incomplete=incomplete)
    c = classify(k, tool, provenance=p, history=HistoryFacts(), extracted=ExtractedFacts())
    return verdict_of(p, tool, c, any(x.origin is Origin.UNTRUSTED and x.text for x in src)), p, c
