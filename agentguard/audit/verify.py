# SPDX-License-Identifier: Apache-2.0
"""Verifies an exported trail offline: seal, names, completeness, chains, freshness.

Trust comes from outside the export (`TrustPolicy`). The passes, in order: the manifest and the
files it names; every checkpoint and anchor; every leaf under every head; requests against
decisions. Each names what it finds; nothing stops at the first finding.

| finding | means |
|---|---|
| `FILE` `EXTRA_FILE` `MISSING_FILE` `MANIFEST` `FRAME` | a file of the export was changed, added, removed |
| `SIG` `NOTE` `ORIGIN` `CHECKPOINT` `FRONTIER` `DECODE` | a checkpoint or anchor that is not what the trusted key signed |
| `LEAF` `ROOT` `HASHES` `MISSING_ROWS` `EQUIVOCATION` | a record was changed, removed, added, swapped; two signed trees |
| `UNSEALED_TAIL` `STALE` `NO_WITNESS` `NO_OUTSIDE_ANCHOR` | evidence that does not reach as far as asked |
| `ANCHOR` `ANCHOR_FORK` `PIN` | the list of all heads departs from what someone holds |
| `NO_DECISION` `NO_REQUEST` `UNDECIDED_TAIL` | a request without a decision, a decision without its request |
| `REQUEST_LEAF` `CHAIN` | a decision was made about other bytes, or on another history |
| `GENERATION` `LOST` `REPLACED` | a tree that began again: without a command, with what it lost, or as another topic |
| `GAP` `SECTION_COMMITMENT` `MISSING_PARTITION` | a door's number is missing; content that is not what was committed to; a sealed partition that is not there |
| `NULL_VALUE` `NOT_COUNTING` `BEFORE_FLOOR` `ANSWER` `REPLAYED` `SEQUENCE` | notes: written so, sealed so, without effect |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

from agentguard.audit.completeness import DECIDED_WITHIN_MS, CompletenessCheck, PartitionFacts
from agentguard.audit.doors import DoorCheck
from agentguard.audit.export import (
    ANCHORS,
    CHECKPOINTS,
    MANIFEST,
    MANIFEST_BYTES_MAX,
    Manifest,
    Trail,
    hashes_name,
    leaves_name,
    parse_manifest,
    read_values,
)
from agentguard.audit.findings import Report
from agentguard.audit.heads import HeadReader, HeadsOfTree, newest_generation
from agentguard.audit.leaves import LeafCheck
from agentguard.audit.note import Head
from agentguard.audit.origins import Origin, anchors_origin, parse_origin
from agentguard.audit.trust import TrustPolicy
from agentguard.contracts.commands import NewGeneration
from agentguard.contracts.errors import VerificationError
from agentguard.contracts.ports import Codec, Verifier
from agentguard.contracts.topics import Topic

_READ_BYTES = 1_048_576
Progress = Callable[[str, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """What the auditor knows from outside the export.

    `anchor` is a head of the anchor log that someone else holds. `partitions` are the sealed
    partitions that the control log names, as (topic, topic id, partition). `is_readable` says
    whether a schema fingerprint is listed. With `needs_outside` the trail's own key is all the
    trust there is: without an anchor or a witness from outside the result is incomplete.
    """

    trust: TrustPolicy
    is_readable: Callable[[bytes], bool]
    anchor: Head | None = None
    as_of_ms: int | None = None
    max_age_ms: int | None = None
    partitions: Sequence[tuple[str, str, int]] = ()
    generations: Sequence[NewGeneration] = ()
    assurance: str | None = None
    genesis_digest: bytes | None = None
    needs_outside: bool = False


@dataclass(slots=True, kw_only=True)
class TrailCheck:
    """One verification of one export."""

    trail: Trail
    expected: Expectations
    codec: Codec
    verifier: Verifier
    progress: Progress = lambda _name, _count: None
    report: Report = field(default_factory=Report)

    def run(self) -> Report:
        """Returns everything that is wrong with the export; raises nothing about its content."""
        try:
            manifest = self._manifest()
        except VerificationError as error:
            self.report.refused(error, topic=MANIFEST)
            return self.report
        self._files(manifest)
        heads = self._heads(manifest)
        current = newest_generation(heads.trees)
        intact = {
            place: self._leaves(origin, heads.trees) for place, origin in sorted(current.items())
        }
        self._other_trees(current, heads)
        self._claims(manifest, current, heads)
        self._completeness(manifest.cluster, current, heads, intact)
        self._freshness(heads)
        self._outside(heads)
        return self.report

    # files

    def _manifest(self) -> Manifest:
        with self.trail.open(MANIFEST) as stream:
            return parse_manifest(stream.read(MANIFEST_BYTES_MAX))

    def _files(self, manifest: Manifest) -> None:
        expected = {MANIFEST, *manifest.files}
        for entry in manifest.partitions:
            expected.add(leaves_name(entry.topic, entry.partition))
            expected.add(hashes_name(entry.topic, entry.partition))
        present = set(self.trail.names())
        for name in sorted(present - expected):
            self.report.tampered("EXTRA_FILE", "the manifest does not name this file", topic=name)
        for name in sorted(expected - present):
            self.report.tampered("MISSING_FILE", "the file is not there", topic=name)
        for name in sorted(set(manifest.files) & present):
            if self._digest(name) != manifest.files[name]:
                self.report.tampered("FILE", "the file differs from the manifest", topic=name)

    def _digest(self, name: str) -> bytes:
        digest = sha256()
        with self.trail.open(name) as stream:
            while part := stream.read(_READ_BYTES):
                digest.update(part)
        return digest.digest()

    # heads and leaves

    def _heads(self, manifest: Manifest) -> HeadReader:
        reader = HeadReader(
            trust=self.expected.trust,
            codec=self.codec,
            verifier=self.verifier,
            report=self.report,
        )
        try:
            with self.trail.open(CHECKPOINTS) as stream:
                reader.read_checkpoints(read_values(stream))
            with self.trail.open(ANCHORS) as stream:
                origin = anchors_origin(manifest.domain, manifest.cluster)
                reader.read_anchors(read_values(stream), origin, manifest.cluster)
        except VerificationError as error:
            self.report.refused(error)
        return reader

    def _leaves(self, origin: Origin, trees: Mapping[str, HeadsOfTree]) -> bool:
        heads = trees[str(origin)].in_order()
        for step in self._generations(origin):
            older = trees.get(str(origin._replace(generation=step.generation - 1)))
            survivors = older.in_order() if older is not None else []
            heads += [h for h in survivors if h[0] <= step.first_offset]
            heads.append((step.first_offset, step.survivors_root))
        check = LeafCheck(
            topic=origin.topic,
            partition=origin.partition,
            heads=sorted(set(heads)),
            report=self.report,
        )
        try:
            with (
                self.trail.open(leaves_name(origin.topic, origin.partition)) as leaves,
                self.trail.open(hashes_name(origin.topic, origin.partition)) as hashes,
            ):
                check.run(read_values(leaves), hashes)
        except VerificationError as error:
            self.report.refused(error, topic=origin.topic, partition=origin.partition)
            return False
        self.report.counts["records"] += check.size
        self.progress(f"{origin.topic}/{origin.partition}", check.size)
        return check.is_intact

    def _generations(self, origin: Origin) -> list[NewGeneration]:
        place = (origin.topic, origin.topic_id, origin.partition)
        return [
            g
            for g in self.expected.generations
            if (g.topic, g.topic_id, g.partition) == place and g.generation <= origin.generation
        ]

    def _other_trees(self, current: dict[tuple[str, int], Origin], heads: HeadReader) -> None:
        """Reports signed trees that are no longer there: lost, by two persons' word, or replaced."""
        for name, tree in sorted(heads.trees.items()):
            origin = parse_origin(name)
            now = current[origin.topic, origin.partition]
            size = max((s for s, _ in tree.in_order()), default=0)
            steps = {g.generation: g for g in self._generations(now)}
            step = steps.get(origin.generation + 1)
            topic, partition = origin.topic, origin.partition
            if origin == now:
                if any(n not in steps for n in range(1, now.generation + 1)):
                    self.report.tampered(
                        "GENERATION", "no command began this tree", topic=topic, partition=partition
                    )
            elif step is not None and origin.topic_id == now.topic_id:
                if size > step.first_offset:
                    self.report.incomplete(
                        "LOST",
                        f"{size - step.first_offset} signed records were lost",
                        topic=topic,
                        partition=partition,
                        offset=step.first_offset,
                    )
            elif size:
                self.report.tampered(
                    "REPLACED",
                    f"a signed tree of {size} records is gone",
                    topic=topic,
                    partition=partition,
                )

    def _claims(
        self,
        manifest: Manifest,
        current: dict[tuple[str, int], Origin],
        heads: HeadReader,
    ) -> None:
        """Compares what the manifest claims with what the signed heads say."""
        claimed = {(e.topic, e.partition): e for e in manifest.partitions}
        for place in sorted(set(claimed) | set(current)):
            entry, origin = claimed.get(place), current.get(place)
            is_right = False
            if entry is not None and origin is not None:
                tree = heads.trees[str(origin)]
                is_right = (
                    entry.origin == str(origin)
                    and (entry.size, entry.root) in tree.in_order()
                    and entry.size == tree.largest_signed
                    and entry.sealed_at_ms == tree.last_signed_ms
                    and (origin.domain, origin.cluster) == (manifest.domain, manifest.cluster)
                )
            if not is_right:
                self._manifest_differs("a partition", topic=place[0], partition=place[1])
        if manifest.anchors != self.report.counts["anchors"]:
            self._manifest_differs("the number of anchors")
        if self.expected.assurance not in (None, manifest.assurance):
            self._manifest_differs("the assurance")
        if self.expected.genesis_digest not in (None, manifest.genesis_digest):
            self._manifest_differs("the digest of Genesis")
        for topic, topic_id, partition in self.expected.partitions:
            origin = current.get((topic, partition))
            if origin is None or origin.topic_id != topic_id:
                self.report.tampered(
                    "MISSING_PARTITION",
                    "the control log names this partition as sealed, and it is not here",
                    topic=topic,
                    partition=partition,
                )

    def _manifest_differs(self, what: str, *, topic: str = MANIFEST, partition: int = -1) -> None:
        self.report.tampered(
            "MANIFEST",
            f"{what}: the manifest says something else than the evidence",
            topic=topic,
            partition=partition,
        )

    # requests against decisions

    def _completeness(
        self,
        cluster: str,
        current: dict[tuple[str, int], Origin],
        heads: HeadReader,
        intact: dict[tuple[str, int], bool],
    ) -> None:
        trees = {place: heads.trees[str(origin)] for place, origin in current.items()}
        requests = {p: t for (topic, p), t in trees.items() if topic == Topic.REQUESTS}
        doors = DoorCheck(
            heads_ms=min((t.last_signed_ms for t in requests.values()), default=0),
            records_max=4 * sum(max(t.largest_signed, 0) for t in requests.values()) + 10_000,
            report=self.report,
        )
        are_all_intact = True
        for partition, tree in sorted(requests.items()):
            decisions = trees.get((Topic.DECISIONS, partition))
            places = [(Topic.REQUESTS, partition), (Topic.DECISIONS, partition)]
            if decisions is None or self._is_named(places, intact):
                are_all_intact = False  # what follows from a named change is no second finding
                continue
            facts = PartitionFacts(
                cluster=cluster,
                partition=partition,
                requests_size=max(tree.largest_signed, 0),
                settled=tree.settled_size(decisions.last_signed_ms - DECIDED_WITHIN_MS),
                decisions_ms=decisions.last_signed_ms,
                requests_ms=tree.last_signed_ms,
            )
            self._pair(facts, doors)
        if are_all_intact:
            doors.finish()

    def _is_named(
        self, places: Sequence[tuple[str, int]], intact: dict[tuple[str, int], bool]
    ) -> bool:
        if all(intact.get(place, False) for place in places):
            return False
        named = {(f.topic, f.partition) for f in self.report.findings if f.name != "ROOT"}
        return any(place in named for place in places)

    def _pair(self, facts: PartitionFacts, doors: DoorCheck) -> None:
        check = CompletenessCheck(
            facts,
            codec=self.codec,
            is_readable=self.expected.is_readable,
            doors=doors,
            report=self.report,
        )
        try:
            with (
                self.trail.open(leaves_name(Topic.REQUESTS, facts.partition)) as requests,
                self.trail.open(leaves_name(Topic.DECISIONS, facts.partition)) as decisions,
            ):
                check.run(read_values(requests), read_values(decisions))
        except VerificationError as error:
            self.report.refused(error, topic=Topic.REQUESTS, partition=facts.partition)
        self.progress(f"completeness/{facts.partition}", facts.requests_size)

    # how far the evidence reaches

    def _freshness(self, heads: HeadReader) -> None:
        expected = self.expected
        if expected.as_of_ms is None or expected.max_age_ms is None:
            return
        oldest_ms = expected.as_of_ms - expected.max_age_ms
        newest_ms = max((t.last_signed_ms for t in heads.trees.values()), default=0)
        if newest_ms < oldest_ms:
            late_s = (oldest_ms - newest_ms) // 1000
            self.report.incomplete("STALE", f"the newest head is {late_s} s too old")

    def _outside(self, heads: HeadReader) -> None:
        expected, tree = self.expected, heads.anchors
        pin = expected.anchor
        if pin is not None and heads.anchor_roots.get(pin.size) != pin.root:
            self.report.tampered(
                "PIN", f"the trail does not hold the anchor of size {pin.size} that is held"
            )
        has_witness = bool(expected.trust.witnesses) and heads.witnessed_anchor >= 0
        if expected.trust.witnesses and not has_witness:
            self.report.incomplete("NO_WITNESS", "no anchor is signed by the quorum of witnesses")
        if expected.needs_outside and pin is None and not has_witness:
            self.report.incomplete(
                "NO_OUTSIDE_ANCHOR",
                "no anchor from outside: give --anchor with one that someone else holds",
            )
        last = tree.last if tree is not None else None
        if pin is None and not has_witness and last is not None:
            self.report.statement = (
                "as the sealing key's holder states it, "
                f"up to anchor {last.index} of time {_utc(last.anchored_at_ms)}"
            )


def _utc(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms // 1000, tz=UTC).isoformat()
