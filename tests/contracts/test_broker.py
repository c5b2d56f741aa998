"""The embedded broker as it is started: who may do what, what survives, no drift from the file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import confluent_kafka as ck
import pytest

from agentguard.adapters.kafka_admin import KafkaAdmin
from agentguard.adapters.system import SystemClock, SystemEntropy
from agentguard.contracts.errors import FatalLogError, LogError
from agentguard.contracts.ports import Delivery, LogRecord, TopicPartition
from agentguard.contracts.topics import SEALED_TOPICS, Topic, murmur2, partition_of
from agentguard.local.broker import Broker, BrokerError, Jvm, new_cluster_id
from agentguard.local.folder_lock import FolderInUseError
from agentguard.local.provision import provision, read_catalogue
from agentguard.resources import resource
from tests.live_broker import LiveBroker, make_topics

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]
READS_MAX = 200


def append(live: LiveBroker, principal: str, topic: str, value: bytes = b"x") -> Delivery:
    told: list[Delivery] = []
    writer = live.log(principal).writer(principal)
    writer.append(topic, value, key=b"k", partition=0, on_delivery=told.append)
    assert writer.flush(10_000) == 0
    return told[0]


def repeat(action: Callable[[], object]) -> None:
    for _ in range(READS_MAX):
        action()


def is_alive(process_id: int) -> bool:
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"  # nobody may have waited for it yet


def read_or_raise(live: LiveBroker, principal: str, topic: str) -> list[LogRecord]:
    at = TopicPartition(topic, 0)
    reader = live.log(principal).reader({at: live.log("admin").bounds(at)[0]})
    try:
        for _ in range(READS_MAX):
            found = list(reader.read(timeout_ms=50, records_max=10))
            if found:
                return found
    finally:
        reader.close()
    raise AssertionError("nothing came and nothing was refused")


def test_every_topic_and_setting_of_the_file_is_in_force(live: LiveBroker) -> None:
    found = live.admin().topic_partitions()
    ours = {name: count for name, count in found.items() if name.startswith("ag.")}
    assert ours == {topic.name: topic.partitions for topic in live.catalogue.topics}
    assert set(ours) == {str(topic) for topic in Topic}
    settings = live.admin().topic_configs(list(ours))
    for topic in live.catalogue.topics:
        in_force = {name: settings[topic.name][name] for name in topic.config}
        assert in_force == dict(topic.config), topic.name


def test_the_permissions_in_force_are_those_of_the_file_and_no_others(live: LiveBroker) -> None:
    listed = set()
    for principal in live.catalogue.principals:
        listed |= {(principal.name, "read", "topic", topic) for topic in principal.read}
        listed |= {(principal.name, "write", "topic", topic) for topic in principal.write}
        listed |= {(principal.name, "read", "group", group) for group in principal.groups}
    assert live.admin().permissions() == listed


def test_every_principal_may_do_exactly_what_the_file_says_as_the_broker_judges_it(
    live: LiveBroker,
) -> None:
    for principal in live.catalogue.principals:
        allowed = live.admin(principal.name).may([topic.name for topic in live.catalogue.topics])
        for topic, operations in allowed.items():
            assert ("read" in operations) == (topic in principal.read), (principal.name, topic)
            assert ("write" in operations) == (topic in principal.write), (principal.name, topic)
            assert not operations & {"delete", "alter", "create", "alter_configs"}


def test_writers_write_their_topics_and_a_canary_left_no_record_there(live: LiveBroker) -> None:
    for topic, writer in ((Topic.SIGNALS, "respond"), (Topic.CONTROL, "control")):
        assert append(live, writer, topic) == Delivery(0, 0, "")


@pytest.mark.parametrize(
    ("principal", "topic"),
    [
        ("gateway", Topic.DECISIONS),  # to forge a decision
        ("gateway", Topic.CONTROL),
        ("decide", Topic.REQUESTS),
        ("decide", Topic.CONTROL),  # to lift a kill
        ("seal", Topic.DECISIONS),
        ("store", Topic.CONTROL),
        ("control", Topic.DECISIONS),
        ("respond", Topic.DECISIONS),
    ],
)
def test_a_topic_of_others_cannot_be_written(
    live: LiveBroker, principal: str, topic: Topic
) -> None:
    at = TopicPartition(topic, 0)
    before = live.log("admin").bounds(at)
    assert append(live, principal, topic) == Delivery(0, -1, "TOPIC_AUTHORIZATION_FAILED")
    assert live.log("admin").bounds(at) == before


def test_whoever_may_write_nothing_gets_no_writer_that_works(live: LiveBroker) -> None:
    with pytest.raises(FatalLogError):
        append(live, "auditor", Topic.DEAD_LETTERS)


def test_a_topic_that_is_not_granted_cannot_be_read(live: LiveBroker) -> None:
    assert append(live, "admin", Topic.REQUESTS).error == ""
    assert read_or_raise(live, "decide", Topic.REQUESTS)
    assert read_or_raise(live, "auditor", Topic.REQUESTS)
    with pytest.raises(LogError, match="AUTHORIZATION"):
        read_or_raise(live, "gateway", Topic.REQUESTS)


def test_a_member_of_a_foreign_group_is_refused(live: LiveBroker) -> None:
    member = live.log("decide").member(
        group="store", instance="one", topics=[Topic.REQUESTS], start=lambda _gained: {}
    )
    with pytest.raises(LogError, match="GROUP_AUTHORIZATION_FAILED"):
        repeat(lambda: member.read(timeout_ms=50, records_max=1))
    member.close()


@pytest.mark.parametrize("principal", ["gateway", "decide", "seal", "control"])
def test_nobody_but_the_administrator_deletes_or_creates(live: LiveBroker, principal: str) -> None:
    with pytest.raises(LogError, match="AUTHORIZATION"):
        live.admin(principal).delete_records(Topic.DECISIONS, 0, 0)
    with pytest.raises(LogError, match="AUTHORIZATION"):
        live.admin(principal).delete_topics([Topic.DECISIONS])
    with pytest.raises(LogError, match="AUTHORIZATION"):
        make_topics(live.admin(principal), "ag.mine")
    with pytest.raises(LogError, match="AUTHORIZATION"):
        live.admin(principal).grant(live.catalogue.principals)


def test_nobody_opens_a_transaction(live: LiveBroker) -> None:
    producer = ck.Producer(
        {
            "bootstrap.servers": live.broker.bootstrap,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "decide",
            "sasl.password": live.passwords["decide"],
            "transactional.id": "decide",
            "log_level": 0,
        }
    )
    with pytest.raises(ck.KafkaException, match="TRANSACTIONAL_ID_AUTHORIZATION_FAILED"):
        producer.init_transactions(10)


def test_a_wrong_password_and_an_unknown_user_are_refused(live: LiveBroker) -> None:
    for user, password in (("gateway", "wrong"), ("mallory", live.passwords["gateway"])):
        admin = KafkaAdmin(live.broker.bootstrap, username=user, password=password)
        with pytest.raises(LogError, match="user or password"):
            repeat(lambda: admin.cluster_id(0.1))  # noqa: B023


def test_a_record_too_large_for_a_proof_is_refused_and_small_ones_are_never_batched_past_it(
    live: LiveBroker,
) -> None:
    told: list[Delivery] = []
    writer = live.log("decide").writer("w")
    for _ in range(100):
        writer.append(
            Topic.DECISIONS, b"x" * 20_000, key=b"k", partition=5, on_delivery=told.append
        )
    assert writer.flush(10_000) == 0
    assert [delivery.error for delivery in told] == [""] * 100
    assert append(live, "decide", Topic.DECISIONS, b"x" * 66_000).error == "MSG_SIZE_TOO_LARGE"


def test_our_partitioner_is_the_one_of_kafkas_clients(live: LiveBroker) -> None:
    topic, count = "t.partitioner", 4
    make_topics(live.admin(), topic)
    log = live.log("admin")
    # a writer of ours always names the partition: this one lets librdkafka choose by the key
    chosen: dict[bytes, int] = {}
    producer = log.writer("w")._producer

    def note(error: object, message: ck.Message) -> None:
        assert error is None
        chosen[message.key() or b""] = message.partition() or 0

    keys = [os.urandom(n % 40 + 1) for n in range(3_000)]
    keys += [f"tenant-{n % 7}|agent-{n}".encode() for n in range(1_000)]
    for key in keys:
        producer.produce(topic, b"v", key, on_delivery=note)
    assert producer.flush(10) == 0
    assert chosen == {key: partition_of(key, count) for key in keys}
    assert murmur2(b"21") == -973_932_308 & 0xFFFFFFFF  # Kafka's own test vector


@pytest.mark.slow
def test_what_was_acknowledged_survives_kill_9_and_clients_go_on_by_themselves(
    live: LiveBroker,
) -> None:
    at = TopicPartition(Topic.SHADOW, 0)
    log = live.log("admin", delivery_timeout_ms=20_000)
    writer, told = log.writer("w"), list[Delivery]()
    reader = log.reader({at: 0})
    for number in range(500):
        writer.append(Topic.SHADOW, b"%d" % number, key=None, partition=0, on_delivery=told.append)
    while len(told) < 200:
        writer.poll()
    live.broker.kill()
    live.broker.restart()
    live.broker.wait_ready()
    assert writer.flush(20_000) == 0
    assert [delivery.error for delivery in told] == [""] * 500
    found: list[LogRecord] = []
    for _ in range(READS_MAX):
        found += reader.read(timeout_ms=100, records_max=500)
        if len(found) >= 500:
            break
    assert [record.offset for record in found] == list(range(500))
    assert [record.value for record in found] == [b"%d" % number for number in range(500)]
    reader.close()


def test_a_second_start_on_the_folder_says_who_holds_it(live: LiveBroker, jvm: Jvm) -> None:
    second = Broker(
        live.folder / "broker",
        cluster_id=new_cluster_id(SystemEntropy()),
        admin_password="p",
        jvm=jvm,
        clock=SystemClock(),
        entropy=SystemEntropy(),
    )
    with pytest.raises(FolderInUseError) as raised:
        second.start()
    assert raised.value.holder == os.getpid()


def test_provisioning_again_changes_nothing_and_takes_back_what_the_file_does_not_grant(
    live: LiveBroker, tmp_path: Path
) -> None:
    wider = read_catalogue(WIDER)
    live.admin().grant(wider.principals)
    assert live.admin().set_configs(wider.topics) == ("ag.decisions",)
    forged = ("gateway", "write", "topic", "ag.decisions")
    admin = live.admin()
    while forged not in admin.permissions():  # acknowledged before it is in force
        pass
    done = provision(
        live.broker.bootstrap,
        catalogue=live.catalogue,
        passwords=live.passwords,
        done_file=tmp_path / "provisioned",
        clock=SystemClock(),
    )
    assert (done.was_current, done.topics_created, done.permissions_revoked) == (False, (), 1)
    assert done.topics_changed == ("ag.decisions",)
    settings = live.admin().topic_configs([Topic.DECISIONS])[Topic.DECISIONS]
    assert settings["retention.ms"] == "-1"
    again = provision(
        live.broker.bootstrap,
        catalogue=live.catalogue,
        passwords=live.passwords,
        done_file=tmp_path / "provisioned",
        clock=SystemClock(),
    )
    assert again.was_current


WIDER = """
topics:
  ag.decisions:
    {key: k, partitions: 12, records: [Decision], config: {retention.ms: 86400000}}
principals:
  gateway: {read: [], write: [ag.decisions], groups: []}
"""


def test_another_number_of_partitions_is_refused(live: LiveBroker, tmp_path: Path) -> None:
    text = resource("infra", "kafka", "topics.yaml").read_text(encoding="utf-8")
    with pytest.raises(BrokerError, match="says `13`"):
        provision(
            live.broker.bootstrap,
            catalogue=read_catalogue(text.replace("partitions: 12", "partitions: 13")),
            passwords=live.passwords,
            done_file=tmp_path / "provisioned",
            clock=SystemClock(),
        )


@pytest.mark.slow
def test_a_broker_that_outlived_its_supervisor_is_stopped_and_the_folder_taken_over(
    jvm: Jvm, tmp_path: Path
) -> None:
    folder, cluster = tmp_path / "broker", new_cluster_id(SystemEntropy())
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from tests.live_broker import plain_broker\n"
        "broker = plain_broker(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4])\n"
        "broker.start()\n"
        "broker.wait_ready()\n"
        "print(broker.process_id, broker.bootstrap)\n"
        "sys.stdout.flush()\n"
        "os._exit(1)\n"  # as a supervisor that was killed: nothing is stopped
    )
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            folder,
            cluster,
            jvm.java.path,
            ":".join(map(str, jvm.class_path)),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    orphan, bootstrap = told.stdout.split()
    assert is_alive(int(orphan))
    broker = Broker(
        folder,
        cluster_id=cluster,
        admin_password="p",
        jvm=jvm,
        clock=SystemClock(),
        entropy=SystemEntropy(),
    )
    broker.start()
    try:
        assert not is_alive(int(orphan))
        broker.wait_ready()
        assert (broker.bootstrap, broker.moved_from) == (bootstrap, 0)
    finally:
        broker.stop()


def test_the_sealed_topics_are_kept_for_ever_in_one_piece(live: LiveBroker) -> None:
    for name, settings in live.admin().topic_configs([str(t) for t in SEALED_TOPICS]).items():
        assert settings["cleanup.policy"] == "delete", name
        assert (settings["retention.ms"], settings["retention.bytes"]) == ("-1", "-1"), name
    control = live.admin().topic_configs([Topic.CONTROL])[Topic.CONTROL]
    assert control["flush.messages"] == "1"
