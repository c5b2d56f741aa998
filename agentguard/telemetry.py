# SPDX-License-Identifier: Apache-2.0
"""Every metric of the platform: its name, its kind, its labels, in one place; and how to print them.

Metrics are read by Prometheus in its text format. Label values are bounded by whoever counts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class MetricKind(StrEnum):
    """How a metric moves."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric of the catalogue."""

    name: str
    kind: MetricKind
    text: str
    labels: tuple[str, ...] = ()


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(name=name, kind=MetricKind.COUNTER, text=text, labels=labels)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(name=name, kind=MetricKind.GAUGE, text=text, labels=labels)


GATEWAY_ANSWERS: Final = _counter(
    "agentguard_gateway_answers_total", "answers to POST /v1/decisions", "action", "code"
)
GATEWAY_SECONDS: Final = Metric(
    name="agentguard_gateway_decision_seconds",
    kind=MetricKind.HISTOGRAM,
    text="from the whole body read to the answer, of calls that were decided",
)
GATEWAY_IN_FLIGHT: Final = _gauge(
    "agentguard_gateway_in_flight", "requests that wait for their decision"
)
GATEWAY_READY: Final = _gauge("agentguard_gateway_ready", "1 where requests are accepted")
GATEWAY_UNPROVED: Final = _counter(
    "agentguard_gateway_unproved_total",
    "requests that proved no identity, by the credential id that they claim",
    "credential",
)
GATEWAY_RECORDS: Final = _counter(
    "agentguard_gateway_records_total", "records appended by this gateway", "type"
)
GATEWAY_NOT_WRITTEN: Final = _counter(
    "agentguard_gateway_not_written_total", "records whose append was reported as failed", "type"
)
GATEWAY_ENFORCEMENTS_LOST: Final = _counter(
    "agentguard_gateway_enforcements_lost_total",
    "denials at the gateway that reached no log, because the log was away for too long",
)
GATEWAY_ENFORCEMENTS_WAITING: Final = _gauge(
    "agentguard_gateway_enforcements_waiting", "denials at the gateway that wait for the log"
)
GATEWAY_DECISIONS_READ: Final = _counter(
    "agentguard_gateway_decisions_read_total", "records read from the decisions topic"
)
GATEWAY_DECISIONS_REFUSED: Final = _counter(
    "agentguard_gateway_decisions_refused_total",
    "records that name a waiting request and do not count as its decision",
)
GATEWAY_CONTROL_OFFSET: Final = _gauge(
    "agentguard_gateway_control_offset", "last control offset that this gateway has folded"
)
GATEWAY_FAULTS: Final = _counter(
    "agentguard_gateway_faults_total", "failures that no part expected, answered with deny", "error"
)

STORE_ROWS: Final = _counter("agentguard_store_rows_total", "rows inserted by the sink", "table")
STORE_STUBS: Final = _counter(
    "agentguard_store_stubs_total",
    "records stored as their place and leaf only, by what was wrong with them",
    "problem",
)
STORE_FINDINGS: Final = _counter(
    "agentguard_store_findings_total", "holes and losses of the log that the sink met", "finding"
)
STORE_INSERT_FAILURES: Final = _counter(
    "agentguard_store_insert_failures_total", "inserts that failed and were repaired or given up"
)
STORE_READ_BACKS: Final = _counter(
    "agentguard_store_read_backs_total", "ranges read back because an insert's outcome was in doubt"
)
STORE_CONFLICTS: Final = _counter(
    "agentguard_store_conflicts_total",
    "records whose place the store already held with other bytes",
)
STORE_LETTERS_DROPPED: Final = _counter(
    "agentguard_store_dead_letters_dropped_total", "dead letters that a full queue refused"
)
STORE_READY: Final = _gauge("agentguard_store_ready", "1 where the store follows the log")
STORE_NEXT_OFFSET: Final = _gauge(
    "agentguard_store_next_offset", "next offset that the sink will read", "topic", "partition"
)
STORE_QUESTIONS: Final = _counter(
    "agentguard_store_questions_total", "questions at the read-only door", "result"
)

CATALOGUE: Final[tuple[Metric, ...]] = (
    GATEWAY_ANSWERS,
    GATEWAY_SECONDS,
    GATEWAY_IN_FLIGHT,
    GATEWAY_READY,
    GATEWAY_UNPROVED,
    GATEWAY_RECORDS,
    GATEWAY_NOT_WRITTEN,
    GATEWAY_ENFORCEMENTS_LOST,
    GATEWAY_ENFORCEMENTS_WAITING,
    GATEWAY_DECISIONS_READ,
    GATEWAY_DECISIONS_REFUSED,
    GATEWAY_CONTROL_OFFSET,
    GATEWAY_FAULTS,
    STORE_ROWS,
    STORE_STUBS,
    STORE_FINDINGS,
    STORE_INSERT_FAILURES,
    STORE_READ_BACKS,
    STORE_CONFLICTS,
    STORE_LETTERS_DROPPED,
    STORE_READY,
    STORE_NEXT_OFFSET,
    STORE_QUESTIONS,
)
BUCKETS_S: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip


class Metrics:
    """The numbers of one process. Belongs to one thread; reading them from another is harmless."""

    def __init__(self) -> None:
        self._values: dict[str, dict[tuple[str, ...], float]] = {m.name: {} for m in CATALOGUE}
        self._buckets: dict[str, list[int]] = {
            m.name: [0] * (len(BUCKETS_S) + 1) for m in CATALOGUE if m.kind is MetricKind.HISTOGRAM
        }

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Adds to a counter."""
        values = self._values[metric.name]
        values[labels] = values.get(labels, 0) + by

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Sets a gauge."""
        self._values[metric.name][labels] = value

    def observe(self, metric: Metric, seconds: float) -> None:
        """Adds one observation to a histogram."""
        self._buckets[metric.name][bisect_left(BUCKETS_S, seconds)] += 1
        self.count(metric, by=seconds)

    def value(self, metric: Metric, *labels: str) -> float:
        """Returns a counter or gauge, or the sum of a histogram; 0 where nothing was counted."""
        return self._values[metric.name].get(labels, 0)

    def is_counted(self, metric: Metric, *labels: str) -> bool:
        """Returns whether these label values are known already."""
        return labels in self._values[metric.name]

    def label_sets(self, metric: Metric) -> int:
        """Returns how many label values a metric has, so that whoever counts can bound them."""
        return len(self._values[metric.name])

    def render(self) -> str:
        """Returns everything in Prometheus' text format 0.0.4."""
        lines: list[str] = []
        for metric in CATALOGUE:
            lines.append(f"# HELP {metric.name} {metric.text}")
            lines.append(f"# TYPE {metric.name} {metric.kind.value}")
            if metric.kind is MetricKind.HISTOGRAM:
                lines += self._histogram(metric)
                continue
            lines += [
                f"{metric.name}{_labels(metric.labels, labels)} {_number(value)}"
                for labels, value in sorted(self._values[metric.name].items())
            ]
        return "\n".join(lines) + "\n"

    def _histogram(self, metric: Metric) -> list[str]:
        lines, total = [], 0
        for edge, count in zip((*BUCKETS_S, "+Inf"), self._buckets[metric.name], strict=True):
            total += count
            lines.append(f'{metric.name}_bucket{{le="{edge}"}} {total}')
        lines.append(f"{metric.name}_sum {_number(self.value(metric))}")
        lines.append(f"{metric.name}_count {total}")
        return lines


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    if not names:
        return ""
    pairs = (f'{n}="{_escape(v)}"' for n, v in zip(names, values, strict=True))
    return "{" + ",".join(pairs) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
