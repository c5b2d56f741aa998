# SPDX-License-Identifier: Apache-2.0
"""A store process of its own for tests: they never open the embedded engine in theirs.

Founds a platform, puts a day's worth of every kind of record on a log in memory, stores it twice
(a stop and a start), tries what every row store must do, then serves the door until its input
ends. Prints one line of JSON.

usage: embedded_store_process.py FOLDER
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.chdb_queries import ChdbQueries
from agentguard.adapters.clickhouse_store import ClickHouseStore
from agentguard.contracts import records as r
from agentguard.contracts.errors import AgentGuardError
from agentguard.contracts.topics import Topic
from agentguard.store import shapes
from agentguard.store.door import Door, DoorStatus, DoorUser
from agentguard.store.service import StoreConfig, prepare
from tests.contracts.row_store_behaviour import BEHAVIOURS
from tests.trail_store import TENANT, Trail, checkpoint, deliveries, enforcement, outcome
from tests.trail_store import register_agent as agent

USER, PASSWORD = "analyst", "right-password"
SHAPES = [s for s in vars(shapes).values() if isinstance(s, shapes.Shape)]


def fill(trail: Trail) -> None:
    """Calls that were allowed, denied twice, answered late, never answered, and never decided."""
    trail.command(agent())
    trail.append(Topic.REQUESTS, outcome(trail.cluster))
    denied = trail.request()
    first = trail.decide(denied)
    trail.decide(denied, verdict=r.Verdict.ALLOW, codes=("allowed",), rules=("second",))
    allowed = trail.request(tool="mail.read")
    second = trail.decide(
        allowed,
        verdict=r.Verdict.ALLOW,
        codes=("allowed",),
        reason=r.Reason(template="allowed", arguments=("baseline/read",)),
        evidence=None,
        transform=None,
        approval=None,
    )
    trail.append(
        Topic.REQUESTS,
        deliveries(
            trail.cluster, [(denied, first, r.Verdict.DENY), (allowed, second, r.Verdict.ALLOW)]
        ),
    )
    late = trail.request(tool="mail.late")
    trail.decide(late, verdict=r.Verdict.ALLOW, grant=None)
    made = trail.codec.decode(trail.value(Topic.REQUESTS, 0, late) or b"")
    assert isinstance(made, r.AgentRequest)
    trail.append(
        Topic.REQUESTS, enforcement(trail.cluster, reason="deadline", request_id=made.request_id)
    )
    silent = trail.request(tool="mail.silent")
    trail.decide(silent, grant=None)
    trail.append(Topic.REQUESTS, enforcement(trail.cluster, reason="shed", count=7))
    at = trail.append(Topic.REQUESTS, b"no frame")
    trail.decide(at, grant=None)
    trail.request(partition=1, tenant="rival", tool="rival.secret")
    trail.append(Topic.CHECKPOINTS, checkpoint(trail.cluster, 3, trail.clock.now))
    trail.append(Topic.DEAD_LETTERS, b"no frame")


def tried(behaviours: Any, store: ClickHouseStore) -> dict[str, str]:
    """Returns each behaviour's name with what went wrong, empty where nothing did."""
    said: dict[str, str] = {}
    for name, behaviour in behaviours.items():
        try:
            behaviour(store)
        except (AssertionError, AgentGuardError, pytest.fail.Exception) as error:
            said[name] = repr(error) or "failed"
        else:
            said[name] = ""
    return said


def opened_again(config: StoreConfig, **changes: Any) -> str:
    """Returns what `prepare` says to another owner."""
    try:
        prepare(replace(config, **changes))
    except AgentGuardError as error:
        return str(error)
    return ""


def refused_statements(store: ClickHouseStore) -> dict[str, str]:
    """Returns each statement that would change what is stored, with the engine's answer."""
    said: dict[str, str] = {}
    for statement in (
        "DROP TABLE agentguard.requests",
        "TRUNCATE TABLE agentguard.requests",
        "ALTER TABLE agentguard.requests DELETE WHERE 1",
        "ALTER TABLE agentguard.requests UPDATE tool = 'x' WHERE 1",
        "ALTER TABLE agentguard.requests MODIFY TTL log_time + INTERVAL 1 SECOND",
        "ALTER TABLE agentguard.requests DROP PARTITION 20260101",
        "DELETE FROM agentguard.requests WHERE 1",
        "RENAME TABLE agentguard.requests TO agentguard.other",
        "CREATE OR REPLACE VIEW agentguard.decisions AS SELECT 1",
        "DROP VIEW agentguard.decisions",
        "CREATE TABLE agentguard.other (a UInt8) ENGINE = Memory",
        "DROP DATABASE agentguard",
        "INSERT INTO agentguard.requests (topic, keep_rank) VALUES ('x', 1)",
        "GRANT ALL ON *.* TO default",
    ):
        try:
            store.execute(statement)
        except AgentGuardError as error:
            said[statement] = str(error)
        else:
            said[statement] = ""
    return said


def main() -> None:
    folder = Path(sys.argv[1])
    trail = Trail(folder / "founding", AvroCodec())
    fill(trail)
    config = StoreConfig(
        dsn=f"chdb://{folder}/store/db",
        folder=folder / "store",
        cluster=trail.cluster,
        tenant=TENANT,
        genesis_digest=trail.founding.genesis_digest,
        host="127.0.0.1",
        port=0,
        user=DoorUser.of(USER, PASSWORD),
    )
    config_file = prepare(config)
    said: dict[str, Any] = {
        "other_cluster": opened_again(config, cluster="another"),
        "other_tenant": opened_again(config, tenant="rival"),
    }
    config_file = prepare(config)
    store = ClickHouseStore(config.dsn, config_file=config_file)
    sink = trail.store_all(store)
    trail.store_all(store)
    said["problems"] = sink.counts.problems
    said["columns"] = {
        shape.table: sorted(
            set(shape.columns)
            - {str(x[0]) for x in store.query(f"DESCRIBE TABLE agentguard.{shape.table}", {})}
        )
        for shape in SHAPES
    }
    said["refused"] = refused_statements(store)
    queries = ChdbQueries(folder / "store" / "db", config_file=config_file)
    status = DoorStatus(not_ready=lambda: sink.not_ready, metrics=lambda: "# metrics\n")
    door = Door(queries, config.user, status)
    said["door_fault"] = door.fault
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    said["port"] = listener.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(door.app, log_level="warning", lifespan="off"))
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True
    )
    thread.start()
    said["behaviours"] = tried(BEHAVIOURS, store)
    print(json.dumps(said), flush=True)
    sys.stdin.read()
    server.should_exit = True
    thread.join(10)
    store.close()
    queries.close()


if __name__ == "__main__":
    main()
