"""The grant of an allowed call."""

import json
from dataclasses import replace

from agentguard.bounds import GRANT_MS_MAX
from agentguard.contracts.records import Grant
from agentguard.tokens.grant import make_grant
from tests import worlds as w

MAIL = w.tools()[2]


def grant(**changes: object) -> Grant | None:
    return make_grant(
        w.request(7, tool=MAIL.tool, **changes),
        MAIL,
        place=(3, 41),
        scopes=("mail.send:send",),
        commitment=bytes(32),
        policy_version="1@00",
    )


def test_grant_opens_one_tool_at_one_resource_once() -> None:
    made = grant()
    assert made is not None
    [details] = json.loads(made.authorization_details)
    assert details == {
        "actions": ["execute"],
        "identifier": "mail.send",
        "locations": ["https://mail.example/api"],
        "params_commitment": "sha-256:" + "A" * 43,
        "policy_version": "1@00",
        "privileges": ["mail.send:send"],
        "request": "3/41",
        "request_id": (7).to_bytes(16, "big").hex(),
        "type": "urn:agentguard:tool_call",
        "uses": 1,
    }


def test_grants_life_is_counted_from_acceptance() -> None:
    made = grant(accepted_at_ms=w.NOW - 5_000)
    assert made is not None
    assert made.expires_at_ms == w.NOW - 5_000 + GRANT_MS_MAX


def test_nothing_is_granted_without_a_secret_or_a_protected_resource() -> None:
    assert grant(secret_hash=None) is None
    tool = replace(MAIL, resource="")
    assert (
        make_grant(
            w.request(1), tool, place=(0, 0), scopes=(), commitment=bytes(32), policy_version=""
        )
        is None
    )


def test_details_are_written_in_key_order() -> None:
    made = grant()
    assert made is not None
    [details] = json.loads(made.authorization_details)
    assert list(details) == sorted(details)
