"""`infra/kafka/topics.yaml` agrees with the contracts and with itself."""

from __future__ import annotations

import pytest

from agentguard.adapters.system import SystemEntropy
from agentguard.contracts.errors import ConfigError
from agentguard.contracts.topics import SEALED_TOPICS, Topic
from agentguard.local.provision import new_passwords, read_catalogue
from agentguard.resources import resource

CATALOGUE = read_catalogue()
# Who may put a leaf on a sealed topic: the whole list.
SEALED_WRITERS = {
    Topic.REQUESTS: {"gateway", "tokens"},
    Topic.DECISIONS: {"decide"},
    Topic.SIGNALS: {"respond"},
    Topic.CONTROL: {"control"},
}
CO_PARTITIONED = (Topic.REQUESTS, Topic.DECISIONS, Topic.SIGNALS)


def test_the_topics_of_the_file_are_the_topics_of_the_contract() -> None:
    assert {topic.name for topic in CATALOGUE.topics} == {str(topic) for topic in Topic}


def test_the_sealed_topics_lose_no_record_by_time_size_or_compaction() -> None:
    sealed = [topic for topic in CATALOGUE.topics if topic.is_sealed]
    assert {topic.name for topic in sealed} == {str(topic) for topic in SEALED_TOPICS}
    for topic in sealed:
        assert topic.config["cleanup.policy"] == "delete"
        assert (topic.config["retention.ms"], topic.config["retention.bytes"]) == ("-1", "-1")


def test_topics_that_lanes_read_together_have_equal_partition_counts() -> None:
    counts = {topic.name: topic.partitions for topic in CATALOGUE.topics}
    assert {counts[topic] for topic in CO_PARTITIONED} == {12}
    assert counts[Topic.CONTROL] == 1


def test_a_power_cut_does_not_undo_an_acknowledged_kill() -> None:
    control = next(topic for topic in CATALOGUE.topics if topic.name == Topic.CONTROL)
    assert control.config["flush.messages"] == "1"


def test_every_kind_of_record_has_a_schema() -> None:
    for topic in CATALOGUE.topics:
        for record in topic.records:
            assert resource("schemas", "avro", f"{record}.avsc").is_file()


@pytest.mark.parametrize("topic", SEALED_WRITERS)
def test_a_sealed_topic_has_exactly_its_own_writers(topic: Topic) -> None:
    writers = {principal.name for principal in CATALOGUE.principals if topic in principal.write}
    assert writers == SEALED_WRITERS[topic]


def test_the_auditor_reads_everything_and_writes_nothing() -> None:
    auditor = next(p for p in CATALOGUE.principals if p.name == "auditor")
    assert set(auditor.read) == {topic.name for topic in CATALOGUE.topics}
    assert auditor.write == ()


def test_no_principal_shares_a_group_prefix_with_another() -> None:
    groups = [group for principal in CATALOGUE.principals for group in principal.groups]
    for one in groups:
        assert [other for other in groups if other.startswith(one)] == [one]
    assert all(p.groups == (p.name,) for p in CATALOGUE.principals)


def test_the_administrator_is_no_principal_of_a_process() -> None:
    assert not {"admin", "controller"} & {p.name for p in CATALOGUE.principals}


def test_every_principal_has_a_password_of_its_own() -> None:
    passwords = new_passwords(CATALOGUE, SystemEntropy())
    assert set(passwords) == {"admin", *(p.name for p in CATALOGUE.principals)}
    assert len(set(passwords.values())) == len(passwords)
    assert all(len(password) == 24 for password in passwords.values())


TOPIC = "{key: k, partitions: 1, records: [], config: {}}"
SEALED = (
    "topics: {t: {key: k, partitions: 1, sealed: true, records: [], config: {%s}}}\nprincipals: {}"
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("topics: {}\nprincipals: {p: {read: [t], write: [], groups: []}}", "names no topic"),
        (f"topics: {{t: {TOPIC}}}\nprincipals: {{}}\nmore: 1", "unknown field"),
        ("topics: {t: {key: k, partitions: x, records: [], config: {}}}\nprincipals: {}", "int"),
        (SEALED % "cleanup.policy: compact, retention.ms: -1", "would lose records"),
        (SEALED % "cleanup.policy: delete, retention.ms: 1000", "would lose records"),
        ("topics: [", "topics.yaml"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read_catalogue(text)
