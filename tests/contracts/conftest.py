"""One real broker for all tests of this folder, and the two logs under one suite."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from agentguard.adapters.memory_log import MemoryLog
from agentguard.adapters.system import SystemClock, SystemEntropy
from agentguard.local.broker import Broker, Jvm, new_cluster_id
from agentguard.local.jars import ensure_jars
from agentguard.local.java import find_java
from agentguard.local.provision import new_passwords, provision, read_catalogue
from tests.live_broker import PARTITIONS, LiveBroker, LogBench, make_topics

_numbers = count()


@pytest.fixture(scope="session")
def jvm() -> Jvm:
    cache = Path(os.environ.get("AGENTGUARD_CACHE") or Path.home() / ".cache" / "agentguard")
    class_path = ensure_jars(
        cache,
        maven_url=os.environ.get("AGENTGUARD_MAVEN_URL", ""),
        clock=SystemClock(),
        say=print,
    )
    java = find_java(os.environ.get("AGENTGUARD_JAVA", ""))
    return Jvm(java=java, class_path=class_path, options=("-XX:TieredStopAtLevel=1",))


@pytest.fixture(scope="session")
def live(jvm: Jvm) -> Iterator[LiveBroker]:
    folder = Path(tempfile.mkdtemp(prefix="agentguard-broker-"))
    catalogue = read_catalogue()
    passwords = new_passwords(catalogue, SystemEntropy())
    broker = Broker(
        folder / "broker",
        cluster_id=new_cluster_id(SystemEntropy()),
        admin_password=passwords["admin"],
        jvm=jvm,
        clock=SystemClock(),
        entropy=SystemEntropy(),
    )
    broker.start()
    try:
        broker.wait_ready()
        provision(
            broker.bootstrap,
            catalogue=catalogue,
            passwords=passwords,
            done_file=folder / "broker" / "provisioned",
            clock=SystemClock(),
        )
        yield LiveBroker(broker=broker, catalogue=catalogue, passwords=passwords, folder=folder)
    finally:
        broker.stop()
        shutil.rmtree(folder)


@pytest.fixture(
    params=["memory", pytest.param("kafka", marks=[pytest.mark.broker, pytest.mark.timeout(120)])]
)
def bench(request: pytest.FixtureRequest) -> Iterator[LogBench]:
    number = next(_numbers)
    topic, other, group = f"t{number}.a", f"t{number}.b", f"g{number}"
    if request.param == "memory":
        memory = MemoryLog(
            {topic: PARTITIONS, other: PARTITIONS}, clock=SystemClock(), entropy=SystemEntropy()
        )
        yield LogBench(log=memory, topic=topic, other=other, group=group, admin=None)
        return
    live: LiveBroker = request.getfixturevalue("live")
    admin = live.admin()
    make_topics(admin, topic, other)
    kafka = live.log("admin")
    yield LogBench(log=kafka, topic=topic, other=other, group=group, admin=admin)
    kafka.close()
