"""Bodies in parts."""

from hashlib import sha256

from agentguard.bounds import OPEN_CHUNK_SETS_PER_AGENT_MAX
from agentguard.contracts.records import Chunk, ChunkSet, Mode, Section, SectionName
from agentguard.session.chunks import ChunkSets
from tests import worlds as w


def chunk(set_id: int, index: int, count: int, body: bytes) -> Chunk:
    return Chunk(
        cluster=w.CLUSTER, mode=Mode.LIVE, producer="g", epoch=1, sequence=index, control_offset=0,
        tenant=w.TENANT, agent_id=w.AGENT, id=set_id.to_bytes(16, "big"), index=index, count=count,
        body=body,
    )  # fmt: skip


def naming(set_id: int, count: int, size: int, digest: bytes | None = None) -> Section:
    chunks = ChunkSet(id=set_id.to_bytes(16, "big"), count=count, size=size, sha256=digest)
    return Section(
        name=SectionName.OUTPUT, commitment=bytes(32), salt=bytes(32), body=b"", chunks=chunks
    )


def test_parts_are_joined_in_order_of_their_index() -> None:
    sets = ChunkSets()
    sets.add(chunk(1, 1, 2, b"cd"))
    assert sets.body(naming(1, 2, 4)) is None
    sets.add(chunk(1, 0, 2, b"ab"))
    assert sets.body(naming(1, 2, 4)) == b"abcd"


def test_set_that_differs_from_what_its_record_says_is_missing() -> None:
    sets = ChunkSets()
    sets.add(chunk(1, 0, 1, b"ab"))
    assert sets.body(naming(1, 2, 2)) is None
    assert sets.body(naming(1, 1, 3)) is None
    assert sets.body(naming(1, 1, 2, sha256(b"xx").digest())) is None
    assert sets.body(naming(1, 1, 2, sha256(b"ab").digest())) == b"ab"


def test_ninth_open_set_pushes_out_the_oldest() -> None:
    sets = ChunkSets()
    for number in range(OPEN_CHUNK_SETS_PER_AGENT_MAX + 1):
        sets.add(chunk(number, 0, 1, b"x"))
    assert sets.body(naming(0, 1, 1)) is None
    assert sets.body(naming(1, 1, 1)) == b"x"


def test_bytes_of_open_sets_are_bounded() -> None:
    sets = ChunkSets()
    for number in range(3):
        for index in range(20):
            sets.add(chunk(number, index, 20, bytes(48_000)))
    assert sets.body(naming(0, 20, 960_000)) is None
    assert sets.body(naming(2, 20, 960_000)) is not None


def test_part_outside_its_own_count_is_ignored() -> None:
    sets = ChunkSets()
    sets.add(chunk(1, 2, 2, b"x"))
    sets.add(chunk(1, 0, 100_000, b"x"))
    assert sets.snapshot() == []


def test_second_part_of_the_same_index_is_ignored() -> None:
    sets = ChunkSets()
    sets.add(chunk(1, 0, 1, b"first"))
    sets.add(chunk(1, 0, 1, b"other"))
    assert sets.body(naming(1, 1, 5)) == b"first"


def test_used_set_is_forgotten() -> None:
    sets = ChunkSets()
    sets.add(chunk(1, 0, 1, b"x"))
    sets.close(naming(1, 1, 1))
    assert sets.snapshot() == []


def test_set_whose_parts_are_not_the_first_ones_is_missing() -> None:
    sets = ChunkSets()
    sets.add(chunk(1, 1, 2, b"x"))
    assert sets.body(naming(1, 1, 1)) is None
