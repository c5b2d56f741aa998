"""Writes the control log that freezes the fold of semantics 1: records, judgements, digests.

Run from the checkout's root: `python -P tests/golden/make_control_fold.py`, only when a new
semantics joins: what is written once keeps its meaning. Signatures are randomised, so they are
frozen with the records; the test makes everything that is signed again and compares it.
"""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from agentguard.contracts.commands import (  # noqa: E402
    CommandBody,
    KeyPurpose,
    NewGeneration,
    RegisterKey,
    Registration,
    ReleaseMode,
    SchemaEntry,
    SealedTopic,
    SealedTopics,
    Semantics,
    SideEffect,
    StateDigest,
    TargetKind,
    VoidDigest,
)
from agentguard.contracts.records import ControlCommand, Trust  # noqa: E402
from agentguard.control.envelope import make_command  # noqa: E402
from agentguard.control.fold import ControlFold  # noqa: E402
from tests.control_world import (  # noqa: E402
    CLUSTER,
    CODEC,
    VERIFIER,
    agent,
    digest_of,
    genesis_body,
    key,
    kill,
    lift,
    named,
    release,
    tool,
)

FILE = ROOT / "tests" / "golden" / "control_fold.json"
LATER = SchemaEntry(name="Later", fingerprint=b"\x07" * 8, sha256=b"\x08" * 32)
GENERATION = NewGeneration(
    topic="ag.requests",
    topic_id="AAAAAAAAAAAAAAAAAAAAAA",
    partition=3,
    generation=1,
    first_offset=5,
    old_size=9,
    old_root=b"\x01" * 32,
    survivors_root=b"\x02" * 32,
)


class Step(NamedTuple):
    """One command of the log, or bytes as they are."""

    body: CommandBody | bytes | None
    names: tuple[str, ...] = ()
    version: int = 0
    envelope: tuple[tuple[str, Any], ...] = ()


BOTH = ("ada", "bo")
FIRST = release(1, expires_at_ms=1_000)
SECOND = release(2, FIRST.bundle_digest)
STEPS = (
    Step(genesis_body(), BOTH),
    Step(genesis_body(), BOTH),
    Step(b"junk"),
    Step(None),
    Step(agent(status=Registration.PENDING), ("ada",)),
    Step(agent(), ("ada",), 1),
    Step(agent(), BOTH, 1),
    Step(agent("thief", credential_hash=agent().credential_hash), BOTH),
    Step(agent("other", Registration.BLOCKED), ("control",)),
    Step(agent(tenant="a|b"), BOTH),
    Step(tool(), BOTH),
    Step(tool(output_trust=Trust.TRUSTED, status=Registration.PENDING), ("ada",), 1),
    Step(tool(output_trust=Trust.TRUSTED, status=Registration.BLOCKED), ("bo",), 9),
    Step(tool("read", side_effect=SideEffect.READ, output_trust=Trust.TRUSTED), BOTH),
    Step(kill(), ("ada",), envelope=(("not_before_ms", 10), ("not_after_ms", 20))),
    Step(kill(), ("control",), envelope=(("not_before_ms", 15),)),
    Step(kill(TargetKind.SESSION, "s|1\n"), ("bo",)),
    Step(kill(TargetKind.GLOBAL, "", ""), ("stranger",)),
    Step(kill(TargetKind.AGENT, ""), ("ada",)),
    Step(lift(), ("ada",), 2),
    Step(lift(), BOTH, 1),
    Step(lift(), BOTH, 2, (("not_before_ms", 100), ("not_after_ms", 200))),
    Step(lift(target="nobody"), BOTH),
    Step(kill(), ("ada",), envelope=(("not_before_ms", 20), ("not_after_ms", 20))),
    Step(FIRST, BOTH),
    Step(FIRST, BOTH, 1),
    Step(release(2), BOTH, 1),
    Step(SECOND, BOTH, 1, (("not_before_ms", 500),)),
    Step(release(3, SECOND.bundle_digest, mode=ReleaseMode.SHADOW), BOTH, 2),
    Step(RegisterKey(key=key("cyd"), revoked=False), BOTH),
    Step(RegisterKey(key=key("bo"), revoked=True), ("cyd",), 1),
    Step(RegisterKey(key=key("cyd"), revoked=True), ("ada",), 2),
    Step(RegisterKey(key=key("sealing", KeyPurpose.SEALING), revoked=True), ("control",)),
    Step(
        SealedTopics(topics=(SealedTopic(topic="ag.requests", topic_id="id", partitions=12),)),
        ("ada", "cyd"),
    ),
    Step(Semantics(number=1, schemas=(LATER,)), ("ada", "cyd")),
    Step(Semantics(number=3, schemas=()), ("ada", "cyd"), 1),
    Step(GENERATION, ("ada", "cyd")),
    Step(StateDigest(at_offset=1_000, digest=bytes(32)), ("control",)),
    Step(VoidDigest(at_offset=1_000, reason="early"), ("ada", "cyd")),
    Step(RegisterKey(key=key("ada"), revoked=True), ("cyd", "ada"), 3),
    Step(RegisterKey(key=replace(key("cyd-2"), person="cyd"), revoked=False), ("cyd",), 4),
    Step(kill(TargetKind.TOOL, "send"), ("ada",), envelope=(("scope", "kill|tool|default|x"),)),
)


def value_of(step: Step, place: int) -> bytes | None:
    """Returns the record value of a step, newly signed."""
    if step.body is None or isinstance(step.body, bytes):
        return step.body
    return make_command(
        step.body,
        codec=CODEC,
        cluster=CLUSTER,
        signers=named(step.names),
        nonce=place.to_bytes(16, "big"),
        scope_version=step.version,
        **dict(step.envelope),
    )


def signed_part(value: bytes | None) -> bytes | None:
    """Returns what of a record does not change when it is signed again."""
    if value is None or not value.startswith(b"\xc3\x01"):
        return value
    record = CODEC.decode(value)
    assert isinstance(record, ControlCommand)
    return record.signed


def folded(values: list[bytes | None]) -> list[dict[str, Any]]:
    """Returns what the fold says of each record, and its digest after it."""
    genesis = values[0]
    assert genesis is not None
    fold = ControlFold(CODEC, VERIFIER, digest_of(genesis))
    rows = []
    for offset, value in enumerate(values):
        judgement = fold.apply(offset, value)
        rows.append(
            {
                "code": judgement.code,
                "type": judgement.type,
                "persons": list(judgement.persons),
                "chain": fold.chain.hex(),
                "digest": fold.digest().hex(),
            }
        )
    return rows


def main() -> None:
    """Writes the file."""
    values = [value_of(step, place) for place, step in enumerate(STEPS)]
    rows = [
        {"record": None if value is None else base64.b64encode(value).decode(), **row}
        for value, row in zip(values, folded(values), strict=True)
    ]
    FILE.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
