"""One platform for all tests of this folder, apart from the one that other tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.world import World, open_world


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = open_world(tmp_path_factory.mktemp("faults"))
    yield made
    assert made.live.stop() == 0
