"""A provisioned broker for tests, and a log with two fresh topics, whichever log it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agentguard.adapters.kafka_admin import KafkaAdmin, TopicSpec
from agentguard.adapters.kafka_log import KafkaLog
from agentguard.adapters.memory_log import MemoryLog
from agentguard.adapters.system import SystemClock, SystemEntropy
from agentguard.contracts.ports import LogReader, StartPositions, TopicPartition
from agentguard.local.broker import Broker, Jvm
from agentguard.local.java import Java
from agentguard.local.provision import Catalogue

PARTITIONS = 4


@dataclass(frozen=True, kw_only=True)
class LiveBroker:
    """A provisioned broker and everything needed to talk to it as anybody."""

    broker: Broker
    catalogue: Catalogue
    passwords: dict[str, str]
    folder: Path

    def log(self, principal: str, **settings: int) -> KafkaLog:
        return KafkaLog(
            self.broker.bootstrap,
            username=principal,
            password=self.passwords[principal],
            client_id=principal,
            **settings,
        )

    def admin(self, principal: str = "admin") -> KafkaAdmin:
        return KafkaAdmin(
            self.broker.bootstrap, username=principal, password=self.passwords[principal]
        )


@dataclass(frozen=True, kw_only=True)
class LogBench:
    """A log with two fresh topics of equal partition counts."""

    log: MemoryLog | KafkaLog
    topic: str
    other: str
    group: str
    admin: KafkaAdmin | None

    def delete_records(self, partition: TopicPartition, before: int) -> None:
        if isinstance(self.log, MemoryLog):
            self.log.delete_records(partition, before)
        else:
            assert self.admin is not None
            self.admin.delete_records(partition.topic, partition.partition, before)

    def recreate(self) -> None:
        if isinstance(self.log, MemoryLog):
            self.log.recreate(self.topic)
        else:
            assert self.admin is not None
            self.admin.delete_topics([self.topic])
            make_topics(self.admin, self.topic)

    def member(self, instance: str, start: StartPositions) -> LogReader:
        return self.log.member(
            group=self.group, instance=instance, topics=[self.topic, self.other], start=start
        )


def make_topics(admin: KafkaAdmin, *names: str) -> None:
    """Creates topics and returns when every partition of them answers."""
    specs = [
        TopicSpec(name=name, key="", partitions=PARTITIONS, is_sealed=False, records=(), config={})
        for name in names
    ]
    admin.create_topics(specs)
    while not admin.is_serving(dict.fromkeys(names, PARTITIONS)):
        pass


def plain_broker(folder: Path, cluster: str, java: str, class_path: str) -> Broker:
    """A broker from plain words, for a test that starts one in a process of its own."""
    return Broker(
        folder,
        cluster_id=cluster,
        admin_password="p",
        jvm=Jvm(
            java=Java(path=Path(java), version=17, release="17", origin="test"),
            class_path=tuple(map(Path, class_path.split(":"))),
            options=("-XX:TieredStopAtLevel=1",),
        ),
        clock=SystemClock(),
        entropy=SystemEntropy(),
    )
