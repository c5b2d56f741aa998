# SPDX-License-Identifier: Apache-2.0
"""The bare two-hop echo: what the log alone costs, on the same broker in the same minutes.

`python -P bench/echo.py worker` copies `bench.requests` to `bench.decisions` with the product's
own client settings; `measure()` in another process sends at a fixed rate and times the way there
and back, counted from the moment a record was due.
"""

from __future__ import annotations

import struct
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from agentguard.adapters.kafka_log import KafkaLog  # noqa: E402
from agentguard.contracts.ports import TopicPartition  # noqa: E402
from agentguard.local.platform_files import read_platform  # noqa: E402

THERE, BACK = "bench.requests", "bench.decisions"
PARTITIONS = 12
REQUEST_BYTES, DECISION_BYTES = 1_300, 900
STAMP = struct.Struct(">d")


def open_log(data: Path) -> KafkaLog:
    """Returns the log as its administrator."""
    platform = read_platform(data)
    admin = platform.principals["admin"]
    return KafkaLog(
        platform.bootstrap, username=admin.username, password=admin.password, client_id="bench-echo"
    )


def ends(log: KafkaLog, topic: str) -> dict[TopicPartition, int]:
    """Returns the end of every partition."""
    all_of = [TopicPartition(topic, p) for p in range(PARTITIONS)]
    return {p: log.bounds(p)[1] for p in all_of}


def work(data: Path) -> None:
    """Copies for ever: the hop that a decision process would be."""
    log = open_log(data)
    reader, writer = log.reader(ends(log, THERE)), log.writer("echo")
    padding = bytes(DECISION_BYTES - STAMP.size)
    print("ready", flush=True)
    while True:
        for record in reader.read(timeout_ms=100, records_max=500):
            value = (record.value or b"")[: STAMP.size] + padding
            writer.append(BACK, value, key=record.key, partition=record.partition)
        writer.poll()


def measure(data: Path, *, rate: float, seconds: float) -> list[float]:
    """Returns the latencies in ms of one run, sorted."""
    log = open_log(data)
    reader, writer = log.reader(ends(log, BACK)), log.writer("echo-client")
    latencies: list[float] = []
    total = int(rate * seconds)
    stop = threading.Event()

    def collect() -> None:
        while not stop.is_set() and len(latencies) < total:
            for record in reader.read(timeout_ms=50, records_max=500):
                (due,) = STAMP.unpack((record.value or b"")[: STAMP.size])
                if due == due:
                    latencies.append((time.perf_counter() - due) * 1e3)

    thread = threading.Thread(target=collect)
    thread.start()
    padding = bytes(REQUEST_BYTES - STAMP.size)
    # a new producer's first records wait up to a second for its id: they are not timed
    for i in range(PARTITIONS):
        writer.append(THERE, STAMP.pack(float("nan")) + padding, key=None, partition=i)
    writer.flush(5_000)
    started = time.perf_counter()
    for i in range(total):
        due = started + i / rate
        wait = due - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        writer.append(THERE, STAMP.pack(due) + padding, key=None, partition=i % PARTITIONS)
        writer.poll()
    writer.flush(5_000)
    thread.join(5.0)
    stop.set()
    thread.join()
    return sorted(latencies)


if __name__ == "__main__":
    work(Path(sys.argv[2]))
