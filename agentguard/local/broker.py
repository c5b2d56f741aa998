# SPDX-License-Identifier: Apache-2.0
"""The embedded broker: one Apache Kafka node, formatted once, started, watched and stopped."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import string
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from agentguard.adapters.kafka_admin import KafkaAdmin
from agentguard.contracts.errors import AgentGuardError, ConfigError
from agentguard.contracts.ports import Clock, Entropy
from agentguard.local.folder_lock import FolderInUseError, FolderLock
from agentguard.local.java import Java
from agentguard.local.platform_files import write_private
from agentguard.resources import resource

HEAP_MB: Final = 512
READY_MS_MAX: Final = 60_000
STOP_S: Final = 30
_LOG_BYTES_MAX: Final = 10_000_000
_LOG_TAIL_CHARS: Final = 2_000
_LOOK_EVERY_S: Final = 0.02
AHEAD_OF_TIME_CACHE_SINCE: Final = 25  # JEP 514
_ENVIRONMENT: Final = {"LANG": "C.UTF-8"}  # nothing of the caller's may change the JVM


class BrokerError(AgentGuardError):
    """The embedded broker did not start, or died."""

    code = "broker"
    next_step = "read DATA/log/broker.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Jvm:
    """How the broker's Java is run.

    `archive` is a file of preloaded classes (AppCDS, or an ahead-of-time cache from Java 25 on):
    used when it exists and is younger than the jars. `options` go to the JVM as they are;
    `-XX:TieredStopAtLevel=1` starts faster and is slower under lasting load.
    """

    java: Java
    class_path: tuple[Path, ...]
    archive: Path | None = None
    options: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()

    def command(self, *arguments: str, heap_mb: int = HEAP_MB) -> list[str]:
        """Returns the command line for a main class and its arguments."""
        return [
            *self.prefix,
            str(self.java.path),
            f"-Xms{heap_mb}m",
            f"-Xmx{heap_mb}m",
            "-XX:+UseSerialGC",
            "-XX:+ExitOnOutOfMemoryError",
            "-XX:+PerfDisableSharedMem",
            "-Djava.awt.headless=true",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
            *self._archive_options(),
            *self.options,
            "-cp",
            ":".join(str(path) for path in self.class_path),
            *arguments,
        ]

    def has_archive(self) -> bool:
        """Returns whether there is an archive that the JVM would accept."""
        if self.archive is None or not self.archive.is_file():
            return False
        made = self.archive.stat().st_mtime
        return all(path.stat().st_mtime <= made for path in self.class_path)

    def _archive_options(self) -> list[str]:
        if not self.has_archive():
            return []
        if self.java.version >= AHEAD_OF_TIME_CACHE_SINCE:
            return [f"-XX:AOTCache={self.archive}", "-Xlog:aot*=off"]
        return [f"-XX:SharedArchiveFile={self.archive}", "-Xshare:auto", "-Xlog:cds*=off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """What a broker's folder keeps from its first start on."""

    cluster_id: str
    port: int
    controller_port: int
    controller_password: str


class Broker:
    """One node in `folder` (DATA/broker). Holds the folder from `start` to `stop`.

    fsync: what is acknowledged survives kill -9; `infra/kafka/server.properties` says more.
    """

    def __init__(
        self,
        folder: Path,
        *,
        cluster_id: str,
        admin_password: str,
        jvm: Jvm,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._folder = folder.resolve()
        if "," in str(self._folder):
            raise ConfigError(f"a comma in the path `{self._folder}` would make two folders of it")
        self._cluster_id = cluster_id
        self._admin_password = admin_password
        self._jvm = jvm
        self._clock = clock
        self._entropy = entropy
        self._log_file = self._folder.parent / "log" / "broker.log"
        self._owner = FolderLock(self._folder / "owner.lock")
        self._running = FolderLock(self._folder / "broker.lock")
        self._state: _State | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.moved_from = 0
        """The port of the last start, where another program has it now; 0 when it was free."""

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients; known once started."""
        return f"127.0.0.1:{self._known().port}"

    @property
    def process_id(self) -> int:
        """The broker's process id, 0 when it does not run."""
        return self._process.pid if self._process is not None and self.is_running() else 0

    @property
    def log_file(self) -> Path:
        """Where the broker's own words go; at most 20 MB with its predecessor."""
        return self._log_file

    def start(self) -> None:
        """Formats the folder if it is new and starts the node; does not wait for it.

        A broker that outlived its supervisor is stopped first. Raises `FolderInUseError`,
        `ConfigError` for a folder of another cluster, `BrokerError` when formatting fails.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._owner.take()
        try:
            self._take_from_orphan()
            self._state = self._prepare()
            self._format()
            self._launch()
        except BaseException:
            self._running.release()
            self._owner.release()
            raise

    def wait_ready(self, timeout_ms: int = READY_MS_MAX) -> None:
        """Waits until the node answers with our cluster id. Raises `BrokerError`."""
        deadline = self._clock.monotonic_ms() + timeout_ms
        self._wait_for(deadline, self._listens)
        admin = KafkaAdmin(self.bootstrap, username="admin", password=self._admin_password)
        self._wait_for(deadline, lambda: admin.cluster_id(1.0) == self._cluster_id)

    def is_running(self) -> bool:
        """Returns whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def stop(self, *, wait_s: float = STOP_S) -> None:
        """Stops the node cleanly (SIGTERM, after a while SIGKILL) and gives the folder back."""
        self._end(signal.SIGTERM, wait_s)
        self._running.release()
        self._owner.release()

    def kill(self) -> None:
        """Kills the node at once, as a fault would; the folder stays held. Then `restart`."""
        self._end(signal.SIGKILL, STOP_S)

    def restart(self) -> None:
        """Starts the node again after it died or was killed; does not wait for it."""
        if self.is_running():
            raise BrokerError("the broker is running")
        self._launch()

    def _known(self) -> _State:
        if self._state is None:
            raise BrokerError("the broker was not started")
        return self._state

    def _take_from_orphan(self) -> None:
        """Takes the lock that the node itself inherits; stops one that lost its supervisor."""
        try:
            self._running.take()
        except FolderInUseError as error:
            # INVARIANT: we own the folder, so whoever holds this lock is a broker without an owner
            orphan = error.holder
            if not self._is_node(orphan):
                raise
        else:
            return
        _signal(orphan, signal.SIGTERM)
        deadline = self._clock.monotonic_ms() + STOP_S * 1000
        while True:
            time.sleep(_LOOK_EVERY_S)
            try:
                self._running.take()
                return
            except FolderInUseError:
                if self._clock.monotonic_ms() > deadline:
                    _signal(orphan, signal.SIGKILL)
                    deadline += STOP_S * 1000

    def _is_node(self, process_id: int) -> bool:
        """Returns whether a process runs a node on this folder's configuration."""
        if process_id <= 0:
            return False
        try:
            told = Path(f"/proc/{process_id}/cmdline").read_bytes().decode(errors="replace")
        except OSError:  # not on Linux, or gone
            asked = ["ps", "-o", "args=", "-p", str(process_id)]
            told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
        return str(self._folder / "server.properties") in told

    def _prepare(self) -> _State:
        """Reads or makes the kept state, frees it from taken ports, writes the configuration."""
        path = self._folder / "state.json"
        if path.exists():
            state = _State(**json.loads(path.read_text(encoding="utf-8")))
            if state.cluster_id != self._cluster_id:
                raise ConfigError(
                    f"`{self._folder}` holds the log of cluster `{state.cluster_id}`, "
                    f"not of `{self._cluster_id}`",
                    next_step="use the folder that belongs to this platform",
                )
        else:
            state = _State(
                cluster_id=self._cluster_id,
                port=0,
                controller_port=0,
                controller_password=new_password(self._entropy),
            )
        if not is_port_free(state.port):
            self.moved_from = state.port
            state = replace(state, port=_free_port())
        if not is_port_free(state.controller_port):
            state = replace(state, controller_port=_free_port())
        write_private(path, json.dumps(asdict(state)).encode())
        template = resource("infra", "kafka", "server.properties").read_text(encoding="utf-8")
        filled = string.Template(template).substitute(
            PORT=state.port,
            CONTROLLER_PORT=state.controller_port,
            CONTROLLER_PASSWORD=state.controller_password,
            ADMIN_PASSWORD=self._admin_password,
            LOG_DIR=_property(self._folder / "data"),
        )
        write_private(self._folder / "server.properties", filled.encode("ascii"))
        return state

    def _format(self) -> None:
        if (self._folder / "data" / "meta.properties").exists():
            return
        # the arguments hold a password: they travel in a file, where no process list shows them
        arguments = self._folder / "format.arguments"
        lines = [
            "format",
            f"--cluster-id={self._cluster_id}",
            f"--config={self._folder / 'server.properties'}",
            "--ignore-formatted",
            f"--add-scram=SCRAM-SHA-512=[name=admin,password={self._admin_password}]",
        ]
        write_private(arguments, "\n".join(lines).encode())
        jvm = replace(self._jvm, options=("-XX:TieredStopAtLevel=1",))  # it lives for a second
        try:
            done = subprocess.run(
                jvm.command("kafka.tools.StorageTool", f"@{arguments}", heap_mb=256),
                capture_output=True,
                text=True,
                check=False,
                env=_ENVIRONMENT,
            )
        finally:
            arguments.unlink()
        if done.returncode != 0:
            tail = (done.stdout + done.stderr)[-_LOG_TAIL_CHARS:]
            raise BrokerError(f"the broker's folder could not be formatted: {tail}")

    def _launch(self) -> None:
        temporary = self._folder / "tmp"  # native libraries are unpacked here: /tmp may be noexec
        temporary.mkdir(exist_ok=True)
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        if self._log_file.exists() and self._log_file.stat().st_size > _LOG_BYTES_MAX:
            self._log_file.replace(self._log_file.with_suffix(".log.1"))
        jvm = replace(self._jvm, options=(*self._jvm.options, f"-Djava.io.tmpdir={temporary}"))
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                jvm.command("kafka.Kafka", str(self._folder / "server.properties")),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_ENVIRONMENT,
                start_new_session=True,  # a Ctrl-C is for the supervisor, which stops in order
                pass_fds=(self._running.descriptor,),
            )
        self._running.name_holder(self._process.pid)

    def _wait_for(self, deadline: float, is_there: Callable[[], bool]) -> None:
        while not is_there():
            if not self.is_running():
                raise BrokerError(f"the broker died: {self._last_words()}")
            if self._clock.monotonic_ms() > deadline:
                raise BrokerError("the broker was not ready in time")
            time.sleep(_LOOK_EVERY_S)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._known().port), 0.2).close()
        except OSError:
            return False
        return True

    def _last_words(self) -> str:
        return self._log_file.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL_CHARS:]

    def _end(self, how: signal.Signals, wait_s: float) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def new_password(entropy: Entropy) -> str:
    """Returns a password of 144 random bits, without signs that a configuration could misread."""
    return base64.urlsafe_b64encode(entropy.token(18)).decode()


def new_cluster_id(entropy: Entropy) -> str:
    """Returns a cluster id as Kafka writes one: 16 bytes, base64url without padding."""
    while True:
        told = base64.urlsafe_b64encode(entropy.token(16)).rstrip(b"=").decode()
        if not told.startswith("-"):  # a command line would take it for an option
            return told


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_port_free(port: int) -> bool:
    """Returns whether a node could listen on a port; 0 means none was chosen yet."""
    if port == 0:
        return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _property(path: Path) -> str:
    """Returns a path as a Java properties file wants it: ASCII, the rest as UTF-16 escapes."""
    units = str(path).encode("utf-16-be")
    pairs = (int.from_bytes(units[i : i + 2], "big") for i in range(0, len(units), 2))
    return "".join(
        chr(unit) if 0x20 <= unit < 0x7F and unit != ord("\\") else f"\\u{unit:04x}"
        for unit in pairs
    )


def _signal(process_id: int, number: signal.Signals) -> None:
    if process_id > 0:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, number)
