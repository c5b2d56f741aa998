"""What the state says about an agent's past, pending calls counted where that restricts."""

from __future__ import annotations

from dataclasses import replace

from agentguard.bounds import (
    EVIDENCE_PER_SESSION_BYTES_MAX,
    OUTPUTS_PER_AGENT_MAX,
    SEEN_TOOLS_MAX,
    SESSIONS_PER_AGENT_MAX,
    TAINT_MS,
)
from agentguard.contracts.facts import HistoryFacts, Origin
from agentguard.contracts.records import (
    Deliveries,
    Delivery,
    Enforcement,
    EnforcementCode,
    Mode,
    OutcomeRef,
    Redeem,
    RedeemPurpose,
    Trust,
    Verdict,
    Voucher,
)
from agentguard.decision.classify import pricing_under
from agentguard.session.agent import AgentState
from agentguard.session.history import Evidence, evidence, history
from tests import worlds as w
from tests.worlds import Bench, outcome, request

PAY = {"payee": "ACME Ltd", "amount": 12.5, "currency": "EUR"}
PAY_TASK = "Pay 12.5 EUR to ACME Ltd"


def pay(sequence: int, **changes: object) -> object:
    return request(sequence, tool="bank.pay", parameters=PAY, task=PAY_TASK, **changes)


def state(bench: Bench) -> AgentState:
    return bench.fold.agent(w.TENANT, w.AGENT)


def seen_by(bench: Bench, session: str = "s1", refs: tuple[OutcomeRef, ...] = ()) -> Evidence:
    return evidence(state(bench), session, refs)


def past(bench: Bench, session: str = "s1", now_ms: int = w.NOW, **changes: object) -> HistoryFacts:
    return history(
        state(bench),
        request(9_999, session_id=session, accepted_at_ms=now_ms, **changes),
        seen=seen_by(bench, session),
        now_ms=now_ms,
        pricing=pricing_under(bench.control, w.TENANT),
    )


def not_delivered(sequence: int, of: int, offset: int | None, epoch: int = 1) -> Enforcement:
    return Enforcement(
        cluster=w.CLUSTER, mode=Mode.LIVE, producer="gateway-1", epoch=epoch, sequence=sequence,
        control_offset=0, tenant=w.TENANT, agent_id=w.AGENT, code=EnforcementCode.NOT_DELIVERED,
        reason="deadline", count=1, window_ms=0, reported_at_ms=w.NOW, sequences=(),
        request_id=of.to_bytes(16, "big"), request_offset=offset,
    )  # fmt: skip


def delivered(sequence: int, offset: int) -> Deliveries:
    return Deliveries(
        cluster=w.CLUSTER, mode=Mode.LIVE, producer="gateway-1", epoch=1, sequence=sequence,
        control_offset=0, tenant=w.TENANT,
        items=(Delivery(request_offset=offset, decision_offset=0, action=Verdict.ALLOW),),
    )  # fmt: skip


def redeem(sequence: int, offset: int) -> Redeem:
    return Redeem(
        cluster=w.CLUSTER, mode=Mode.LIVE, producer="tokens-1", epoch=1, sequence=sequence,
        control_offset=0, tenant=w.TENANT, agent_id=w.AGENT, request_partition=0,
        request_offset=offset, purpose=RedeemPurpose.CALL, section_commitment=bytes(32),
        redeemer="bank",
    )  # fmt: skip


def test_pending_call_counts_as_executed_where_that_restricts() -> None:
    bench = Bench()
    bench.ask(pay(1))
    facts = past(bench)
    assert (facts.calls_1m, facts.inflight, facts.spend_day_minor) == (1, 1, 1_250)
    assert facts.denies_1h == 1
    assert facts.sensitive_read
    assert facts.untrusted_read


def test_pending_call_permits_nothing() -> None:
    bench = Bench()
    bench.ask(request(1))
    assert past(bench).seen == ()


def test_effective_allow_is_charged_and_a_denial_gives_back() -> None:
    bench = Bench()
    allowed = bench.decide(pay(1))
    assert allowed.verdict is Verdict.ALLOW, allowed.codes
    facts = past(bench)
    assert (facts.calls_1m, facts.spend_day_minor, facts.inflight) == (1, 1_250, 0)
    denied = bench.decide(request(2, tool="nothing.known"))
    assert denied.verdict is Verdict.DENY
    facts = past(bench)
    assert (facts.calls_1m, facts.denies_1h) == (1, 1)


def test_state_never_holds_a_verdict_before_it_was_read_back() -> None:
    bench = Bench()
    core = bench.ask(pay(1))
    assert core.verdict is Verdict.ALLOW
    before = past(bench)
    bench.read_back(bench.write(core))
    after = past(bench)
    assert (before.inflight, after.inflight) == (1, 0)
    assert before.denies_1h == 1
    assert after.denies_1h == 0


def test_windows_end_at_the_decisions_own_time() -> None:
    bench = Bench()
    bench.decide(pay(1))
    assert past(bench, now_ms=w.NOW + 59_000).calls_1m == 1
    assert past(bench, now_ms=w.NOW + 61_001).calls_1m == 0
    assert past(bench, now_ms=w.NOW + 3_600_000).spend_day_minor == 1_250


def test_dry_run_never_counts() -> None:
    bench = Bench()
    bench.ask(pay(1, dry_run=True))
    assert past(bench) == HistoryFacts()
    bench.decide(pay(2, dry_run=True))
    assert past(bench) == HistoryFacts()


def test_answer_that_was_not_delivered_gives_back_what_was_charged() -> None:
    bench = Bench()
    bench.decide(pay(1))
    bench.put(not_delivered(2, 1, None))
    facts = past(bench)
    assert (facts.calls_1m, facts.calls_session, facts.spend_day_minor) == (0, 0, 0)
    assert not facts.sensitive_read


def test_delivery_bars_giving_back() -> None:
    bench = Bench()
    bench.decide(pay(1))
    bench.put(delivered(2, 0), key=None)
    bench.put(not_delivered(3, 1, 0))
    assert past(bench).calls_1m == 1


def test_redeem_bars_giving_back() -> None:
    bench = Bench()
    bench.decide(pay(1))
    bench.put(redeem(1, 0))
    bench.put(not_delivered(3, 1, 0))
    assert past(bench).calls_1m == 1


def test_only_the_requests_own_door_and_epoch_gives_back() -> None:
    bench = Bench()
    bench.decide(pay(1))
    bench.put(not_delivered(2, 1, 0, epoch=2))
    bench.put(not_delivered(2, 7, 0))
    assert past(bench).calls_1m == 1


def test_giving_back_twice_takes_back_once() -> None:
    bench = Bench()
    bench.decide(pay(1))
    bench.decide(pay(2))
    bench.put(not_delivered(3, 1, 0))
    bench.put(not_delivered(4, 1, 0))
    assert past(bench).calls_1m == 1


def test_tool_counts_as_seen_only_after_its_allowed_call_was_delivered_or_answered() -> None:
    bench = Bench()
    bench.decide(request(1))
    assert past(bench).seen == ()
    bench.put(delivered(2, 0), key=None)
    assert past(bench).seen == ("notes.read",)


def test_denied_calls_output_makes_no_tool_seen() -> None:
    bench = Bench()
    bench.decide(request(1, tool="nothing.known"))
    bench.put(outcome(2, "text", tool="nothing.known", request_offset=0))
    assert past(bench).seen == ()


def test_output_has_its_label_where_it_answers_an_allowed_call_of_its_tool() -> None:
    bench = Bench()
    bench.decide(request(1))
    bench.put(outcome(2, "plan", tool="notes.read", request_offset=0, registry_label=Trust.TRUSTED))
    assert [s.origin for s in seen_by(bench).sources] == [Origin.TRUSTED]
    assert not past(bench).untrusted_read


def test_output_that_answers_nothing_or_another_tool_is_untrusted() -> None:
    bench = Bench()
    bench.decide(request(1))
    trusted = Trust.TRUSTED
    bench.put(outcome(2, "a", tool="web.read", request_offset=0, registry_label=trusted))
    bench.put(outcome(3, "b", tool="notes.read", registry_label=trusted))
    bench.put(outcome(4, "c", tool="notes.read", request_offset=77, registry_label=trusted))
    assert {s.origin for s in seen_by(bench).sources} == {Origin.UNTRUSTED}
    assert past(bench).untrusted_read


def test_second_output_for_one_call_is_untrusted() -> None:
    bench = Bench()
    bench.decide(request(1))
    for number in (2, 3):
        bench.put(
            outcome(number, "x", tool="notes.read", request_offset=0, registry_label=Trust.TRUSTED)
        )
    assert [s.origin for s in seen_by(bench).sources] == [Origin.TRUSTED, Origin.UNTRUSTED]


def test_output_of_a_call_that_is_not_decided_yet_is_untrusted_until_it_is_allowed() -> None:
    bench = Bench()
    core = bench.ask(request(1))
    bench.put(outcome(2, "x", tool="notes.read", request_offset=0, registry_label=Trust.TRUSTED))
    assert seen_by(bench).sources[0].origin is Origin.UNTRUSTED
    assert past(bench, "s2").untrusted_read
    bench.read_back(bench.write(core))
    assert seen_by(bench).sources[0].origin is Origin.TRUSTED
    assert not past(bench).untrusted_read
    assert not past(bench, "s2").untrusted_read


def test_vouched_output_has_its_registry_label() -> None:
    bench = Bench()
    bench.put(outcome(1, "x", registry_label=Trust.TRUSTED, voucher=Voucher.SDK))
    bench.put(outcome(2, "y", registry_label=Trust.UNTRUSTED, voucher=Voucher.SDK))
    assert [s.origin for s in seen_by(bench).sources] == [Origin.TRUSTED, Origin.UNTRUSTED]


def test_caller_may_lower_trust_and_never_raise_it() -> None:
    bench = Bench()
    bench.put(outcome(1, "x", registry_label=Trust.TRUSTED, voucher=Voucher.SDK))
    bench.put(outcome(2, "y"))
    refs = (
        OutcomeRef(id=(1).to_bytes(16, "big"), trust=Trust.UNTRUSTED),
        OutcomeRef(id=(2).to_bytes(16, "big"), trust=Trust.TRUSTED),
    )
    assert {s.origin for s in seen_by(bench, refs=refs).sources} == {Origin.UNTRUSTED}
    bench.decide(request(3, outcome_refs=refs[:1]))
    assert seen_by(bench).sources[0].origin is Origin.UNTRUSTED


def test_known_outputs_of_the_session_are_there_whether_listed_or_not() -> None:
    bench = Bench()
    bench.put(outcome(1, "mine"))
    bench.put(outcome(2, "other", session_id="s2"))
    assert [s.text for s in seen_by(bench).sources] == ["mine"]
    ref = OutcomeRef(id=(2).to_bytes(16, "big"), trust=Trust.UNKNOWN)
    assert [s.text for s in seen_by(bench, refs=(ref,)).sources] == ["mine", "other"]


def test_output_borrowed_from_another_session_stays_with_its_borrower() -> None:
    bench = Bench()
    bench.put(outcome(2, "other", session_id="s2"))
    ref = OutcomeRef(id=(2).to_bytes(16, "big"), trust=Trust.UNKNOWN)
    bench.decide(request(3, outcome_refs=(ref,)))
    assert [s.text for s in seen_by(bench).sources] == ["other"]
    assert past(bench).untrusted_read


def test_unknown_output_makes_history_incomplete_for_good() -> None:
    bench = Bench()
    ref = OutcomeRef(id=bytes(16), trust=Trust.UNKNOWN)
    assert seen_by(bench, refs=(ref,)).is_incomplete
    bench.decide(request(1, outcome_refs=(ref,)))
    assert past(bench).incomplete


def test_new_session_inherits_taint_for_an_hour_and_an_old_one_does_not() -> None:
    bench = Bench()
    bench.decide(request(1, session_id="before"))
    bench.put(outcome(2, "untrusted", session_id="s1"))
    assert not past(bench, "before").untrusted_read
    assert past(bench, "new").untrusted_read
    late = w.NOW + TAINT_MS
    assert not past(bench, "new", now_ms=late).untrusted_read
    bench.clock_ms = late
    bench.decide(request(3, session_id="new", accepted_at_ms=late - 1, deadline_ms=late + 1_000))
    assert past(bench, "new", now_ms=late + TAINT_MS).untrusted_read


def test_evidence_of_a_session_is_bounded_and_what_was_cut_is_said() -> None:
    bench = Bench()
    size = EVIDENCE_PER_SESSION_BYTES_MAX // 2
    for number in range(1, 4):
        bench.put(outcome(number, str(number) * size))
    kept = seen_by(bench)
    assert [s.text[0] for s in kept.sources] == ["2", "3"]
    assert kept.is_incomplete
    bench.put(outcome(9, "x" * (EVIDENCE_PER_SESSION_BYTES_MAX + 1), session_id="s2"))
    assert seen_by(bench, "s2").is_incomplete
    assert len(seen_by(bench, "s2").sources[0].text) == EVIDENCE_PER_SESSION_BYTES_MAX


def test_evidence_of_an_agent_is_bounded_over_its_sessions() -> None:
    bench = Bench()
    for number in range(1, 4):
        bench.put(outcome(number, "x" * EVIDENCE_PER_SESSION_BYTES_MAX, session_id=f"s{number}"))
    assert seen_by(bench, "s1") == Evidence((), True, False)
    assert len(seen_by(bench, "s3").sources) == 1
    for number in range(10, 10 + OUTPUTS_PER_AGENT_MAX + 5):
        bench.put(outcome(number, "", session_id="empty"))
    assert len(state(bench).outputs) == OUTPUTS_PER_AGENT_MAX


def test_sessions_are_bounded_and_the_least_recently_used_gives_way() -> None:
    bench = Bench()
    bench.put(outcome(1, "x", session_id="first"))
    for number in range(2, SESSIONS_PER_AGENT_MAX + 2):
        bench.put(outcome(number, "x", session_id=f"s{number}"))
    assert "first" not in state(bench).sessions
    assert len(state(bench).sessions) == SESSIONS_PER_AGENT_MAX
    assert all(o.session.id != "first" for o in state(bench).outputs.values())


def test_seen_tools_are_bounded() -> None:
    bench = Bench()
    bench.decide(request(1))
    session = state(bench).sessions["s1"]
    for number in range(SEEN_TOOLS_MAX + 10):
        session.saw(f"t{number}", number)
    assert len(session.seen) == SEEN_TOOLS_MAX
    assert "t0" in session.seen


def test_repeats_count_the_same_body_only() -> None:
    bench = Bench()
    for number in (1, 2):
        bench.decide(request(number, body_tag=b"a" * 32))
    bench.ask(request(3, body_tag=b"a" * 32))
    assert past(bench, body_tag=b"a" * 32).repeats_10m == 3
    assert past(bench, body_tag=b"b" * 32).repeats_10m == 0
    assert past(bench).repeats_10m == 0


def test_digest_changes_with_everything_that_a_decision_could_see() -> None:
    bench = Bench()
    digests = [state(bench).digest()]
    for act in (
        lambda: bench.ask(request(1)),
        lambda: bench.read_back(bench.write(bench.ask(request(2)))),
        lambda: bench.put(outcome(3, "x")),
        lambda: bench.put(redeem(1, 0)),
        lambda: bench.put(delivered(4, 1), key=None),
    ):
        act()
        digests.append(state(bench).digest())
    assert len(set(digests)) == len(digests)


def test_delivery_after_it_was_said_not_to_be_delivered_changes_nothing() -> None:
    bench = Bench()
    core = bench.ask(request(1))
    bench.put(not_delivered(2, 1, 0))
    bench.put(delivered(3, 0), key=None)
    bench.read_back(bench.write(core))
    assert past(bench).seen == ()
    assert past(bench).calls_1m == 0


def test_other_enforcement_gives_nothing_back() -> None:
    bench = Bench()
    bench.decide(pay(1))
    bench.put(replace(not_delivered(2, 1, 0), code=EnforcementCode.DENIED_AT_GATEWAY))
    assert past(bench).calls_1m == 1


def test_delivery_of_another_door_or_tenant_is_not_believed() -> None:
    bench = Bench()
    bench.decide(request(1))
    bench.put(replace(delivered(2, 0), producer="gateway-2"), key=None)
    bench.put(replace(delivered(3, 0), tenant="other"), key=None)
    bench.put(replace(delivered(4, 0), cluster="other"), key=None)
    assert past(bench).seen == ()


def test_redeem_of_another_partition_uses_nothing_here() -> None:
    bench = Bench()
    bench.decide(pay(1))
    bench.put(replace(redeem(1, 0), request_partition=5))
    bench.put(not_delivered(3, 1, 0))
    assert past(bench).calls_1m == 0
