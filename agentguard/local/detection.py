# SPDX-License-Identifier: Apache-2.0
"""Detection quality: recorded calls replayed through the stages and the release, without a platform."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from agentguard.adapters.regorus_engine import RegorusEngine
from agentguard.bounds import EVIDENCE_PER_SESSION_BYTES_MAX
from agentguard.classification.provenance import trace
from agentguard.classification.rules import classify
from agentguard.classification.suggest import suggest
from agentguard.contracts.commands import RegisterTool, SideEffect
from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.facts import (
    Call,
    HistoryFacts,
    Json,
    Origin,
    Provenance,
    Source,
)
from agentguard.contracts.ports import PolicyEngine
from agentguard.contracts.records import (
    AgentRequest,
    Classification,
    Mode,
    Trust,
    Verdict,
    Voucher,
)
from agentguard.contracts.strict_json import encode_canonical, parse_strict
from agentguard.local.sample_traffic import SampleCall, SampleCase, Samples
from agentguard.policy.combine import combine
from agentguard.policy.document import build_document
from agentguard.policy.extractors import extract
from agentguard.policy.release import build_bundle, read_bundle
from agentguard.registry.agents import Credential, make_agent
from agentguard.registry.tools import ToolLabels, effect_of, make_tool
from agentguard.resources import read_folder, resource

TENANT: Final = "eval"
AGENT: Final = "eval-agent"
NOW_MS: Final = 1_764_000_000_000
NO_CREDENTIAL: Final = Credential(id="", token="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One call of a case and what was decided about it."""

    tool: str
    is_sink: bool
    verdict: Verdict
    code: str
    provenance: Provenance
    classification: Classification


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One case and what was decided about each of its judged calls."""

    case: SampleCase
    calls: tuple[Judged, ...]

    @property
    def is_stopped(self) -> bool:
        """Whether some call of it was not allowed."""
        return any(c.verdict is not Verdict.ALLOW for c in self.calls)

    @property
    def is_stopped_at_sink(self) -> bool:
        """Whether a call that does something was not allowed."""
        return any(c.is_sink and c.verdict is not Verdict.ALLOW for c in self.calls)


class Judge:
    """Decides recorded calls with one release, as a lane would without any other history.

    Outputs are judged as a caller brings them along: untrusted, because no allowed call of the
    log vouches for them. With `vouched` they have the label that their tools are registered with.
    """

    def __init__(self, *, vouched: bool = False, release: Path | None = None) -> None:
        files = read_folder(release or resource("policies", "baseline"))
        self._engine: PolicyEngine = RegorusEngine(read_bundle(build_bundle(files)))
        self._vouched = vouched

    def judge(
        self,
        task: str,
        call: SampleCall,
        history: Sequence[SampleCall],
        tools: Mapping[str, RegisterTool],
    ) -> Judged:
        """Returns what is decided about one call after that history."""
        sources, incomplete = self._sources(task, history, tools)
        asked = Call(tool=call.tool, parameters=call.arguments, task=task)
        return self.decide(asked, tools[call.tool], sources, incomplete=incomplete)

    def decide(
        self, call: Call, tool: RegisterTool, sources: Sequence[Source], *, incomplete: bool
    ) -> Judged:
        """Returns what is decided about one call of an agent that has read these sources."""
        provenance = trace(call, tool, sources, incomplete=incomplete)
        facts = HistoryFacts(
            untrusted_read=any(s.origin is Origin.UNTRUSTED for s in sources),
            incomplete=incomplete,
        )
        extracted = extract(tool, call.parameters)
        classification = classify(
            call, tool, provenance=provenance, history=facts, extracted=extracted
        )
        document = build_document(
            request=_request(call.tool, tool.tenant),
            agent=make_agent(AGENT, tenant=tool.tenant, credential=NO_CREDENTIAL),
            tool=tool,
            extracted=extracted,
            provenance=provenance,
            classification=classification,
            history=facts,
            decided_at_ms=NOW_MS,
            killed=False,
        )
        ruling = combine(self._engine.evaluate(document))
        return Judged(
            tool=call.tool,
            is_sink=effect_of(tool) is not SideEffect.READ,
            verdict=ruling.verdict,
            code=next(iter(ruling.codes), ""),
            provenance=provenance,
            classification=classification,
        )

    def _sources(
        self, task: str, history: Sequence[SampleCall], tools: Mapping[str, RegisterTool]
    ) -> tuple[tuple[Source, ...], bool]:
        """Returns the task and the outputs that are kept as evidence, oldest first."""
        kept: list[Source] = []
        left = EVIDENCE_PER_SESSION_BYTES_MAX
        for offset in range(len(history) - 1, -1, -1):
            past = history[offset]
            left -= len(past.output.encode())
            if left < 0:
                break
            label = tools[past.tool].output_trust if past.tool in tools else Trust.UNTRUSTED
            trusted = self._vouched and label is Trust.TRUSTED
            kept.append(
                Source(
                    origin=Origin.TRUSTED if trusted else Origin.UNTRUSTED,
                    text=past.output,
                    tool=past.tool,
                    offset=offset,
                )
            )
        kept.append(Source(origin=Origin.TASK, text=task))
        return tuple(reversed(kept)), left < 0

    def run(self, case: SampleCase, tools: Mapping[str, RegisterTool]) -> CaseResult:
        """Returns a case with every judged call decided, each after its recorded history."""
        calls = tuple(self.judge(case.task, call, history, tools) for call, history in case.rows())
        return CaseResult(case=case, calls=calls)


def _request(tool: str, tenant: str) -> AgentRequest:
    return AgentRequest(
        cluster="eval",
        mode=Mode.SIMULATION,
        producer="eval",
        epoch=0,
        sequence=0,
        control_offset=0,
        tenant=tenant,
        agent_id=AGENT,
        request_id=bytes(16),
        accepted_at_ms=NOW_MS,
        deadline_ms=NOW_MS,
        budget_ms=0,
        decisions_floor=0,
        tool=tool,
        session_id="eval",
        sections=(),
        outcome_refs=(),
        task_voucher=Voucher.GATEWAY,
        environment="production",
        dry_run=False,
    )


class _PastRow(msgspec.Struct, frozen=True):
    tool: str
    args: msgspec.Raw
    output: msgspec.Raw


class _Row(msgspec.Struct, frozen=True):
    source: str
    suite: str
    case: str
    kind: str
    user_task: str
    tool: str
    args: msgspec.Raw
    step: int
    history: list[_PastRow]
    attack_goal: str = ""


def read_rows(path: Path) -> Samples:
    """Returns the cases of a file of rows (JSON lines, gzip where the name says so).

    Each row stands alone: its own call is judged after its own history. Tools that no sample
    labels are registered as `suggest` proposes from their names, all arguments decisive.
    """
    body = path.read_bytes()
    text = gzip.decompress(body) if path.suffix == ".gz" else body
    rows = [msgspec.json.decode(line, type=_Row) for line in text.splitlines() if line.strip()]
    names = sorted({r.tool for r in rows} | {h.tool for r in rows for h in r.history})
    return Samples(
        tools=tuple(_suggested(name) for name in names if name),
        cases=tuple(_case(row) for row in rows),
    )


def _suggested(name: str) -> RegisterTool:
    proposed = suggest(name, "")
    labels = ToolLabels(operation=proposed.operation, side_effect=proposed.side_effect)
    return make_tool(name, tenant=TENANT, labels=labels)


def _case(row: _Row) -> SampleCase:
    outputs = [(h.tool, _text(h.output)) for h in row.history]
    # where a source does not record outputs there is nothing that was read
    past = tuple(SampleCall(tool=t, arguments={}, output=o) for t, o in outputs if o)
    call = SampleCall(tool=row.tool, arguments=_object(row.args), output="")
    return SampleCase(
        suite=row.source if row.source == row.suite else f"{row.source}/{row.suite}",
        case=row.case,
        kind=row.kind,
        task=row.user_task,
        goal=row.attack_goal,
        calls=(*past, call),
        judged=(len(past),),
    )


def _text(raw: msgspec.Raw) -> str:
    value = parse_strict(bytes(raw))
    return value if isinstance(value, str) else encode_canonical(value).decode()


def _object(raw: msgspec.Raw) -> dict[str, Json]:
    value = parse_strict(bytes(raw))
    if not isinstance(value, dict):
        raise UndecodableError("arguments are not an object")
    return value
