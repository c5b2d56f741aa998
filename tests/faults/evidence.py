"""What the topics themselves prove, told from the contract alone: no fold or counting of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.ports import LogRecord, TopicPartition
from agentguard.contracts.records import (
    AgentRequest,
    Checkpoint,
    Chunk,
    Decision,
    DecisionCore,
    Deliveries,
    Enforcement,
    EpochStart,
    Redeem,
    ToolOutcome,
)
from tests.faults.world import CODEC, WAIT_S, World, until

SEALED = ("ag.requests", "ag.decisions", "ag.signals", "ag.control")
UNDECIDED_TYPES = (ToolOutcome, Chunk, Enforcement, Deliveries, EpochStart, Redeem)
# every table that the records of a topic go to
TABLES = {
    "ag.requests": (
        "requests", "outcomes", "enforcements", "deliveries", "redemptions", "chunks", "epochs",
    ),
    "ag.decisions": ("decisions_all",),
    "ag.signals": ("signals",),
    "ag.control": ("control_commands",),
    "ag.dead-letters": ("dead_letters",),
}  # fmt: skip
Place = tuple[int, int]  # partition and offset


def decoded(value: bytes | None) -> object:
    """What a value decodes to, None where it is no record of ours."""
    try:
        return CODEC.decode(value or b"")
    except UndecodableError:
        return None


def read_topics(world: World, *topics: str) -> dict[str, list[list[LogRecord]]]:
    """Everything on these topics from offset 0 to their ends as asked now, as the auditor."""
    log = world.log("auditor")
    found: dict[str, list[list[LogRecord]]] = {}
    ends: dict[TopicPartition, int] = {}
    for topic in topics:
        places = [TopicPartition(topic, p) for p in range(log.partitions(topic))]
        found[topic] = [[] for _ in places]
        ends |= {at: log.bounds(at)[1] for at in places}
    reader = log.reader(dict.fromkeys(ends, 0))
    try:
        while any(len(found[at.topic][at.partition]) < end for at, end in ends.items()):
            records = until(
                lambda: reader.read(timeout_ms=1_000, records_max=5_000), what="the log is read"
            )
            for record in records:
                found[record.topic][record.partition].append(record)
    finally:
        reader.close()
        log.close()
    return found


def assert_dense(topics: Mapping[str, Sequence[Sequence[LogRecord]]]) -> None:
    """Offsets are leaf numbers: they begin at 0 and leave none out."""
    for topic, partitions in topics.items():
        for number, records in enumerate(partitions):
            offsets = [record.offset for record in records]
            assert offsets == list(range(len(offsets))), f"{topic}/{number}"


@dataclass(frozen=True)
class Effective:
    """The decision that is effective for a request offset."""

    offset: int
    core: DecisionCore


@dataclass(frozen=True)
class Asked:
    """An offset of the requests that gets exactly one decision; `request` as far as it decodes."""

    record: LogRecord
    request: AgentRequest | None


class Ledger:
    """Requests and what was decided on them, from the two topics."""

    def __init__(self, world: World) -> None:
        self.cluster = world.platform.cluster
        self.genesis = world.platform.genesis_digest
        self.topics = read_topics(world, "ag.requests", "ag.decisions")
        self.asked: dict[Place, Asked] = dict(self._asked())
        self.effective: dict[Place, Effective] = {}
        self.counting: Counter[Place] = Counter()
        for place, found in self._counting():
            self.counting[place] += 1
            self.effective.setdefault(place, found)

    def _asked(self) -> Iterator[tuple[Place, Asked]]:
        for number, records in enumerate(self.topics["ag.requests"]):
            for record in records:
                body = decoded(record.value)
                if not isinstance(body, UNDECIDED_TYPES):
                    request = body if isinstance(body, AgentRequest) else None
                    yield (number, record.offset), Asked(record, request)

    def _counting(self) -> Iterator[tuple[Place, Effective]]:
        for number, records in enumerate(self.topics["ag.decisions"]):
            for record in records:
                decision = decoded(record.value)
                core = decoded(decision.core) if isinstance(decision, Decision) else None
                if isinstance(decision, Decision) and isinstance(core, DecisionCore):
                    place = (number, core.request_offset)
                    if self._counts(record, decision, core, self.asked.get(place)):
                        yield place, Effective(record.offset, core)

    def _counts(
        self, record: LogRecord, decision: Decision, core: DecisionCore, asked: Asked | None
    ) -> bool:
        """Details 2: names this cluster and mode, lies beside and names exactly its request."""
        if asked is None or {decision.cluster, core.cluster} != {self.cluster}:
            return False
        if (decision.mode.value, core.mode.value) != ("live", "live"):
            return False
        leaf = sha256(b"\x00" + (asked.record.value or b"")).digest()
        if core.request_partition != record.partition or core.request_leaf != leaf:
            return False
        request = asked.request
        named = (core.tenant, core.agent_id, core.request_id)
        if request is None:
            return named == ("", "", None)
        wanted = (request.tenant, request.agent_id, request.request_id)
        return named == wanted and record.offset >= request.decisions_floor

    def of_request(self, request_id: bytes) -> list[Place]:
        return [
            place
            for place, asked in self.asked.items()
            if asked.request is not None and asked.request.request_id == request_id
        ]

    def undecided(self) -> list[Place]:
        return [place for place in self.asked if place not in self.effective]


def decided_ledger(world: World) -> Ledger:
    """The ledger once every request on the log is decided."""
    made: list[Ledger] = []

    def is_decided() -> bool:
        made[:] = [Ledger(world)]
        return not made[0].undecided()

    until(is_decided, what="every request offset has a decision")
    return made[0]


# -- the seal -----------------------------------------------------------------------------------


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1: the root over leaf hashes."""
    if not leaves:
        return sha256(b"").digest()
    level = list(leaves)
    while len(level) > 1:
        pairs = range(0, len(level) - 1, 2)
        odd = level[-1:] if len(level) % 2 else []
        level = [sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in pairs] + odd
    return level[0]


def assert_sealed(world: World) -> None:
    """Every offset that was on a sealed topic ends under a checkpoint whose root is that of the log."""
    topics = read_topics(world, *SEALED)
    assert_dense(topics)
    wanted = {
        (topic, number): len(records)
        for topic, partitions in topics.items()
        for number, records in enumerate(partitions)
    }

    def is_sealed() -> bool:
        sizes = {
            place: max(found, default=0) for place, found in _checkpoints(world, wanted).items()
        }
        return all(sizes[place] >= size for place, size in wanted.items())

    until(is_sealed, what="every offset is under a checkpoint")
    for (topic, number), checkpoints in _checkpoints(world, wanted).items():
        leaves = [sha256(b"\x00" + (r.value or b"")).digest() for r in topics[topic][number]]
        assert all(len(roots) == 1 for roots in checkpoints.values()), f"{topic}/{number} forks"
        size = max((size for size in checkpoints if size <= len(leaves)), default=0)
        if size:
            assert checkpoints[size] == {tree_root(leaves[:size])}, f"{topic}/{number} at {size}"


def _checkpoints(
    world: World, places: Mapping[tuple[str, int], int]
) -> dict[tuple[str, int], dict[int, set[bytes]]]:
    """The roots of every size that the platform's own checkpoints name; `note` binds both."""
    found: dict[tuple[str, int], dict[int, set[bytes]]] = {place: {} for place in places}
    cluster = world.platform.cluster
    for record in read_topics(world, "ag.checkpoints")["ag.checkpoints"][0]:
        body = decoded(record.value)
        if not isinstance(body, Checkpoint) or body.cluster != cluster:
            continue
        place = (body.topic, body.partition)
        is_ours = body.note.startswith(f"{body.origin}\n{body.size}\n") and body.note.count("—") > 0
        if place in found and is_ours:
            found[place].setdefault(body.size, set()).add(body.root)
    return found


# -- the store ----------------------------------------------------------------------------------


def assert_stored(world: World) -> None:
    """The store holds every record of the log once: as many rows as offsets, none twice."""
    for topic, tables in TABLES.items():
        ends = [len(records) for records in read_topics(world, topic)[topic]]

        def is_stored(
            topic: str = topic, tables: Sequence[str] = tables, ends: list[int] = ends
        ) -> bool:
            rows = _rows(world, topic, tables)
            return all(rows.get(p, (0, 0, 0))[0] >= end for p, end in enumerate(ends))

        until(is_stored, wait_s=2 * WAIT_S, what=f"the store holds all of {topic}")
        for number, (count, distinct, last) in _rows(world, topic, tables).items():
            assert count == distinct == last + 1, f"{topic}/{number}: {count} {distinct} {last}"


def _rows(world: World, topic: str, tables: Sequence[str]) -> dict[int, tuple[int, int, int]]:
    parts = " UNION ALL ".join(
        f"SELECT partition, offset FROM agentguard.{table} WHERE topic = '{topic}'"
        for table in tables
    )
    question = (
        "SELECT partition, count(), uniqExact(offset), max(offset) "
        f"FROM ({parts}) GROUP BY partition"
    )
    return {int(p): (int(n), int(d), int(last)) for p, n, d, last in world.sql(question)}
