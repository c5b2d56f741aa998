# SPDX-License-Identifier: Apache-2.0
"""What a verification found: each finding by name and place, and the verdict over all of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from agentguard.contracts.errors import VerificationError

NAMED_MAX = 20


class Severity(StrEnum):
    """What a finding means for the verdict."""

    TAMPERED = "tampered"
    INCOMPLETE = "incomplete"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding. `partition` and `offset` are -1 where it concerns no single place."""

    name: str
    severity: Severity
    message: str
    topic: str = ""
    partition: int = -1
    offset: int = -1

    def place(self) -> str:
        """Returns `topic/partition@offset`, as far as it is known."""
        text = self.topic
        if self.partition >= 0:
            text += f"/{self.partition}"
        if self.offset >= 0:
            text += f"@{self.offset}"
        return text


@dataclass(slots=True, kw_only=True)
class Report:
    """Everything that one verification found. At most 20 findings of a name are kept in full.

    `counts` says how much was checked; `statement` how far the evidence reaches.
    """

    findings: list[Finding] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)
    severities: set[Severity] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    statement: str = ""

    def add(self, finding: Finding) -> None:
        """Notes a finding."""
        self.totals[finding.name] += 1
        self.severities.add(finding.severity)
        if self.totals[finding.name] <= NAMED_MAX:
            self.findings.append(finding)

    def tampered(
        self, name: str, message: str, *, topic: str = "", partition: int = -1, offset: int = -1
    ) -> None:
        """Notes that evidence was changed, or does not verify."""
        self._add(Severity.TAMPERED, name, message, topic, partition, offset)

    def incomplete(
        self, name: str, message: str, *, topic: str = "", partition: int = -1, offset: int = -1
    ) -> None:
        """Notes that something could not be established."""
        self._add(Severity.INCOMPLETE, name, message, topic, partition, offset)

    def note(
        self, name: str, message: str, *, topic: str = "", partition: int = -1, offset: int = -1
    ) -> None:
        """Notes something that an auditor should see and that changes no verdict."""
        self._add(Severity.NOTE, name, message, topic, partition, offset)

    def refused(
        self, error: VerificationError, *, topic: str = "", partition: int = -1, offset: int = -1
    ) -> None:
        """Notes evidence that a check refused."""
        self.tampered(error.finding, str(error), topic=topic, partition=partition, offset=offset)

    @property
    def exit_code(self) -> int:
        """0 verified, 1 tampering or a wrong signature, 3 verified but incomplete."""
        if Severity.TAMPERED in self.severities:
            return 1
        return 3 if Severity.INCOMPLETE in self.severities else 0

    def _add(
        self, severity: Severity, name: str, message: str, topic: str, partition: int, offset: int
    ) -> None:
        self.add(
            Finding(
                name=name,
                severity=severity,
                message=message,
                topic=topic,
                partition=partition,
                offset=offset,
            )
        )
