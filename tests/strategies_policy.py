# SPDX-License-Identifier: Apache-2.0
"""Generated policy inputs: every word of the closed vocabulary, numbers around every bound."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from agentguard.contracts.commands import Attestation
from agentguard.contracts.facts import Instructor, Origin
from agentguard.contracts.records import ClassificationSource, Verdict, Voucher
from agentguard.policy import document as d
from agentguard.policy.normalise import AddressClass

# quotes, escapes, markers of engines and placeholders of scopes, in names and values alike
HOSTILE = st.sampled_from(
    ("a", 'x"y', "a\\b", "{tool}", "{operation}:x", "__entity", "é\u200b", "a b", "\n", "${x}", "ß")
)
NAME = st.one_of(HOSTILE, st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8))
WORD = st.one_of(st.just(""), NAME)
WORDS = st.lists(WORD, max_size=3).map(tuple)
COUNT = st.sampled_from((0, 1, 599, 600, 601, d.INTEGER_MAX))
FLAG = st.booleans()
MOSTLY_FALSE = st.sampled_from((False, False, False, True))

TENANT = st.sampled_from(("acme", "acme", "acme", "other"))


def classifications() -> st.SearchStrategy[d.ClassificationFacts]:
    return st.builds(
        lambda risk, rest: d.ClassificationFacts(risk=risk, risk_ord=d.RISK_ORDINALS[risk], **rest),
        st.sampled_from(("low", "low", "medium", "high", "critical")),
        st.fixed_dictionaries(
            {
                "confidence_bp": st.sampled_from((0, 1, 9_999, 10_000)),
                "intent": WORD,
                "model": WORD,
                "recommended": st.sampled_from(Verdict),
                "source": st.sampled_from(ClassificationSource),
            }
        ),
    )


def provenances() -> st.SearchStrategy[d.ProvenanceFacts]:
    return st.builds(
        lambda decisive, rest: d.ProvenanceFacts(
            decisive=decisive, decisive_ord=d.ORIGIN_ORDINALS[decisive], **rest
        ),
        st.sampled_from(Origin),
        st.fixed_dictionaries(
            {
                "asked_by_task": FLAG,
                "decisive_addressed": MOSTLY_FALSE,
                "incomplete": FLAG,
                "instructed_by": st.sampled_from(Instructor),
                "source_named_by_task": FLAG,
            }
        ),
    )


def facts() -> st.SearchStrategy[d.Facts]:
    return st.builds(
        d.Facts,
        amount_minor=COUNT,
        commands=WORDS,
        currency=WORD,
        destination=st.sampled_from(get_args(AddressClass)),
        has_secret=FLAG,
        hosts=WORDS,
        paths=WORDS,
        recipient_domains=WORDS,
        recipients=WORDS,
        tables=WORDS,
    )


def histories() -> st.SearchStrategy[d.History]:
    return st.builds(
        d.History,
        calls_1m=st.sampled_from((0, 1, 599, 600, 600, 601)),
        calls_session=COUNT,
        denies_1h=COUNT,
        incomplete=MOSTLY_FALSE,
        inflight=COUNT,
        repeats_10m=COUNT,
        seen=WORDS,
        sensitive_read=FLAG,
        spend_day_minor=COUNT,
        untrusted_read=FLAG,
    )


def contexts() -> st.SearchStrategy[d.Context]:
    return st.builds(
        d.Context,
        approval=st.builds(
            d.Approval,
            by=WORD,
            expires=COUNT,
            state=st.sampled_from(("none", "none", "approved", "refused")),
        ),
        classification=classifications(),
        controls=st.builds(d.Controls, kill_switch=MOSTLY_FALSE, override=FLAG),
        env=WORD,
        facts=facts(),
        history=histories(),
        hour=st.integers(0, 23),
        provenance=provenances(),
        request_id=WORD,
        session_id=WORD,
        task_voucher=st.sampled_from(Voucher),
        time=COUNT,
        token=st.builds(d.Token, active=FLAG, audience_ok=FLAG, present=FLAG, scopes=WORDS),
        weekday=st.integers(1, 7),
    )


def documents() -> st.SearchStrategy[d.Document]:
    """Returns valid policy inputs."""
    return st.builds(
        d.Document,
        action=st.builds(
            d.Action,
            name=NAME,
            properties=st.builds(
                d.ActionProperties,
                categories=WORDS,
                operation=NAME,
                registered=st.sampled_from((True, True, True, False)),
                side_effect=st.sampled_from(get_args(d.EffectWord)),
                tool_version=WORD,
            ),
        ),
        context=contexts(),
        resource=st.builds(
            d.Resource,
            id=NAME,
            properties=st.builds(d.ResourceProperties, protected=FLAG, server=WORD, tenant=TENANT),
            type=st.just("tool"),
        ),
        schema=st.just(d.INPUT_SCHEMA),
        subject=st.builds(
            d.Subject,
            id=NAME,
            properties=st.builds(
                d.SubjectProperties,
                attestation=st.sampled_from(Attestation),
                capabilities=WORDS,
                delegation_depth=st.integers(0, 3),
                on_behalf_of=st.builds(d.User, id=WORD, type=st.sampled_from(("none", "user"))),
                owner=WORD,
                risk_profile=WORD,
                roles=WORDS,
                tenant=st.just("acme"),
                version=WORD,
            ),
            type=st.just("agent"),
        ),
    )
