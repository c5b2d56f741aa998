# SPDX-License-Identifier: Apache-2.0
"""Puts the body of a policy release on its topic and finds it again by digest."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from agentguard.bounds import BUNDLE_BYTES_MAX
from agentguard.contracts.errors import ReleaseError, UndecodableError
from agentguard.contracts.ports import Clock, Codec, Delivery, LogRecord, TopicPartition
from agentguard.contracts.records import Bundle, Mode
from agentguard.contracts.topics import Topic, partition_of
from agentguard.local.control_writer import CONTROL_WAIT_MS_MAX, POLL_MS, OpenLog, flush_all
from agentguard.policy.release import MANIFEST_NAME, build_bundle, make_manifest
from agentguard.resources import read_folder, resource

RECORDS_PER_READ_MAX = 16
BASELINE = "baseline-1"


def baseline_bundle() -> bytes:
    """Returns the release that comes with this build: the same bytes wherever it is built."""
    return bundle_of(resource("policies", "baseline"), revision=BASELINE)


def bundle_of(folder: Path, *, revision: str) -> bytes:
    """Returns the bundle of a folder, with a manifest where it has none. Raises `ReleaseError`."""
    files = read_folder(folder)
    if not files:
        raise ReleaseError(f"folder `{folder.name}` is missing or holds no file")
    files.setdefault(MANIFEST_NAME, make_manifest(files, revision=revision))
    return build_bundle(files)


def put_bundle(log: OpenLog, codec: Codec, cluster: str, body: bytes) -> bytes:
    """Appends a release's body and returns its digest. The bundle comes before its command.

    Raises `ReleaseError` where it is too large, `LogError` where it was not acknowledged.
    """
    if len(body) > BUNDLE_BYTES_MAX:
        raise ReleaseError(f"the bundle is larger than {BUNDLE_BYTES_MAX} bytes")
    digest = sha256(body).digest()
    record = Bundle(cluster=cluster, mode=Mode.LIVE, digest=digest, body=body)
    at = _place(log, digest)
    writer = log.writer("bundles")
    delivered: list[Delivery] = []
    writer.append(
        at.topic,
        codec.encode(record),
        key=_key(digest),
        partition=at.partition,
        on_delivery=delivered.append,
    )
    flush_all(writer, delivered, 1)
    return digest


def find_bundle(log: OpenLog, codec: Codec, digest: bytes, clock: Clock) -> bytes | None:
    """Returns the release body of this digest, or None where the log does not hold it.

    Only the digest is trusted: a record that lies under it with another body is passed over.
    """
    at = _place(log, digest)
    first, end = log.bounds(at)
    deadline_ms = clock.monotonic_ms() + CONTROL_WAIT_MS_MAX
    reader = log.reader({at: first})
    try:
        position = first
        while position < end and clock.monotonic_ms() < deadline_ms:
            for record in reader.read(timeout_ms=POLL_MS, records_max=RECORDS_PER_READ_MAX):
                position = record.offset + 1
                body = _bundle_body(codec, record)
                if body is not None and sha256(body).digest() == digest:
                    return body
    finally:
        reader.close()
    return None


def _bundle_body(codec: Codec, record: LogRecord) -> bytes | None:
    try:
        bundle = codec.decode(record.value or b"")
    except UndecodableError:
        return None
    return bundle.body if isinstance(bundle, Bundle) else None


def _key(digest: bytes) -> bytes:
    return digest.hex().encode()


def _place(log: OpenLog, digest: bytes) -> TopicPartition:
    topic = Topic.BUNDLES.value
    return TopicPartition(topic, partition_of(_key(digest), log.partitions(topic)))
