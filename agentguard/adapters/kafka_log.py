# SPDX-License-Identifier: Apache-2.0
"""The log on Apache Kafka, through librdkafka: writers, readers and what the log says of itself."""

from __future__ import annotations

import base64
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient

from agentguard.contracts.errors import FatalLogError, LogError, QueueFullError
from agentguard.contracts.ports import (
    Delivery,
    LogRecord,
    OnDelivery,
    StartPositions,
    TopicPartition,
)

Settings: TypeAlias = dict[str, Any]  # librdkafka's own names; an edge

_ASK_S: Final = 5.0
_COMMON: Final[Settings] = {
    "socket.nagle.disable": True,
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 500,
    "allow.auto.create.topics": False,
    "topic.metadata.refresh.interval.ms": 30_000,
    "log_level": 2,
}
_WRITER: Final[Settings] = {
    "acks": "all",
    "enable.idempotence": True,
    "linger.ms": 0,
    "partitioner": "murmur2_random",
    "queue.buffering.max.messages": 100_000,
    # topics.yaml lets no batch above 65,536 bytes onto a sealed topic: one larger is lost whole
    "batch.size": 61_440,
}
_READER: Final[Settings] = {
    "auto.offset.reset": "error",  # a gap is tampering or a finding, never a jump
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "isolation.level": "read_uncommitted",
    "fetch.min.bytes": 1,
    "fetch.wait.max.ms": 500,
    "fetch.queue.backoff.ms": 1,
    "queued.max.messages.kbytes": 16_384,  # bounds what librdkafka reads ahead
}
_MEMBER: Final[Settings] = {
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 1_000,
    "partition.assignment.strategy": "range",
}
_DEAD: Final = frozenset(
    {ck.KafkaError.FENCED_INSTANCE_ID, ck.KafkaError.UNRELEASED_INSTANCE_ID, ck.KafkaError._FATAL}  # noqa: SLF001 (librdkafka's own code)
)
_QUEUE_FULL: Final = ck.KafkaError._QUEUE_FULL  # noqa: SLF001
_POSITION_GONE: Final = ck.KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001
_AUTHENTICATION: Final = ck.KafkaError._AUTHENTICATION  # noqa: SLF001
_GROUP_REFUSED: Final = ck.KafkaError.GROUP_AUTHORIZATION_FAILED


class KafkaLog:
    """`Log` and `LogIndex` on a Kafka cluster. May be shared between threads.

    With a `username`: SCRAM-SHA-512 over SASL_PLAINTEXT; `settings` are librdkafka's own names and
    win over everything here (`security.protocol`, `ssl.ca.location`, `sasl.mechanism`, …).
    `delivery_timeout_ms` is how long a writer tries; a report of failure after that does not
    prove that the record is not on the log.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        username: str,
        password: str,
        client_id: str,
        settings: Mapping[str, str | int | bool] | None = None,
        delivery_timeout_ms: int = 5_000,
    ) -> None:
        self._common = {**_COMMON, "bootstrap.servers": bootstrap, "client.id": client_id}
        if username:
            self._common |= {
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.username": username,
                "sasl.password": password,
            }
        self._settings = dict(settings or {})
        self._delivery_timeout_ms = delivery_timeout_ms
        # a consumer must name a group even where it has none: one the principal may read
        self._no_group = f"{username or client_id}.none"
        self._opening = threading.Lock()
        self._asking: ck.Consumer | None = None
        self._admin: AdminClient | None = None

    def writer(self, name: str) -> KafkaWriter:
        """Returns a new writer: one client, one connection.

        Its first append goes out half a second after this at the earliest (librdkafka asks for the
        producer's id on a timer), later ones at once: open writers before they are needed.
        """
        return KafkaWriter(
            {
                **self._common,
                **_WRITER,
                "message.timeout.ms": self._delivery_timeout_ms,
                "client.id": name,
                **self._settings,
            }
        )

    def reader(self, positions: Mapping[TopicPartition, int]) -> KafkaReader:
        """Returns a reader of these partitions. Raises `LogError` where the log is silent."""
        return KafkaReader(self._reading(self._no_group), positions)

    def member(
        self, *, group: str, instance: str, topics: Sequence[str], start: StartPositions
    ) -> KafkaMember:
        """Returns a static member; partitions come with its reads, `start` is called in them.

        An `instance` belongs to one process at a time: a second one fences the first.
        """
        settings = {**self._reading(group), **_MEMBER, "group.instance.id": instance}
        return KafkaMember({**settings, **self._settings}, topics, start)

    def bounds(self, partition: TopicPartition) -> tuple[int, int]:
        """Returns the first offset and the end, asked now. Raises `LogError` without an answer."""
        asked = ck.TopicPartition(partition.topic, partition.partition)
        index = self._index()
        index.poll(0)  # or what it has to say in an outage would pile up
        try:
            found = index.get_watermark_offsets(asked, timeout=_ASK_S, cached=False)
        except ck.KafkaException as error:
            raise _log_error(error.args[0], "asking for the log's bounds") from error
        if found is None:
            raise LogError("the log did not say its bounds in time")
        return int(found[0]), int(found[1])

    def topic_id(self, topic: str) -> str:
        """Returns the topic's id as Kafka prints it (base64url). Raises `LogError`."""
        future = self._administration().describe_topics(
            ck.TopicCollection([topic]), request_timeout=_ASK_S
        )[topic]
        try:
            found = future.result(_ASK_S).topic_id
        except ck.KafkaException as error:
            raise _log_error(error.args[0], "asking for a topic's id") from error
        # str() of the client's own type is plain base64: a `/` in it would split an origin line
        halves = (found.get_most_significant_bits(), found.get_least_significant_bits())
        raw = b"".join((half & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "big") for half in halves)
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    def partitions(self, topic: str) -> int:
        """Returns how many partitions a topic has. Raises `LogError` for an unknown topic."""
        return _partitions(self._index(), topic)

    def committed(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Returns the group's stored next offsets; a partition without one is left out."""
        asked = ck.ConsumerGroupTopicPartitions(
            group, [ck.TopicPartition(at.topic, at.partition) for at in partitions]
        )
        future = self._administration().list_consumer_group_offsets(
            [asked], request_timeout=_ASK_S
        )[group]
        try:
            found = future.result(_ASK_S).topic_partitions
        except ck.KafkaException as error:
            raise _log_error(error.args[0], "asking for a group's offsets") from error
        return {TopicPartition(at.topic, at.partition): at.offset for at in found if at.offset >= 0}

    def close(self) -> None:
        """Closes what the index has opened; writers and readers are closed by their owners."""
        with self._opening:
            if self._asking is not None:
                self._asking.close()
            self._asking = self._admin = None

    def _reading(self, group: str) -> Settings:
        return {**self._common, **_READER, "group.id": group, **self._settings}

    def _index(self) -> ck.Consumer:
        with self._opening:
            if self._asking is None:
                quiet = {"error_cb": lambda _error: None}
                self._asking = ck.Consumer({**self._reading(self._no_group), **quiet})
            return self._asking

    def _administration(self) -> AdminClient:
        with self._opening:
            if self._admin is None:
                self._admin = AdminClient({**self._common, **self._settings})
            return self._admin


class KafkaWriter:
    """`LogWriter` on one librdkafka producer.

    `append` may be called from any thread; callbacks run in the thread that polls or flushes, so
    the one that appends should also be the one that polls.
    """

    def __init__(self, settings: Settings) -> None:
        self._fatal = ""
        self._refused: deque[tuple[OnDelivery, Delivery]] = deque()
        self._producer = ck.Producer({**settings, "error_cb": self._note})
        self._produce = self._producer.produce
        self._poll = self._producer.poll

    def append(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None,
        partition: int,
        on_delivery: OnDelivery | None = None,
    ) -> None:
        """Queues a record; see `LogWriter.append`. Without `on_delivery` nobody hears of a loss."""
        try:
            if on_delivery is None:
                self._produce(topic, value, key, partition)
                return

            def report(error: ck.KafkaError | None, message: Any) -> None:
                if error is None:
                    on_delivery(Delivery(partition, message.offset(), ""))
                else:
                    on_delivery(Delivery(partition, -1, error.name()))

            self._produce(topic, value, key, partition, report)
        except BufferError as error:
            raise QueueFullError("the writer's queue is full") from error
        except ck.KafkaException as error:
            self._refuse(error, partition, on_delivery)

    def poll(self) -> None:
        """Calls delivery callbacks that are due; never blocks. Raises `FatalLogError`."""
        try:
            self._poll(0)
        except (ck.KafkaException, SystemError) as error:
            self._die(error)
        if self._refused:
            self._report_refused()
        if self._fatal:
            raise FatalLogError(f"the log client died: `{self._fatal}`")

    def flush(self, timeout_ms: int) -> int:
        """Waits until all is delivered or the time is over; returns how many are left."""
        left = 0
        try:
            left = self._producer.flush(timeout_ms / 1000)
        except (ck.KafkaException, SystemError) as error:
            self._die(error)
        self._report_refused()
        if self._fatal:
            raise FatalLogError(f"the log client died: `{self._fatal}`")
        return left

    def _die(self, error: BaseException) -> None:
        """Raises for what the client throws instead of reporting: always a fatal error.

        It throws from within its callbacks, which may surface as a `SystemError` caused by it.
        """
        cause = error if isinstance(error, ck.KafkaException) else error.__cause__
        if not isinstance(cause, ck.KafkaException):
            raise error
        self._fatal = cause.args[0].name()
        raise FatalLogError(f"the log client died: `{self._fatal}`") from error

    def _refuse(
        self, exception: ck.KafkaException, partition: int, on_delivery: OnDelivery | None
    ) -> None:
        """Turns what librdkafka refuses at once into a report like every other failure."""
        error = exception.args[0]
        if error.code() == _QUEUE_FULL:
            raise QueueFullError("the writer's queue is full") from exception
        if _is_dead(error):
            self._fatal = error.name()
            raise FatalLogError(f"the log client died: `{self._fatal}`") from exception
        if on_delivery is not None:
            self._refused.append((on_delivery, Delivery(partition, -1, error.name())))

    def _report_refused(self) -> None:
        while self._refused:
            on_delivery, delivery = self._refused.popleft()
            on_delivery(delivery)

    def _note(self, error: ck.KafkaError) -> None:
        if _is_dead(error):
            self._fatal = error.name()


class KafkaReader:
    """`LogReader` of fixed partitions on one librdkafka consumer. Belongs to one thread."""

    def __init__(self, settings: Settings, positions: Mapping[TopicPartition, int]) -> None:
        self._fatal = ""
        self._gone: LogError | None = None
        self._refused: LogError | None = None
        self._consumer = ck.Consumer({**settings, "error_cb": self._note})
        self._begin(positions)

    def read(self, *, timeout_ms: int, records_max: int) -> Sequence[LogRecord]:
        """Returns what is there, waiting up to `timeout_ms` for the first record.

        An error that comes between records is raised by the next read, after them. A position
        that is gone stays so: every later read raises.
        """
        if self._fatal or self._gone or self._refused:
            self._raise_noted()
        try:
            first = self._consumer.poll(timeout_ms / 1000)
        except ck.KafkaException as error:  # how the client tells of its own death
            first = None
            self._set_aside(error.args[0])
        if first is None:
            self._raise_noted()
            return ()
        messages: list[Any] = [first]
        if records_max > 1:
            try:
                messages += self._consumer.consume(records_max - 1, 0)
            except ck.KafkaException as error:
                self._set_aside(error.args[0])
        records = [
            LogRecord(m.topic(), m.partition(), m.offset(), m.key(), m.value(), m.timestamp()[1])
            for m in messages
            if m.error() is None or self._set_aside(m.error())
        ]
        if not records:
            self._raise_noted()
        return records

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Does nothing: this reader has no group."""

    def close(self) -> None:
        """Leaves; the reader is unusable afterwards."""
        self._consumer.close()

    def _begin(self, positions: Mapping[TopicPartition, int]) -> None:
        # A topic that the client never asked for is fetched only 1-2 s after `assign`.
        counts = {at.topic: 0 for at in positions}
        for topic in counts:
            counts[topic] = _partitions(self._consumer, topic)
        for at in positions:
            if at.partition >= counts[at.topic]:
                raise LogError(f"unknown partition `{at.topic}/{at.partition}`")
        self._consumer.assign(_offsets(positions))

    def _note(self, error: ck.KafkaError) -> None:
        if _is_dead(error):
            self._fatal = error.name()
        elif error.code() == _AUTHENTICATION:
            self._refused = _log_error(error, "connecting")

    def _set_aside(self, error: ck.KafkaError) -> bool:
        """Notes an error event for the next raise; returns False, because it is no record."""
        if _is_dead(error):
            self._fatal = error.name()
        elif error.code() == _POSITION_GONE:
            self._gone = _log_error(error, "reading")
        elif not self._is_harmless(error):
            self._refused = _log_error(error, "reading")
        return False

    def _is_harmless(self, error: ck.KafkaError) -> bool:
        # librdkafka looks up the coordinator of a group that this reader never joins
        return bool(error.code() == _GROUP_REFUSED)

    def _raise_noted(self) -> None:
        if self._fatal:
            raise FatalLogError(f"the log client died: `{self._fatal}`")
        if self._gone is not None:
            raise self._gone
        if self._refused is not None:
            refused, self._refused = self._refused, None
            raise refused


class KafkaMember(KafkaReader):
    """`LogReader` of a static member of a classic consumer group. Belongs to one thread."""

    def __init__(self, settings: Settings, topics: Sequence[str], start: StartPositions) -> None:
        self._topics = list(topics)
        self._start = start
        super().__init__({**settings, "on_commit": self._committed}, {})

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Stores next offsets for the group, without waiting. Raises `FatalLogError`."""
        if self._fatal:
            self._raise_noted()
        try:
            self._consumer.commit(offsets=_offsets(positions), asynchronous=True)
        except ck.KafkaException as error:
            self._set_aside(error.args[0])
            if self._fatal:
                self._raise_noted()

    def _begin(self, positions: Mapping[TopicPartition, int]) -> None:
        del positions
        self._consumer.subscribe(
            self._topics, on_assign=self._gained, on_revoke=self._lost, on_lost=self._lost
        )

    def _gained(self, consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        gained = [TopicPartition(at.topic, at.partition) for at in partitions]
        positions: list[ck.TopicPartition] = []
        try:
            found = self._start(gained)
            missing = [at for at in gained if at not in found]
            if missing:
                raise LogError(f"no start position for `{missing[0].topic}/{missing[0].partition}`")
            positions = _offsets({at: found[at] for at in gained})
        finally:
            # without this the client would begin by itself, at the committed offsets
            consumer.assign(positions)

    def _lost(self, consumer: ck.Consumer, partitions: list[ck.TopicPartition]) -> None:
        del consumer, partitions
        self._start(())

    def _committed(self, error: ck.KafkaError | None, partitions: list[ck.TopicPartition]) -> None:
        """Notes a dead client; any other failed commit is made good by the next one."""
        del partitions
        if error is not None and _is_dead(error):
            self._fatal = error.name()

    def _is_harmless(self, error: ck.KafkaError) -> bool:
        del error
        return False


def _is_dead(error: ck.KafkaError) -> bool:
    return bool(error.fatal() or error.code() in _DEAD)


def _log_error(error: ck.KafkaError, doing: str) -> LogError:
    return LogError(f"the log answered `{error.name()}` on {doing}")


def _offsets(positions: Mapping[TopicPartition, int]) -> list[ck.TopicPartition]:
    return [ck.TopicPartition(at.topic, at.partition, offset) for at, offset in positions.items()]


def _partitions(client: ck.Consumer, topic: str) -> int:
    try:
        found = client.list_topics(topic, timeout=_ASK_S).topics[topic]
    except ck.KafkaException as error:
        raise _log_error(error.args[0], f"asking for topic `{topic}`") from error
    if found.error is not None:
        raise _log_error(found.error, f"asking for topic `{topic}`")
    return len(found.partitions)
