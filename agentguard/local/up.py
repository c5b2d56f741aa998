# SPDX-License-Identifier: Apache-2.0
"""The embedded platform: broker, founding, then every process in order; all of it in one folder."""

from __future__ import annotations

import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.kafka_log import KafkaLog
from agentguard.adapters.mldsa_signer import MlDsaVerifier
from agentguard.config import Settings
from agentguard.contracts.commands import SealedTopic, SealedTopics
from agentguard.contracts.errors import AgentGuardError, ConfigError
from agentguard.contracts.ports import Clock, Entropy
from agentguard.contracts.records import Role
from agentguard.contracts.topics import SEALED_TOPICS
from agentguard.control.fold import ControlFold
from agentguard.local.archive import ArchiveMaker, archive_path
from agentguard.local.beats import BeatWatch
from agentguard.local.broker import (
    Broker,
    BrokerError,
    Jvm,
    is_port_free,
    new_cluster_id,
    new_password,
)
from agentguard.local.bundles import baseline_bundle, put_bundle
from agentguard.local.control_writer import ControlWriter, Order
from agentguard.local.folder_lock import FolderLock
from agentguard.local.founding import Founding, default_release_command, found
from agentguard.local.jars import ensure_jars
from agentguard.local.java import find_java
from agentguard.local.platform_files import (
    Credentials,
    Platform,
    Principal,
    Secrets,
    StoreCredential,
    read_credentials,
    read_secrets,
    write_credentials,
    write_platform,
    write_secrets,
)
from agentguard.local.provision import new_passwords, provision, read_catalogue
from agentguard.local.steps import Steps
from agentguard.local.supervisor import ProcessSpec, Supervisor, base_environment
from agentguard.resources import resource

READY_WAIT_S = 60.0
FOLD_WAIT_MS = 300_000.0
LOOK_EVERY_S = 0.05
BROKER_RESTART_WAIT_S = 0.5
LOOPBACK = "127.0.0.1"


class StartError(AgentGuardError):
    """The platform did not come up."""

    code = "start"
    next_step = "read the newest file in the data folder's `log`"


def open_log(platform: Platform, principal: str) -> KafkaLog:
    """Returns the platform's log, opened as one of its principals."""
    who = platform.principals[principal]
    return KafkaLog(
        platform.bootstrap,
        username=who.username,
        password=who.password,
        client_id=f"agentguard-{principal}",
    )


class EmbeddedPlatform:
    """One platform in one folder. `start` returns when calls are decided; `stop` ends cleanly."""

    def __init__(self, settings: Settings, *, clock: Clock, entropy: Entropy, steps: Steps) -> None:
        self.settings = settings
        self.data = settings.data
        self._clock = clock
        self._entropy = entropy
        self._steps = steps
        self._lock = FolderLock(self.data / "up.lock")
        self._supervisor = Supervisor(
            logs=self.data / "log", clock=clock, tell=lambda text: steps.say("restart", text)
        )
        self._stopping = threading.Event()
        self._broker: Broker | None = None
        self._archive: ArchiveMaker | None = None
        self._watcher = threading.Thread(target=self._watch_broker, name="broker", daemon=True)
        self._platform: Platform | None = None
        self._founding: Founding | None = None

    @property
    def platform(self) -> Platform:
        """Where the platform answers; known once started."""
        if self._platform is None:
            raise StartError("the platform was not started")
        return self._platform

    @property
    def founding(self) -> Founding:
        """The folder's keys; known once started."""
        if self._founding is None:
            raise StartError("the platform was not started")
        return self._founding

    def start(self) -> Platform:
        """Starts everything but the store.

        Raises `FolderInUseError`, `ConfigError`, `BrokerError`, `JarError`, `StartError`.
        """
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock.take()
        self._check_ports()
        if (self.data / "credentials.json").exists():
            read_credentials(self.data)
        secrets = self._keep_secrets()
        broker = self._start_broker(secrets)
        founding = self._founding = found(
            self.data,
            entropy=self._entropy,
            clock=self._clock,
            audit_domain=self.settings.audit_domain,
        )
        platform = self._platform = self._describe(broker, founding, secrets)
        write_platform(self.data, platform)
        if not (self.data / "credentials.json").exists():
            store = StoreCredential(user="analyst", password=secrets.store_password)
            write_credentials(self.data, Credentials(agents={}, people={}, store=store))
        self._prepare_control(founding)
        with self._steps.step("processes", "gateway, decision lane and sealer ready"):
            log = open_log(platform, "auditor")
            watch = BeatWatch(log)
            self._supervisor.start(self._script("decide", "--lane", "a"))
            self._supervisor.start(self._script("seal"))
            self._supervisor.start(self._module("gateway", "agentguard.gateway"))
            self.wait_for(platform.gateway, "gateway")
            # a lane that still folds the log is alive, and decides nothing yet
            late = watch.wait_ready(
                (Role.DECIDE, Role.SEAL), clock=self._clock, timeout_ms=FOLD_WAIT_MS
            )
            watch.close()
            log.close()
        if late:
            raise StartError(f"not ready: {late}")
        return platform

    def start_store(self) -> None:
        """Starts the store and its read-only door, and waits until it answers."""
        with self._steps.step("store", "ClickHouse store ready"):
            self._supervisor.start(self._script("store"))
            self.wait_for(self.platform.store, "store")

    def wait_for(self, address: str, name: str) -> None:
        """Waits until a door says that it is ready. Raises `StartError` with why it is not.

        `name` is the process behind it: one that keeps ending is not waited for.
        """
        deadline_ms = self._clock.monotonic_ms() + READY_WAIT_S * 1_000
        why = "it does not answer"
        while self._clock.monotonic_ms() < deadline_ms:
            try:
                with urllib.request.urlopen(f"{address}/readyz", timeout=2):  # noqa: S310
                    return
            except urllib.error.HTTPError as error:
                why = error.read().decode("utf-8", "replace")[:300]
            except OSError as error:
                why = str(error)
            failing = self._supervisor.why_failing(name)
            if failing:
                raise StartError(f"the {name} does not start: {failing}")
            time.sleep(LOOK_EVERY_S)
        raise StartError(f"`{address}` is not ready after {READY_WAIT_S:.0f} s: {why}")

    def control_writer(self, log: KafkaLog) -> ControlWriter:
        """Returns a writer on the control log that has folded to its end."""
        fold = ControlFold(
            AvroCodec(), MlDsaVerifier(), bytes.fromhex(self.platform.genesis_digest)
        )
        writer = ControlWriter(
            log, fold, codec=AvroCodec(), clock=self._clock, entropy=self._entropy
        )
        writer.catch_up()
        return writer

    def prepare_next_start(self) -> None:
        """Makes the archive that halves later starts, once, beside everything at lowest priority."""
        if self._archive is not None:
            self._archive.start()

    def restarts(self) -> Sequence[str]:
        """Returns one line for each process that had to be restarted."""
        return [
            f"{p.name}: {p.restarts} restarts, last {p.last_exit}"
            for p in self._supervisor.report()
            if p.restarts
        ]

    def stop(self) -> None:
        """Stops every process in reverse order, the broker last, and gives the folder back."""
        self._stopping.set()
        if self._archive is not None:
            self._archive.stop()
        self._supervisor.stop()
        if self._broker is not None:
            if self._watcher.is_alive():
                self._watcher.join()
            self._broker.stop()
            self._broker = None
        self._lock.release()

    def _check_ports(self) -> None:
        """Raises `ConfigError` where another program has the port of a door.

        Whoever answers there would be sent the agents' credentials.
        """
        for name, port in (
            ("GATEWAY", self.settings.gateway_port),
            ("STORE", self.settings.store_port),
        ):
            if not is_port_free(port):
                raise ConfigError(
                    f"port {port} of the {name.lower()} is taken by another program",
                    next_step=f"end that program, or set AGENTGUARD_{name}_PORT to a free port",
                )

    def _keep_secrets(self) -> Secrets:
        fresh = new_passwords(read_catalogue(), self._entropy)
        kept = read_secrets(self.data)
        secrets = Secrets(
            kafka_cluster=kept.kafka_cluster if kept else new_cluster_id(self._entropy),
            passwords={**fresh, **kept.passwords} if kept else fresh,
            store_password=kept.store_password if kept else new_password(self._entropy),
        )
        if secrets != kept:
            write_secrets(self.data, secrets)
        return secrets

    def _start_broker(self, secrets: Secrets) -> Broker:
        cache = self.settings.cache
        java = find_java(self.settings.java)
        self._steps.say("java", f"{java.release} ({java.origin})")
        with self._steps.step("jars", "Apache Kafka's files verified"):
            jars = ensure_jars(
                cache,
                maven_url=self.settings.maven_url,
                clock=self._clock,
                say=lambda text: self._steps.say("jars", text),
            )
        jvm = Jvm(java=java, class_path=jars, archive=archive_path(cache, java, jars))
        self._archive = ArchiveMaker(jvm, clock=self._clock, entropy=self._entropy)
        broker = Broker(
            self.data / "broker",
            cluster_id=secrets.kafka_cluster,
            admin_password=secrets.passwords["admin"],
            jvm=jvm,
            entropy=self._entropy,
            clock=self._clock,
        )
        with self._steps.step("broker", "Apache Kafka ready"):
            broker.start()
            self._broker = broker
            broker.wait_ready()
        if broker.moved_from:
            self._steps.say("broker", f"port {broker.moved_from} is taken, now {broker.bootstrap}")
        with self._steps.step("permissions", "topics, users and permissions proved"):
            provision(
                broker.bootstrap,
                catalogue=read_catalogue(),
                passwords=secrets.passwords,
                done_file=self.data / "broker" / "provisioned",
                clock=self._clock,
            )
        self._watcher.start()
        return broker

    def _watch_broker(self) -> None:
        while not self._stopping.wait(BROKER_RESTART_WAIT_S):
            broker = self._broker
            if broker is not None and not broker.is_running():
                self._steps.say("restart", "the broker ended; it is started again")
                try:
                    broker.restart()
                except (OSError, BrokerError) as error:  # no memory, say: tried again
                    self._steps.say("restart", f"the broker could not be started: {error}")

    def _describe(self, broker: Broker, founding: Founding, secrets: Secrets) -> Platform:
        return Platform(
            cluster=founding.cluster,
            bootstrap=broker.bootstrap,
            gateway=f"http://{LOOPBACK}:{self.settings.gateway_port}",
            store=f"http://{LOOPBACK}:{self.settings.store_port}",
            genesis_digest=founding.genesis_digest.hex(),
            audit_domain=self.settings.audit_domain,
            tenant=self.settings.tenant,
            principals={
                name: Principal(username=name, password=password)
                for name, password in secrets.passwords.items()
            },
        )

    def _prepare_control(self, founding: Founding) -> None:
        """Brings the control log to Genesis, sealed topics and a release in force, in this order.

        Each step looks at what the fold already holds, so a crash between any two is harmless.
        """
        log = open_log(self.platform, "control")
        admin = open_log(self.platform, "admin")
        writer = self.control_writer(log)
        try:
            if writer.fold.genesis is None:
                writer.append_values([founding.genesis_value])
            if writer.fold.genesis is None:
                raise StartError("the control log does not begin with this folder's Genesis")
            if not writer.fold.sealed_topics():
                topics = tuple(
                    SealedTopic(
                        topic=t.value, topic_id=admin.topic_id(t), partitions=admin.partitions(t)
                    )
                    for t in SEALED_TOPICS
                )
                writer.submit([Order(body=SealedTopics(topics=topics))], founding.founders)
            if writer.fold.last_release() is None:
                digest = put_bundle(log, AvroCodec(), founding.cluster, baseline_bundle())
                command = default_release_command(founding, digest, entropy=self._entropy)
                writer.append_values([command])
            if writer.fold.last_release() is None:
                raise StartError("no policy release could be put in force")
        finally:
            writer.close()
            log.close()
            admin.close()

    def _environment(self, principal: str) -> dict[str, str]:
        platform, settings = self.platform, self.settings
        who = platform.principals[principal]
        return base_environment(
            {
                "KAFKA_BOOTSTRAP_SERVERS": platform.bootstrap,
                "KAFKA_SASL_USERNAME": who.username,
                "KAFKA_SASL_PASSWORD": who.password,
                "AGENTGUARD_CLUSTER": platform.cluster,
                "AGENTGUARD_GENESIS_DIGEST": platform.genesis_digest,
                "AGENTGUARD_AUDIT_DOMAIN": platform.audit_domain,
                "AGENTGUARD_DATA": str(self.data),
                "AGENTGUARD_TENANT": platform.tenant,
                "AGENTGUARD_ENVIRONMENT": settings.environment,
                "AGENTGUARD_POLICY_ENGINE": settings.policy_engine,
                "AGENTGUARD_GATEWAY_PORT": str(settings.gateway_port),
                "AGENTGUARD_STORE_PORT": str(settings.store_port),
                "REQUEST_TIMEOUT_MS": str(settings.request_timeout_ms),
                "MAX_CONCURRENT_REQUESTS": str(settings.in_flight_max),
                "LOG_LEVEL": settings.log_level,
                "CLICKHOUSE_URL": settings.clickhouse_url,
                "PYTHONPATH": str(_package_root()),
                "PYTHONUNBUFFERED": "1",
            }
        )

    def _script(self, name: str, *arguments: str) -> ProcessSpec:
        path = str(resource("streams", f"{name}.py"))
        return ProcessSpec(
            name=name,
            command=(sys.executable, "-P", path, *arguments),
            environment=self._environment(name),
        )

    def _module(self, name: str, module: str) -> ProcessSpec:
        return ProcessSpec(
            name=name,
            command=(sys.executable, "-P", "-m", module),
            environment=self._environment(name),
        )


def _package_root() -> Path:
    """Returns the folder that `import agentguard` is found in, for children in any other folder."""
    return Path(__file__).resolve().parents[2]
