"""Fixtures that every test may use."""

from __future__ import annotations

import pytest

from agentguard.adapters.avro_codec import AvroCodec


@pytest.fixture(scope="session")
def codec() -> AvroCodec:
    return AvroCodec()
