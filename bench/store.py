# SPDX-License-Identifier: Apache-2.0
"""What the store process costs on a real broker: CPU per decision, memory, rows, delay.

Starts a broker, founds a platform, starts `streams/store.py` and nothing else, then writes requests
and their decisions as gateway and lane would, at a fixed rate.

usage: python -m bench.store [RATE [SECONDS]]
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import deque
from dataclasses import replace
from pathlib import Path

from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.kafka_log import KafkaLog
from agentguard.adapters.system import SystemClock, SystemEntropy
from agentguard.cli.query import ask
from agentguard.contracts import records as r
from agentguard.contracts.hashing import leaf_hash
from agentguard.contracts.topics import Topic, agent_key, partition_of
from agentguard.local.broker import Broker, Jvm, new_cluster_id
from agentguard.local.founding import found
from agentguard.local.jars import ensure_jars
from agentguard.local.java import find_java
from agentguard.local.platform_files import Credentials, StoreCredential, write_credentials
from agentguard.local.provision import new_passwords, provision, read_catalogue
from tests.samples_audit import core, decision, request, section
from tests.trail_store import door

ROOT = Path(__file__).parents[1]
PORT = 18_710
AGENTS = 1_000
PARTITIONS = 12
TICKS = os.sysconf("SC_CLK_TCK")
TASK = (
    b"Please pay the invoice that arrived this morning from our supplier, then write a short note "
    b"to the accounting team that says what was paid, when, and to which account it went."
)
PARAMETERS = (
    b'{"amount":"1250.00","currency":"EUR","recipient":"DE89370400440532013000","subject":'
    b'"Invoice %d","date":"2026-11-25","note":"paid as agreed with the accounting team"}'
)

DELAY = (
    "SELECT quantiles(0.5, 0.99)(dateDiff('millisecond', log_time, ingested_at)) FROM decisions_all"
)
SIZES = (
    "SELECT table, sum(rows), round(sum(bytes_on_disk) / sum(rows)) AS bytes_a_row, count() AS parts "
    "FROM system.parts WHERE active AND database = 'agentguard' GROUP BY table"
)


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def threads_s(pid: int) -> dict[str, float]:
    """CPU seconds by thread name."""
    found: dict[str, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            text = (task / "stat").read_text()
        except OSError:
            continue
        name = text[text.index("(") + 1 : text.rindex(")")]
        fields = text.rsplit(")", 1)[1].split()
        found[name] = found.get(name, 0) + (int(fields[11]) + int(fields[12])) / TICKS
    return found


class Load:
    """Writes requests, decisions, deliveries, and an outcome for every third request."""

    def __init__(self, log: KafkaLog, cluster: str) -> None:
        self.writer = log.writer("load")
        self.codec = AvroCodec()
        self.clock = SystemClock()
        self.cluster = cluster
        self.requests = [0] * PARTITIONS
        self.decisions = [0] * PARTITIONS
        self.delivered: dict[int, list[r.Delivery]] = {}
        self.written: deque[tuple[r.AgentRequest, bytes, int, int]] = deque()
        self.count = 0

    def call(self) -> None:
        self.count += 1
        agent = f"agent-{self.count * 7919 % AGENTS}"
        partition = partition_of(agent_key("default", agent), PARTITIONS)
        now = self.clock.now_ms()
        made = replace(
            request(self.count, agent=agent, tool=f"tool_{self.count % 60}"),
            cluster=self.cluster,
            tenant="default",
            accepted_at_ms=now,
            deadline_ms=now + 1_000,
            session_id=f"{agent}-{self.count // 5_000}",
            sections=(
                section(r.SectionName.TASK, TASK),
                section(r.SectionName.PARAMETERS, PARAMETERS % self.count),
            ),
        )
        if self.count % 3 == 0:
            self._put(Topic.REQUESTS, self._outcome(agent, now), partition)
            self.requests[partition] += 1
        frame = self.codec.encode(made)
        offset = self.requests[partition]
        self.requests[partition] += 1
        self.writer.append(
            Topic.REQUESTS,
            frame,
            key=None,
            partition=partition,
            on_delivery=lambda _: self.written.append((made, frame, partition, offset)),
        )
        self.writer.poll()
        while self.written:
            self.decide(*self.written.popleft())

    def decide(self, made: r.AgentRequest, frame: bytes, partition: int, offset: int) -> None:
        """Writes the decision of a request that lies on the log."""
        now = self.clock.now_ms()
        allowed = offset % 4 != 0
        answer = replace(
            core(made, offset=offset, leaf=leaf_hash(frame), partition=partition),
            cluster=self.cluster,
            retry_of=None,
            verdict=r.Verdict.ALLOW if allowed else r.Verdict.DENY,
            transform=None,
            approval=None,
            requests_chain=os.urandom(32),
            decisions_chain=os.urandom(32),
            state_digest=os.urandom(32),
        )
        answer = replace(answer, observations=replace(answer.observations, decided_at_ms=now + 3))
        whole = replace(decision(self.codec.encode(answer)), cluster=self.cluster)
        self._put(Topic.DECISIONS, whole, partition)
        self.delivered.setdefault(partition, []).append(
            r.Delivery(
                request_offset=offset,
                decision_offset=self.decisions[partition],
                action=answer.verdict,
            )
        )
        self.decisions[partition] += 1

    def deliver(self) -> None:
        for partition, items in self.delivered.items():
            record = r.Deliveries(
                **door(cluster=self.cluster), tenant="default", items=tuple(items)
            )
            self._put(Topic.REQUESTS, record, partition)
            self.requests[partition] += 1
        self.delivered.clear()

    def _outcome(self, agent: str, now: int) -> r.ToolOutcome:
        return r.ToolOutcome(
            **door(cluster=self.cluster),
            tenant="default",
            agent_id=agent,
            outcome_id=os.urandom(16),
            tool="mail.read",
            session_id="s",
            status=r.OutcomeStatus.OK,
            registry_label=r.Trust.UNTRUSTED,
            voucher=r.Voucher.SDK,
            section=section(r.SectionName.OUTPUT, TASK * 3),
            reported_at_ms=now,
        )

    def _put(self, topic: str, record: r.Record, partition: int) -> bytes:
        frame = self.codec.encode(record)
        self.writer.append(topic, frame, key=None, partition=partition)
        self.writer.poll()
        return frame


def main(rate: int, seconds: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="agentguard-bench-"))
    clock, entropy = SystemClock(), SystemEntropy()
    cache = Path.home() / ".cache" / "agentguard"
    jars = ensure_jars(cache, maven_url="", clock=clock, say=print)
    passwords = new_passwords(read_catalogue(), entropy)
    broker = Broker(
        folder / "broker",
        cluster_id=new_cluster_id(entropy),
        admin_password=passwords["admin"],
        jvm=Jvm(java=find_java(""), class_path=jars),
        clock=clock,
        entropy=entropy,
    )
    broker.start()
    store: subprocess.Popen[bytes] | None = None
    try:
        broker.wait_ready()
        provision(
            broker.bootstrap,
            catalogue=read_catalogue(),
            passwords=passwords,
            done_file=folder / "provisioned",
            clock=clock,
        )
        founding = found(folder, entropy=entropy, clock=clock)
        credential = StoreCredential(user="analyst", password="bench")
        write_credentials(folder, Credentials(agents={}, people={}, store=credential))
        admin = KafkaLog(
            broker.bootstrap, username="admin", password=passwords["admin"], client_id="bench"
        )
        load = Load(admin, founding.cluster)
        load.writer.append(Topic.CONTROL, founding.genesis_value, key=None, partition=0)
        load.writer.flush(5_000)
        store = start_store(folder, broker.bootstrap, passwords["store"], founding)
        measure(load, store.pid, rate, seconds)
        report(load, folder)
    finally:
        if store is not None:
            store.send_signal(signal.SIGTERM)
            print("store ended with", store.wait(20))
        broker.stop()
        shutil.rmtree(folder, ignore_errors=True)


def start_store(
    folder: Path, bootstrap: str, password: str, founding: object
) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "KAFKA_SASL_USERNAME": "store",
        "KAFKA_SASL_PASSWORD": password,
        "AGENTGUARD_CLUSTER": founding.cluster,
        "AGENTGUARD_GENESIS_DIGEST": founding.genesis_digest.hex(),
        "AGENTGUARD_DATA": str(folder),
        "AGENTGUARD_STORE_PORT": str(PORT),
        "PYTHONPATH": str(ROOT),
    }
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-P", str(ROOT / "streams" / "store.py")], env=environment
    )
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=1):
                break
        except OSError:
            time.sleep(0.05)
    print(f"ready after {time.monotonic() - started:.1f} s, RSS {rss_mb(process.pid):.0f} MB")
    return process


def measure(load: Load, pid: int, rate: int, seconds: int) -> None:
    idle = cpu_s(pid)
    time.sleep(5)
    print(f"idle: {(cpu_s(pid) - idle) / 5 * 100:.1f} % of a core")
    before, began, threads = cpu_s(pid), time.monotonic(), threads_s(pid)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    told = 0.0
    while (passed := time.monotonic() - began) < seconds:
        while load.count < passed * rate:
            load.call()
        if passed - told >= 0.25:
            load.deliver()
            told = passed
        time.sleep(0.002)
    load.writer.flush(10_000)
    while load.written:
        load.decide(*load.written.popleft())
    load.deliver()
    load.writer.flush(10_000)
    time.sleep(4)
    used = cpu_s(pid) - before
    spent = {n: (v - threads.get(n, 0)) / load.count * 1e6 for n, v in threads_s(pid).items()}
    top = sorted(spent.items(), key=lambda pair: -pair[1])[:8]
    print("us a decision by thread:", ", ".join(f"{n} {v:.0f}" for n, v in top))
    print(
        f"{load.count} decisions at {rate}/s: {used / load.count * 1e6:.0f} us CPU a decision, "
        f"RSS {rss_mb(pid):.0f} MB, load generator "
        f"{(resource.getrusage(resource.RUSAGE_SELF).ru_utime - own) / load.count * 1e6:.0f} us"
    )


def report(load: Load, folder: Path) -> None:
    for sql in (
        "SELECT count() FROM decisions",
        "SELECT count(), countIf(counts) FROM decisions_all",
        "SELECT (SELECT count() FROM requests), (SELECT count() FROM outcomes)",
        "SELECT how, count() FROM enforced_actions GROUP BY how",
        DELAY,
        SIZES,
    ):
        began = time.monotonic()
        answer = ask(f"http://127.0.0.1:{PORT}", sql, user="analyst", password="bench")
        print(sql[:70], json.dumps(answer.data), f"{(time.monotonic() - began) * 1000:.0f} ms")


if __name__ == "__main__":
    numbers = [int(a) for a in sys.argv[1:]] + [500, 30][len(sys.argv) - 1 :]
    main(*numbers)
