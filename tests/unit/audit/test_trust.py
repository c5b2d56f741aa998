# SPDX-License-Identifier: Apache-2.0
"""Policy files: what they trust, and what is refused."""

from __future__ import annotations

import pytest

from agentguard.adapters.mldsa_signer import MlDsaSigner
from agentguard.audit.note import NoteKey, verifier_key
from agentguard.audit.origins import Origin, anchors_origin, parse_origin
from agentguard.audit.trust import parse_policy, policy_text
from agentguard.contracts.errors import VerificationError

PUBLIC = [MlDsaSigner.from_seed(bytes([i]) * 32).public_key for i in range(5)]
LOG = verifier_key(NoteKey(name="a.example/agentguard/c/anchors", public_key=PUBLIC[0]))
W = [
    verifier_key(NoteKey(name=f"w{i}.example/x", public_key=PUBLIC[i])) for i in range(1, 4)
]  # fmt: skip
GROUPS = (
    f"# trust\n\n log\t{LOG}  https://a.example\nwitness w1 {W[0]}\nwitness w2 {W[1]}\n"
    f"witness w3 {W[2]}\ngroup two 2 w1 w2\ngroup both all two w3\nquorum both\n"
)


def test_key_of_the_anchor_log_vouches_for_every_tree_of_its_cluster_only() -> None:
    policy = parse_policy(policy_text("a.example", "c", PUBLIC[0]))
    for origin in ("a.example/agentguard/c/anchors", "a.example/agentguard/c/ag.requests/id/7"):
        key = policy.log_key(origin)
        assert key == NoteKey(name=origin, public_key=PUBLIC[0])
    for origin in ("a.example/agentguard/cc/ag.requests/id/7", "b.example/agentguard/c/anchors"):
        assert policy.log_key(origin) is None


def test_quorum_needs_the_witnesses_that_its_groups_name() -> None:
    policy = parse_policy(GROUPS)
    names = [f"w{i}.example/x" for i in range(1, 4)]
    assert policy.is_witnessed(names)
    for missing in range(3):
        assert not policy.is_witnessed(names[:missing] + names[missing + 1 :])
    assert not policy.is_witnessed([])
    assert parse_policy(f"log {LOG}\nquorum none\n").is_witnessed([])
    single = parse_policy(f"log {LOG}\nwitness w1 {W[0]}\nquorum w1\n")
    assert single.is_witnessed(["w1.example/x"])
    assert not single.is_witnessed(["w2.example/x"])


@pytest.mark.parametrize(
    "text",
    [
        f"log {LOG}\n",
        "quorum nobody\n",
        "quorum none\nquorum none\n",
        f"log {LOG}\nlog {LOG}\nquorum none\n",
        f"witness none {W[0]}\nquorum none\n",
        f"witness w {W[0]}\nwitness w {W[1]}\nquorum none\n",
        f"witness w {W[0]}\ngroup g 2 w\nquorum g\n",
        f"witness w {W[0]}\ngroup g 0 w\nquorum g\n",
        f"witness w {W[0]}\ngroup g x w\nquorum g\n",
        f"witness w {W[0]}\ngroup g any w\ngroup h any w\nquorum g\n",
        "group g any nobody\nquorum none\n",
        "group g any\nquorum none\n",
        "nonsense\nquorum none\n",
        "quorum none\x00\n",
        "log name+00000000+AAAA\nquorum none\n",
    ],
)
def test_policy_that_says_less_than_one_thing_is_refused(text: str) -> None:
    with pytest.raises(VerificationError) as raised:
        parse_policy(text)
    assert raised.value.finding == "POLICY"


def test_origin_reads_back_with_and_without_a_generation() -> None:
    for generation in (0, 3):
        origin = Origin("a.example", "c", "ag.requests", "t-_1", 11, generation)
        assert parse_origin(str(origin)) == origin
    assert str(Origin("d", "c", "t", "i", 0, 2)) == "d/agentguard/c/t/i/0/g2"
    assert anchors_origin("d", "c") == "d/agentguard/c/anchors"


@pytest.mark.parametrize(
    "text",
    ["", "d/agentguard/c/t/i", "d/agentguard/c/t/i/01", "d/agentguard/c/t/i/0/g0", "d/x/c/t/i/0",
     "d/agentguard/c/t/i/0/", "d/agentguard/c t/i/0", "d/agentguard/c/t/i/0\n"],
)  # fmt: skip
def test_text_that_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(VerificationError):
        parse_origin(text)
