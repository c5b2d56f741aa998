"""Any process is killed under traffic: nothing acknowledged is lost, and no allow is made up."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from agentguard.contracts.records import Deliveries, Enforcement, Verdict
from tests.faults.evidence import (
    Ledger,
    assert_dense,
    assert_sealed,
    assert_stored,
    decided_ledger,
    decoded,
)
from tests.faults.sender import ANSWER_S_MAX, DEADLINE_MS, Entry, Sender, is_decided
from tests.faults.world import World, until

pytestmark = [pytest.mark.platform, pytest.mark.slow, pytest.mark.timeout(400)]

PER_SECOND = 50
# decided again after a kill: so many requests that were sent after it
FLOWS = 25
# a bound of waiting only: an idle machine needs 8 s after a broker, a crowded one 35 s
FLOW_S_MAX = 120.0
KILLED = ("decide", "seal", "store", "gateway", "broker", "decide")
PERMITTING = ("allow", "transform")
# answers whose basis is no decision, each with its own status
AT_GATEWAY = {503: {"unreachable", "not_ready", "control_stale"}, 504: {"deadline"}}


@pytest.fixture(scope="module")
def journal(world: World) -> list[Entry]:
    """What the callers got while every process was killed once, the lane twice."""
    with Sender(world, per_second=PER_SECOND) as sender:
        until(lambda: sender.decided_since(0) >= FLOWS, what="decisions flow")
        for name in KILLED:
            killed = world.kill(name)
            moment_s = time.monotonic()
            world.wait_restarted(name, killed)
            until(
                lambda since=moment_s: sender.decided_since(since) >= FLOWS,  # type: ignore[misc]
                wait_s=FLOW_S_MAX,
                what=f"decisions flow again after {name} was killed",
            )
    world.wait_ready()
    return sender.journal


@pytest.fixture(scope="module")
def ledger(world: World, journal: list[Entry]) -> Ledger:
    assert journal
    return decided_ledger(world)


def test_every_caller_was_answered_within_its_deadline_or_saw_its_connection_end(
    journal: list[Entry],
) -> None:
    assert not [e for e in journal if e.error == "no answer"]
    late = [e for e in journal if e.took_s > ANSWER_S_MAX]
    assert not late, f"deadline {DEADLINE_MS} ms: {late[:3]}"


def test_an_answer_without_a_decision_says_deny_with_its_own_status(journal: list[Entry]) -> None:
    for entry in journal:
        if entry.answer and not is_decided(entry):
            assert entry.action == "deny", entry
            codes = {"lane_failure"} if entry.status == 200 else AT_GATEWAY[entry.status]
            assert entry.answer["code"] in codes, entry
            assert "grant" not in entry.answer


def test_offsets_are_dense_and_every_request_has_exactly_one_effective_decision(
    ledger: Ledger,
) -> None:
    assert_dense(ledger.topics)
    assert ledger.undecided() == []
    assert set(ledger.effective) == set(ledger.asked)


def test_every_answered_request_lies_on_the_log_once_with_the_verdict_that_was_told(
    journal: list[Entry], ledger: Ledger
) -> None:
    for entry in journal:
        if not is_decided(entry):
            continue
        places = ledger.of_request(bytes.fromhex(entry.answer["requestId"].replace("-", "")))
        assert len(places) == 1, entry
        found = ledger.effective[places[0]]
        told = entry.answer["auditMetadata"]
        assert (told["partition"], told["offset"]) == places[0]
        assert told["decisionOffset"] == found.offset
        assert entry.action == found.core.verdict.value
        assert entry.answer["code"] == found.core.codes[0]


def test_a_tool_that_nobody_registered_was_never_allowed(
    journal: list[Entry], ledger: Ledger
) -> None:
    assert not [e for e in journal if e.tool == "no.such.tool" and e.action in PERMITTING]
    for place, found in ledger.effective.items():
        request = ledger.asked[place].request
        if request is not None and request.tool == "no.such.tool":
            assert found.core.verdict is Verdict.DENY


def test_deliveries_name_only_effective_decisions_and_no_request_was_also_given_back(
    ledger: Ledger,
) -> None:
    delivered: dict[tuple[int, int], str] = {}
    given_back: set[bytes | None] = set()
    for number, records in enumerate(ledger.topics["ag.requests"]):
        for record in records:
            body = decoded(record.value)
            if isinstance(body, Deliveries):
                for item in body.items:
                    place = (number, item.request_offset)
                    assert item.decision_offset == ledger.effective[place].offset
                    delivered[place] = item.action.value
            elif isinstance(body, Enforcement) and body.code.value == "not_delivered":
                given_back.add(body.request_id)
    assert delivered
    for place in delivered:
        request = ledger.asked[place].request
        assert request is not None
        assert request.request_id not in given_back


def test_every_offset_of_every_sealed_topic_ends_under_a_checkpoint(
    world: World, ledger: Ledger
) -> None:
    assert_sealed(world)


def test_the_store_holds_every_record_exactly_once(world: World, ledger: Ledger) -> None:
    assert_stored(world)


def test_the_store_calls_effective_what_the_log_does(world: World, ledger: Ledger) -> None:
    rows = world.sql("SELECT source_partition, source_offset, offset FROM agentguard.decisions")
    held = {(int(p), int(n)): int(offset) for p, n, offset in rows}
    assert len(held) == len(rows)
    told = {place: found.offset for place, found in ledger.effective.items()}
    assert told.items() <= held.items()


def test_the_exported_trail_verifies_offline(world: World, ledger: Ledger, tmp_path: Path) -> None:
    done = world.live.run("audit", "export", str(tmp_path / "trail"), "--json")
    assert done.returncode == 0, done.stderr
    digest = json.loads(done.stdout)["genesisDigest"]
    assert digest == world.platform.genesis_digest
    done = world.live.run("verify", str(tmp_path / "trail"), "--genesis", digest, "--json")
    assert done.returncode in (0, 3), done.stdout
    assert "tampered" not in done.stdout.lower()
