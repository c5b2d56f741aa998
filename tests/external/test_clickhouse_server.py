# SPDX-License-Identifier: Apache-2.0
"""The same tables, sink and behaviour on a ClickHouse server, where one is given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.clickhouse_store import ClickHouseStore
from agentguard.store.schema import apply_migrations
from tests.contracts.row_store_behaviour import BEHAVIOURS
from tests.trail_store import Trail

pytestmark = pytest.mark.external
URL = os.environ.get("CLICKHOUSE_TEST_URL", "")


@pytest.fixture(scope="module")
def server() -> Iterator[ClickHouseStore]:
    if not URL:
        pytest.skip("CLICKHOUSE_TEST_URL names no empty ClickHouse server")
    store = ClickHouseStore(URL)
    apply_migrations(store)
    yield store
    store.close()


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_server_behaves_as_every_row_store_must(server: ClickHouseStore, name: str) -> None:
    BEHAVIOURS[name](server)


def test_migrations_are_applied_once(server: ClickHouseStore) -> None:
    assert apply_migrations(server) == ()


def test_server_stores_a_trail_once_over_two_starts(
    server: ClickHouseStore, tmp_path: Path, codec: AvroCodec
) -> None:
    trail = Trail(tmp_path, codec)
    trail.decide(trail.request())
    trail.store_all(server, tenant="")
    trail.store_all(server, tenant="")
    rows = server.query(
        "SELECT count(), countIf(counts) FROM agentguard.decisions_all "
        "WHERE topic = 'ag.decisions' AND source_offset = 0",
        {},
    )
    assert list(rows) == [(1, 1)]
