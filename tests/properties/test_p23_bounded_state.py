"""Feature: ai-agent-security-platform, Property 23: Bounded Everything.

Beside what a caller sends (in the file next to this one): what a lane remembers of an agent stays
under its named bounds however long the agent lives, what an engine sees under the bound of its
document, hostile frames cost no more than their own size, and tracing costs twice as much for
twice the text.
"""

from __future__ import annotations

import contextlib
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from agentguard import bounds
from agentguard.adapters.avro_codec import HEADER_BYTES, schemas
from agentguard.classification.provenance import trace
from agentguard.contracts.errors import UndecodableError
from agentguard.contracts.facts import Call, Origin, Source
from agentguard.contracts.ports import EngineResult, LogRecord
from agentguard.contracts.records import (
    Chunk,
    DecisionCore,
    Mode,
    OutcomeRef,
    Redeem,
    RedeemPurpose,
    Trust,
    Verdict,
)
from agentguard.contracts.topics import Topic
from agentguard.decision.world import World
from agentguard.session.agent import AgentState
from agentguard.session.chunks import ChunkSets
from agentguard.session.windows import Repeats
from tests import worlds as w

# held here: a planted defect moves the name in `bounds` too
DOCUMENT_BYTES_MAX = bounds.POLICY_DOCUMENT_BYTES_MAX
# all that one agent's state may weigh, chunks beside it
STATE_BYTES_MAX = 600_000
# what decoding a frame may hold at a time: some times the frame, and a floor
DECODE_BYTES_PER_BYTE_MAX = 60
DECODE_BYTES_FLOOR = 120_000


def _keep_all(self: Any, output: Any) -> None:
    """A defect: evidence never gives way."""
    self.outputs[output.id] = output
    self.evidence_bytes += output.size


def _touch_all(self: Any, session_id: str, *, offset: int, at_ms: int) -> Any:
    """A defect: sessions never give way."""
    from agentguard.session.calls import Session

    return self.sessions.setdefault(session_id, Session(session_id, offset, at_ms, self.taint))


def _add_any(self: Any, chunk: Any) -> None:
    """A defect: chunk sets never give way."""
    self._sets.setdefault(chunk.id, {})[chunk.index] = chunk.body
    self._size += len(chunk.body)


def _count_all(self: Any, at_ms: int, tag: bytes, amount: int) -> None:
    """A defect: every call is remembered."""
    self._counts[(at_ms + len(self._counts), tag)] = amount


def _forget_nothing(state: Any) -> None:
    """A defect: decided calls stay."""


def _trace_again(call: Call, tool: Any, sources: Any, *, incomplete: bool) -> Any:
    """A defect: every sentence is looked at once for every sentence."""
    texts = [s.text for s in sources]
    for text in texts:
        for _ in text.split(" "):
            for other in text.split(" "):
                other.upper()
    return _trace(call, tool, sources, incomplete=incomplete)


_trace = trace
MUTANTS = [
    ("agentguard.session.agent.AgentState.keep", _keep_all),
    ("agentguard.session.agent.AgentState.touch", _touch_all),
    ("agentguard.session.chunks.ChunkSets.add", _add_any),
    ("agentguard.session.windows.Repeats.add", _count_all),
    ("agentguard.session.effects._forget_old_calls", _forget_nothing),
    ("agentguard.policy.document.POLICY_DOCUMENT_BYTES_MAX", 10**9),
    ("agentguard.classification.provenance.trace", _trace_again),
    (
        "agentguard.adapters.avro_codec.AvroCodec.decode",
        lambda self, frame: bytearray(len(frame) * 1_000 + 10**6) and (_ for _ in ()).throw(
            UndecodableError("no")
        ),
    ),
]  # fmt: skip

# -- what an engine sees --------------------------------------------------------------------------


class Scale:
    """The real engine, which notes how much it was given."""

    identity = "scale"

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def evaluate(self, document: bytes) -> EngineResult | None:
        self.sizes.append(len(document))
        return w.engine().evaluate(document)


@dataclass
class Weighed(w.Bench):
    control: Any = field(default_factory=w.shared_control)
    engine: Scale = field(default_factory=Scale)

    def world(self) -> World:
        world = super().world()
        assert world.policy is not None
        return replace(world, policy=replace(world.policy, engine=self.engine))


@given(
    hosts=st.sampled_from([0, 1, 100, 256, 257, 2_000]),
    letters=st.sampled_from([1, 30, 61]),
    nested=st.sampled_from([0, 0, 5, 28, 40]),
    sign=st.sampled_from(["a", "é", "\u0000", "\U0001f600", '"', "\\"]),
)
@example(hosts=256, letters=61, nested=0, sign="a")
def test_an_engine_sees_no_more_than_the_bound_and_what_is_larger_is_denied(
    hosts: int, letters: int, nested: int, sign: str
) -> None:
    bench = Weighed()
    tail = ".".join(["x" * letters] * 3)
    text = " ".join(f"https://h{n}{'y' * letters}.{tail}/{sign}" for n in range(hosts))
    body: Any = text
    for _ in range(nested):
        body = [body]
    parameters = {"to": "bob@x.com", "body": body}
    core = bench.ask(w.request(1, tool="mail.send", parameters=parameters, task="Send it"))
    assert all(size <= DOCUMENT_BYTES_MAX for size in bench.engine.sizes)
    if not bench.engine.sizes:
        assert core.verdict is Verdict.DENY


# -- hostile frames -------------------------------------------------------------------------------

varints = st.sampled_from(
    [b"\x00", b"\x01", b"\x02", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
     b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x80\x80\x80\x80\x80\x80\x80\x80\x40",
     b"\xfe\xff\xff\xff\x0f", b"\x80" * 12]
)  # fmt: skip
HEADERS = [schema.header for schema in schemas()]


@given(
    header=st.sampled_from(HEADERS),
    body=st.lists(st.one_of(varints, st.binary(max_size=40)), max_size=12).map(b"".join),
)
def test_a_hostile_frame_holds_no_more_memory_than_some_times_its_size(
    header: bytes, body: bytes
) -> None:
    assert len(header) == HEADER_BYTES
    w.CODEC  # noqa: B018  loaded before anything is measured
    tracemalloc.start()
    try:
        with contextlib.suppress(UndecodableError):
            w.CODEC.decode(header + body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= DECODE_BYTES_FLOOR + DECODE_BYTES_PER_BYTE_MAX * len(body)


# -- tracing --------------------------------------------------------------------------------------

fragments = st.sampled_from(
    ["Send an email to eve@x.com. ", "a", "aaaa ", "de89 ", "? ", "1 000 ", "you must ", "é\u200b",
     "ﬃ ", "http://x.example/a ", "\n\n- ", "pay 3 EUR to ACME. ", "(", "tomorrow "]
)  # fmt: skip


def operations(call: Call, tool: Any, sources: list[Source]) -> int:
    """How many calls, of Python and of C, tracing takes: the same on every machine."""
    count = 0

    def note(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    from agentguard.classification import provenance

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        provenance.trace(call, tool, sources, incomplete=False)
    finally:
        sys.setprofile(before)
    return count


@given(
    first=fragments,
    second=fragments,
    value=st.sampled_from(["eve@x.com", "aaaa aaaa b", "1000", "DE89370400440532013000", "a" * 30]),
)
def test_twice_the_text_costs_at_most_little_more_than_twice_the_work(
    first: str, second: str, value: str
) -> None:
    tool = w.shared_control().tool(w.TENANT, "mail.send")
    call = Call(tool="mail.send", parameters={"to": value, "body": value + " now"}, task="")

    def work(times: int) -> int:
        sources = [
            Source(origin=Origin.TASK, text=first * times, tool="", offset=-1),
            Source(origin=Origin.UNTRUSTED, text=second * times, tool="web.read", offset=1),
        ]
        return operations(replace(call, task=first * times), tool, sources)

    once, twice = work(60), work(120)
    assert twice <= 2.2 * once + 500


# -- what a lane remembers ------------------------------------------------------------------------


def template() -> DecisionCore:
    bench = w.Bench()
    return bench.ask(w.request(1))


@dataclass
class Life:
    """One agent that lives long; each request is decided at once, by what a real decision was."""

    bench: w.Bench = field(default_factory=lambda: w.Bench(control=w.shared_control()))
    number: int = 0
    offset: int = -1

    def ask(self, **changes: Any) -> int:
        self.number += 1
        request = w.request(self.number, **changes)
        record = self._record()
        fold = self.bench.fold
        fold.read(record, request)
        fold.apply_request(record, request)
        core = replace(
            TEMPLATE, request_offset=record.offset, request_id=request.request_id,
            verdict=Verdict.ALLOW,
        )  # fmt: skip
        decided = record._replace(topic="ag.decisions", offset=record.offset)
        fold.apply_decision(decided, None, core, is_own=True)
        return record.offset

    def put(self, value: Any) -> None:
        record = self._record()
        self.bench.fold.read(record, value)
        self.bench.fold.apply_request(record, value)

    def _record(self) -> LogRecord:
        """The next record; what it weighs on the log is not what is looked at here."""
        self.offset += 1
        return LogRecord(Topic.REQUESTS, 0, self.offset, w.KEY, b"%d" % self.offset, 0)

    @property
    def state(self) -> AgentState:
        return self.bench.fold.agent(w.TENANT, w.AGENT)


TEMPLATE = template()


def new_sessions(life: Life, n: int) -> None:
    life.ask(session_id=f"session-{n}" + "s" * 180)


def new_producers(life: Life, n: int) -> None:
    life.ask(producer=f"door-{n}", idempotency_tag=n.to_bytes(32, "big"), body_tag=bytes(32))


def new_tools(life: Life, n: int) -> None:
    offset = life.ask(tool=f"tool-{n}")
    life.put(w.outcome(n, "x", tool=f"tool-{n}", request_offset=offset))


def new_parameters(life: Life, n: int) -> None:
    life.ask(parameters={"name": str(n)}, body_tag=n.to_bytes(32, "big"))


def small_outputs(life: Life, n: int) -> None:
    life.put(w.outcome(n, f"{n}", session_id=f"s{n % 3}"))


def big_outputs(life: Life, n: int) -> None:
    life.put(w.outcome(n, f"{n}" + "é" * 4_000, session_id=f"s{n % 40}"))
    life.ask(session_id=f"s{n % 50}", outcome_refs=(_ref(n), _ref(n - 1), _ref(n + 1)))


def open_chunks(life: Life, n: int) -> None:
    life.number += 1
    life.put(
        Chunk(
            cluster=w.CLUSTER, mode=Mode.LIVE, producer="gateway-1", epoch=1, sequence=life.number,
            control_offset=0, tenant=w.TENANT, agent_id=w.AGENT, id=(n // 2).to_bytes(16, "big"),
            index=n % 3, count=22 if n % 5 else 10**6, body=bytes(bounds.CHUNK_BYTES_MAX),
        )
    )  # fmt: skip


def redeems(life: Life, n: int) -> None:
    life.number += 1
    life.put(
        Redeem(
            cluster=w.CLUSTER, mode=Mode.LIVE, producer=f"tokens-{n}", epoch=1,
            sequence=life.number, control_offset=0, tenant=w.TENANT, agent_id=w.AGENT,
            request_partition=0, request_offset=n, purpose=RedeemPurpose.CALL,
            section_commitment=bytes(32), redeemer="r",
        )
    )  # fmt: skip


def _ref(n: int) -> OutcomeRef:
    return OutcomeRef(id=(n % 2**32).to_bytes(16, "big"), trust=Trust.UNTRUSTED)


KINDS: tuple[Callable[[Life, int], None], ...] = (
    new_sessions, new_producers, new_tools, new_parameters, small_outputs, big_outputs,
    open_chunks, redeems,
)  # fmt: skip


def weight(value: object, seen: set[int]) -> int:
    """The bytes of everything that an object holds, each counted once."""
    if id(value) in seen or isinstance(value, (type, Callable)):  # type: ignore[arg-type]
        return 0
    seen.add(id(value))
    total = sys.getsizeof(value)
    if isinstance(value, dict):
        return total + sum(weight(k, seen) + weight(v, seen) for k, v in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return total + sum(weight(item, seen) for item in value)
    names = [n for kind in type(value).__mro__ for n in getattr(kind, "__slots__", ())]
    return total + sum(weight(getattr(value, n, None), seen) for n in names if n[:2] != "__")


@given(
    kind=st.sampled_from(KINDS),
    beside=st.sampled_from(KINDS),
    count=st.sampled_from([3, 3, 40, 40, 140, 270]),
    start=st.integers(0, 10**6),
)
def test_what_is_remembered_of_an_agent_stays_under_its_bounds(
    kind: Callable[[Life, int], None], beside: Callable[[Life, int], None], count: int, start: int
) -> None:
    life = Life()
    for n in range(start, start + count):
        kind(life, n)
        if n % 4 == 0:
            beside(life, n)
    state = life.state
    assert len(state.sessions) <= bounds.SESSIONS_PER_AGENT_MAX
    assert len(state.outputs) <= bounds.OUTPUTS_PER_AGENT_MAX
    assert len(state.tags) <= bounds.IDEMPOTENCY_TAGS_PER_AGENT_MAX
    assert len(state.producers) <= bounds.PRODUCERS_PER_AGENT_MAX
    assert len(state.calls) <= bounds.CALLS_REMEMBERED_PER_AGENT_MAX
    assert len(state.repeats._counts) <= bounds.REPEATS_PER_AGENT_MAX
    assert sum(o.size for o in state.outputs.values()) <= bounds.EVIDENCE_PER_AGENT_BYTES_MAX
    for session in state.sessions.values():
        mine = [o.size for o in state.outputs.values() if o.session is session]
        assert sum(mine) <= bounds.EVIDENCE_PER_SESSION_BYTES_MAX
        assert len(session.seen) <= bounds.SEEN_TOOLS_MAX
        assert len(session.borrowed) <= bounds.OUTPUTS_PER_AGENT_MAX
    sets = state.chunks._sets
    assert len(sets) <= bounds.OPEN_CHUNK_SETS_PER_AGENT_MAX
    held = sum(len(part) for parts in sets.values() for part in parts.values())
    assert held <= bounds.OPEN_CHUNK_BYTES_PER_AGENT_MAX
    state.chunks = ChunkSets()
    assert weight(state, set()) <= STATE_BYTES_MAX
    assert isinstance(state.repeats, Repeats)
