# SPDX-License-Identifier: Apache-2.0
"""`make bench`: measures a platform of its own and writes the table of `docs/performance.md`.

Every figure is the median of several runs on one machine that also carries the load generator.
Machines differ and are shared, so ratios within one run count: the bare two-hop echo of the same
minutes stands beside the figures. Nothing here is a test; a figure not reached stays in the table.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import json
import os
import platform as machine
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from agentguard.adapters.avro_codec import AvroCodec  # noqa: E402
from agentguard.adapters.mldsa_signer import MlDsaVerifier  # noqa: E402
from agentguard.adapters.system import SystemClock, SystemEntropy  # noqa: E402
from agentguard.contracts.ports import TopicPartition  # noqa: E402
from agentguard.contracts.records import Checkpoint  # noqa: E402
from agentguard.contracts.strict_json import encode_canonical  # noqa: E402
from agentguard.control.fold import ControlFold  # noqa: E402
from agentguard.local.control_writer import ControlWriter, Order  # noqa: E402
from agentguard.local.held_keys import held_by_persons  # noqa: E402
from agentguard.local.platform_files import read_platform  # noqa: E402
from agentguard.local.sample_traffic import load, request_body  # noqa: E402
from agentguard.local.up import open_log  # noqa: E402
from agentguard.registry.agents import make_agent, make_credential  # noqa: E402
from bench import echo, table  # noqa: E402
from bench import load as generator  # noqa: E402
from tests.live_platform import LivePlatform, child_environment  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
NAMES = {"gateway": "agentguard.gateway", "decide": "decide.py", "seal": "seal.py",
         "store": "store.py", "broker": "kafka.Kafka"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds and resident megabytes of one process."""

    cpu_s: float
    rss_mb: float


def children_of(parent: int) -> dict[str, int]:
    """Returns the platform's processes by name."""
    found: dict[str, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            status = (entry / "status").read_text()
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if f"PPid:\t{parent}\n" not in status:
            continue
        for name, mark in NAMES.items():
            if mark in line:
                found[name] = int(entry.name)
    return found


def usage(pids: dict[str, int]) -> dict[str, Usage]:
    """Returns what each process has used so far."""
    made = {}
    for name, pid in pids.items():
        if not Path(f"/proc/{pid}").exists():
            sys.exit(f"bench: `{name}` ended under load; read its log in the data folder")
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        rss = next(int(x.split()[1]) for x in status.splitlines() if x.startswith("VmRSS"))
        made[name] = Usage((int(fields[11]) + int(fields[12])) / TICKS, rss / 1024)
    return made


def calibrate() -> float:
    """Returns the milliseconds of a fixed loop: how fast this machine is right now."""
    started = time.perf_counter()
    total = 0
    for i in range(2_000_000):
        total += i & 7
    return (time.perf_counter() - started) * 1e3


def idle_and_steal(before: list[int], after: list[int]) -> tuple[float, float]:
    """Returns percent of all CPU time that was idle and stolen between two samples."""
    spent = [b - a for a, b in zip(before, after, strict=True)]
    total = sum(spent) or 1
    return 100 * spent[3] / total, 100 * spent[7] / total


def cpu_sample() -> list[int]:
    """Returns the machine's CPU counters."""
    return [
        int(x) for x in Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0].split()[1:9]
    ]


class Bench:
    """One platform under measurement."""

    def __init__(self, live: LivePlatform, agents: int) -> None:
        self.live = live
        self.platform = read_platform(live.data)
        address = urllib.parse.urlsplit(self.platform.gateway)
        self.host, self.port = str(address.hostname), int(address.port or 80)
        self.samples = load(self.platform.tenant)
        self.shots = self._prepare(agents)
        assert live.process is not None
        self.pids = children_of(live.process.pid)

    def _prepare(self, agents: int) -> list[generator.Shot]:
        """Registers agents and returns one prepared request each, over the sample trajectories."""
        log = open_log(self.platform, "control")
        clock, entropy = SystemClock(), SystemEntropy()
        digest = bytes.fromhex(self.platform.genesis_digest)
        fold = ControlFold(AvroCodec(), MlDsaVerifier(), digest)
        writer = ControlWriter(log, fold, codec=AvroCodec(), clock=clock, entropy=entropy)
        writer.catch_up()
        rows = [(c, i) for c in self.samples.cases for i in c.judged]
        orders, shots = [], []
        for number in range(agents):
            agent_id = f"bench-{number:04d}"
            credential = make_credential(entropy.token(38))
            orders.append(
                Order(body=make_agent(agent_id, tenant=fold_tenant(self), credential=credential))
            )
            case, index = rows[number % len(rows)]
            body = request_body(case, index, agent_id=agent_id, session_id="bench")
            shots.append(
                generator.shot(f"{self.host}:{self.port}", credential.token, encode_canonical(body))
            )
        for start in range(0, len(orders), 200):
            batch = orders[start : start + 200]
            judgements = writer.submit(batch, held_by_persons(self.live.data, fold))
            assert all(j.accepted for j in judgements), judgements[0]
        writer.close()
        log.close()
        return shots

    def measured(self, run: Callable[[], generator.Result]) -> dict[str, object]:
        """Runs one load and returns its figures with the CPU of every process."""
        calibration = calibrate()
        machine_before, before = cpu_sample(), usage(self.pids)
        result = run()
        machine_after, after = cpu_sample(), usage(self.pids)
        done = max(1, len(result.decided_ms))
        idle, steal = idle_and_steal(machine_before, machine_after)
        cpu = {n: round((after[n].cpu_s - before[n].cpu_s) / done * 1e6) for n in self.pids}
        return {
            **result.summary(),
            "cpu_us": cpu,
            "rss_mb": {n: round(u.rss_mb) for n, u in after.items()},
            "idle_pct": round(idle, 1),
            "steal_pct": round(steal, 1),
            "calibration_ms": round(calibration, 1),
        }

    def open_loop(self, rate: float, seconds: float) -> dict[str, object]:
        """Measures a fixed rate."""
        return self.measured(
            lambda: asyncio.run(
                generator.fire(self.host, self.port, self.shots, rate=rate, seconds=seconds)
            )
        )

    def closed_loop(self, in_flight: int, seconds: float, agents: int) -> dict[str, object]:
        """Measures callers that wait for each answer."""
        shots = self.shots[:agents]
        return self.measured(
            lambda: asyncio.run(
                generator.closed(self.host, self.port, shots, in_flight=in_flight, seconds=seconds)
            )
        )

    def sealed_after(self, seconds: float) -> dict[str, float]:
        """Returns how long after it lay on the log a decision was under a signed head, in ms."""
        log = open_log(self.platform, "auditor")
        codec = AvroCodec()
        heads_at = TopicPartition("ag.checkpoints", 0)
        partitions = log.partitions("ag.decisions")
        starts = {heads_at: log.bounds(heads_at)[1]}
        for p in range(partitions):
            at = TopicPartition("ag.decisions", p)
            starts[at] = log.bounds(at)[1]
        reader = log.reader(starts)
        waiting: dict[int, list[tuple[int, int]]] = {p: [] for p in range(partitions)}
        lags: list[float] = []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for record in reader.read(timeout_ms=100, records_max=500):
                if record.topic == "ag.decisions":
                    waiting[record.partition].append((record.offset, record.timestamp_ms))
                    continue
                head = codec.decode(record.value or b"")
                if isinstance(head, Checkpoint) and head.topic == "ag.decisions":
                    left = waiting[head.partition]
                    lags += [record.timestamp_ms - t for o, t in left if o < head.size]
                    waiting[head.partition] = [x for x in left if x[0] >= head.size]
        reader.close()
        log.close()
        lags.sort()
        if not lags:
            return {}
        return {"p50_ms": lags[len(lags) // 2], "p95_ms": lags[int(len(lags) * 0.95)]}

    def sealed_under_load(self, rate: float, seconds: float) -> dict[str, float]:
        """Returns `sealed_after` while a fixed rate is offered."""
        with ThreadPoolExecutor(1) as pool:
            watched = pool.submit(self.sealed_after, seconds + 1)
            self.open_loop(rate, seconds)
            return watched.result()

    def bytes_in_store(self) -> float:
        """Returns the store's bytes on disk for each effective decision."""
        folder = self.live.data / "store"
        size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        log = open_log(self.platform, "auditor")
        count = sum(
            log.bounds(TopicPartition("ag.decisions", p))[1]
            for p in range(log.partitions("ag.decisions"))
        )
        log.close()
        return size / max(1, count)

    def bytes_per_decision(self) -> float:
        """Returns the broker's bytes on disk for each effective decision."""
        log = open_log(self.platform, "auditor")
        count = sum(
            log.bounds(TopicPartition("ag.decisions", p))[1]
            for p in range(log.partitions("ag.decisions"))
        )
        log.close()
        size = 0
        for topic in ("ag.requests", "ag.decisions", "ag.checkpoints"):
            for folder in (self.live.data / "broker").rglob(f"{topic}-*"):
                size += sum(f.stat().st_size for f in folder.glob("*.log"))
        return size / max(1, count)


def fold_tenant(bench: Bench) -> str:
    """Returns the tenant that the bench registers its agents in."""
    return bench.platform.tenant


def echo_run(data: Path, rate: float, seconds: float) -> dict[str, float]:
    """Measures the bare echo through the same broker."""
    platform = read_platform(data)
    from agentguard.adapters.kafka_admin import KafkaAdmin, TopicSpec

    admin = platform.principals["admin"]
    client = KafkaAdmin(platform.bootstrap, username=admin.username, password=admin.password)
    client.create_topics(
        [
            TopicSpec(
                name=n,
                key="",
                partitions=echo.PARTITIONS,
                is_sealed=False,
                records=(),
                config={"retention.ms": "600000"},
            )
            for n in (echo.THERE, echo.BACK)
        ]
    )
    time.sleep(2)
    command = [sys.executable, "-P", str(ROOT / "bench" / "echo.py"), "worker", str(data)]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=child_environment({}))
    try:
        assert worker.stdout is not None
        worker.stdout.readline()
        echo.measure(data, rate=min(rate, 200.0), seconds=3)
        latencies = echo.measure(data, rate=rate, seconds=seconds)
    finally:
        worker.terminate()
        worker.wait()
    pick = lambda q: round(latencies[min(len(latencies) - 1, int(q * len(latencies)))], 2)  # noqa: E731
    return {"p50_ms": pick(0.5), "p95_ms": pick(0.95), "p99_ms": pick(0.99)}


def median_of(runs: list[dict[str, object]], key: str) -> float:
    """Returns the median of one figure over runs."""
    return statistics.median(float(str(r[key])) for r in runs)


def main() -> None:
    """Runs everything and writes JSON beside the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs, one of each")
    parser.add_argument("--agents", type=int, default=1_000)
    parser.add_argument("--out", type=Path, help="also write every figure as JSON")
    parser.add_argument("--data", default="", help="folder to keep; a temporary one unless set")
    options = parser.parse_args()
    runs, seconds = (1, 8.0) if options.quick else (3, 15.0)
    figures: dict[str, object] = {
        "seconds": seconds,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {machine.machine()}, Python {machine.python_version()}",
    }
    with contextlib.ExitStack() as stack:
        folder = options.data or stack.enter_context(tempfile.TemporaryDirectory())
        live = LivePlatform.in_folder(Path(folder) / "data")
        print("first start", flush=True)
        figures["first_start_s"] = round(live.start("--samples"), 1)
        live.stop()
        figures["second_start_s"] = round(live.start(), 1)
        try:
            print("registering agents", flush=True)
            bench = Bench(live, options.agents)
            bench.open_loop(100, 8)  # warm-up: the JIT of the broker, caches of the lane
            for rate in (200, 500):
                print(f"{rate}/s", flush=True)
                figures[f"echo_{rate}"] = echo_run(live.data, rate, seconds / 2)
                made = [bench.open_loop(rate, seconds) for _ in range(runs)]
                figures[f"open_{rate}"] = made
                if rate == 500:
                    figures["sealed_after"] = bench.sealed_under_load(rate, seconds / 2)
                print(json.dumps(made[-1]), flush=True)
            print("saturation", flush=True)
            peak = [bench.closed_loop(192, seconds + 5, options.agents) for _ in range(runs)]
            figures["saturation"] = peak
            print(json.dumps(peak[-1]), flush=True)
            most = median_of(peak, "decided_per_s")
            figures["twice"] = [bench.open_loop(2 * most, seconds) for _ in range(runs)]
            print(json.dumps(figures["twice"]), flush=True)
            figures["one_agent_32"] = bench.closed_loop(32, seconds / 2, 1)
            figures["one_agent_closed"] = bench.closed_loop(1, seconds / 2, 1)
            figures["bytes_per_decision_log"] = round(bench.bytes_per_decision())
            figures["bytes_per_decision_store"] = round(bench.bytes_in_store())
        finally:
            live.stop()
    print(table.render(figures), flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")
    if not options.quick:
        table.insert(ROOT / "docs" / "performance.md", table.render(figures))
        table.insert(ROOT / "README.md", table.readme_line(figures))


if __name__ == "__main__":
    main()
