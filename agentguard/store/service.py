# SPDX-License-Identifier: Apache-2.0
"""Store: the one process that owns the engine: the sink on a thread of its own, the door beside it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog
import uvicorn
from starlette.types import ASGIApp

from agentguard import telemetry as t
from agentguard.adapters.chdb_queries import ChdbQueries
from agentguard.adapters.clickhouse_store import ClickHouseStore, embedded_path, is_embedded
from agentguard.contracts.errors import AgentGuardError, LogError
from agentguard.contracts.ports import (
    Clock,
    Codec,
    Entropy,
    Log,
    LogIndex,
    LogWriter,
    Verifier,
)
from agentguard.contracts.topics import Topic
from agentguard.control.fold import ControlFold
from agentguard.pipeline.dead_letters import DeadLetters
from agentguard.pipeline.heartbeats import Heartbeats, ProcessIdentity
from agentguard.store.door import Door, DoorStatus, DoorUser, health_app
from agentguard.store.schema import (
    MIGRATING,
    RUNNING,
    apply_migrations,
    claim,
    write_engine_config,
)
from agentguard.store.sink import READ_RECORDS_MAX, Sink, SinkPorts

STEP_MS = 200
FOUNDING_WAIT_MS = 500
STOP_SECONDS = 10
# Records are trees without cycles: the collector finds nothing and took a third of the CPU.
COLLECT_AFTER = (50_000, 20, 50)

log = structlog.get_logger("agentguard.store")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """What this process stores where, and whom its door answers.

    `dsn` is `chdb:///folder` or a ClickHouse server's URL; a server has its own door. `tenant`
    empty means any, which only a server may say.
    """

    dsn: str
    folder: Path
    cluster: str
    tenant: str
    genesis_digest: bytes | None
    host: str
    port: int
    user: DoorUser


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePorts:
    """The outside of this process. `log` and `index` are the same log."""

    log: Log
    index: LogIndex
    codec: Codec
    clock: Clock
    entropy: Entropy
    verifier: Verifier


def configure_logging(level: str) -> None:
    """Sets up structured log lines on standard output, and keeps the client library quiet."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_encode),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.BytesLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    # it prints tracebacks of errors that it also raises
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)


def _encode(event: object, **_: object) -> bytes:
    return msgspec.json.encode(event)


def prepare(config: StoreConfig) -> Path:
    """Brings folder, tables and engine configuration to this version; returns the configuration.

    Raises `StoreError` where the store is another cluster's or tenant's, another process holds
    it, or its tables are of another version.
    """
    config.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # rows travel through temporary files in plain text: into a private folder, emptied each time
    private = config.folder / "tmp"
    shutil.rmtree(private, ignore_errors=True)
    private.mkdir(mode=0o700)
    tempfile.tempdir = str(private)
    path = config.folder / "engine.xml"
    store = ClickHouseStore(config.dsn, config_file=write_engine_config(path, MIGRATING))
    try:
        for migration in apply_migrations(store):
            log.info("store_migrated", migration=migration.name)
        claim(store, cluster=config.cluster, tenant=config.tenant)
    finally:
        store.close()
    return write_engine_config(path, RUNNING)


class StoreService:
    """Runs sink and door until it is told to stop or the sink cannot go on."""

    def __init__(self, config: StoreConfig, ports: ServicePorts, identity: ProcessIdentity) -> None:
        self._config = config
        self._ports = ports
        self._identity = identity
        self._stop = threading.Event()
        self._sink: Sink | None = None
        self._door: Door | None = None
        self._letters: DeadLetters | None = None
        self._failure = ""
        self._metrics = t.Metrics()

    def run(self) -> int:
        """Blocks until SIGTERM or SIGINT; returns the exit code: 0 clean, 1 the sink failed."""
        config_file = prepare(self._config)
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER)
        queries: ChdbQueries | None = None
        status = DoorStatus(not_ready=self.not_ready, metrics=self.metrics)
        app: ASGIApp = health_app(status)
        if is_embedded(self._config.dsn):
            queries = ChdbQueries(Path(embedded_path(self._config.dsn)), config_file=config_file)
            self._door = Door(queries, self._config.user, status)
            app = self._door.app
            if self._door.fault:
                log.error("store_door_shut", reason=self._door.fault)
        server = _Quiet(_uvicorn_config(app, self._config))
        sink = threading.Thread(
            target=self._follow, args=(config_file, server), name="sink", daemon=True
        )
        sink.start()
        asyncio.run(_serve(server))
        self._stop.set()
        sink.join(STOP_SECONDS)
        if queries is not None:
            queries.close()
        return 1 if self._failure or sink.is_alive() else 0

    def not_ready(self) -> str:
        """Why the store must not be relied on; empty where it may."""
        if self._failure:
            return self._failure
        return self._sink.not_ready if self._sink is not None else "the sink is starting"

    def metrics(self) -> str:
        """Returns the metrics of this process in Prometheus' text format."""
        numbers = self._metrics
        numbers.set(t.STORE_READY, 0 if self.not_ready() else 1)
        if self._door is not None:
            numbers.set(t.STORE_QUESTIONS, self._door.asked, "asked")
            numbers.set(t.STORE_QUESTIONS, self._door.refused, "refused")
        if self._letters is not None:
            numbers.set(t.STORE_LETTERS_DROPPED, self._letters.dropped)
        if self._sink is not None:
            _set_sink_metrics(numbers, self._sink)
        return numbers.render()

    def _follow(self, config_file: Path, server: uvicorn.Server) -> None:
        """The sink's thread: its outermost loop."""
        try:
            self._run_sink(config_file)
        except AgentGuardError as error:
            self._failure = f"the sink stopped: {error.code}"
            log.error("store_sink_failed", code=error.code, error=str(error), next=error.next_step)
        except Exception:  # the outermost loop of this process's sink
            self._failure = "the sink stopped: internal"
            log.exception("store_sink_failed", code="internal")
        finally:
            server.should_exit = True

    def _run_sink(self, config_file: Path) -> None:
        ports = self._ports
        store = ClickHouseStore(self._config.dsn, config_file=config_file)
        writer = ports.log.writer("store")
        beats = Heartbeats(writer, ports.codec, ports.clock, self._identity)
        fold = ControlFold(ports.codec, ports.verifier, self._config.genesis_digest)
        sink = self._new_sink(store, fold, writer)
        try:
            if not self._start(sink):
                return
            self._sink = sink
            while not self._stop.is_set():
                count = sink.step(timeout_ms=0)
                writer.poll()
                if beats.is_due():
                    reason = self.not_ready() or _control_fault(fold)
                    beats.beat(folded=sink.positions, releases=(), ready=not reason, reason=reason)
                if count < READ_RECORDS_MAX:
                    self._stop.wait(STEP_MS / 1000)
            sink.stop()
            writer.flush(STOP_SECONDS * 1000)
        finally:
            store.close()

    def _new_sink(self, store: ClickHouseStore, fold: ControlFold, writer: LogWriter) -> Sink:
        ports = self._ports
        letters = DeadLetters(writer, ports.codec, ports.clock, ports.entropy, stage="store")
        letters.cluster = self._config.cluster
        letters.partitions = ports.index.partitions(Topic.DEAD_LETTERS)
        self._letters = letters
        sink_ports = SinkPorts(
            log=ports.log,
            index=ports.index,
            store=store,
            codec=ports.codec,
            clock=ports.clock,
            control=fold,
            letters=letters,
        )
        return Sink(
            sink_ports, cluster=self._config.cluster, tenant=self._config.tenant, wait=self._wait
        )

    def _start(self, sink: Sink) -> bool:
        """Starts the sink as soon as the platform is founded; False where it must stop first."""
        while not self._stop.is_set():
            try:
                sink.start()
            except LogError as error:
                log.warning("store_waits", error=str(error))
                self._wait(FOUNDING_WAIT_MS)
            else:
                return True
        return False

    def _wait(self, wait_ms: int) -> None:
        self._stop.wait(wait_ms / 1000)


def _control_fault(fold: ControlFold) -> str:
    if fold.is_outdated:
        return "the semantics in force are newer than this build"
    return "the control fold disagrees with a stated digest" if fold.disagrees else ""


def _set_sink_metrics(numbers: t.Metrics, sink: Sink) -> None:
    for table, count in list(sink.writer.inserted.items()):
        numbers.set(t.STORE_ROWS, count, table)
    for problem, count in list(sink.counts.problems.items()):
        numbers.set(t.STORE_STUBS, count, problem)
    for finding, count in list(sink.counts.findings.items()):
        numbers.set(t.STORE_FINDINGS, count, finding)
    numbers.set(t.STORE_INSERT_FAILURES, sink.writer.failures)
    numbers.set(t.STORE_READ_BACKS, sink.writer.read_backs)
    numbers.set(t.STORE_CONFLICTS, sink.writer.conflicts)
    for at, offset in sink.positions.items():
        numbers.set(t.STORE_NEXT_OFFSET, offset, at.topic, str(at.partition))


def _uvicorn_config(app: ASGIApp, config: StoreConfig) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=config.host,
        port=config.port,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=2,
    )


class _Quiet(uvicorn.Server):
    """A server that leaves signals alone: the sink has to write before the process ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures nothing."""
        yield


async def _serve(server: uvicorn.Server) -> None:
    def stop() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await server.serve()
