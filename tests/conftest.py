"""Fixtures and profiles that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from agentguard.adapters.avro_codec import AvroCodec
from tests.live_platform import LivePlatform

# Wall-clock deadlines have no place on shared machines; examples are bounded instead.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("quick", max_examples=100, derandomize=True, **_COMMON)
settings.register_profile("thorough", max_examples=1_000, print_blob=True, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="session")
def codec() -> AvroCodec:
    return AvroCodec()


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePlatform]:
    """One running platform with the sample tools registered, shared by all tests of a session."""
    platform = LivePlatform.in_folder(tmp_path_factory.mktemp("live") / "data")
    platform.start("--samples")
    yield platform
    assert platform.stop() == 0


SKIPS = Path(__file__).parent / "skips.txt"
SLOW_SECONDS = 5.0
_seen: dict[str, list[str]] = {"skipped": [], "slow": []}


def allowed_skips() -> list[str]:
    """Starts of test ids that may be skipped; each line of the file says why and when it ran."""
    lines = SKIPS.read_text(encoding="utf-8").splitlines()
    return [line.split("|")[0].strip() for line in lines if line and not line.startswith("#")]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _seen["skipped"].append(report.nodeid)
    if report.when == "call" and report.duration > SLOW_SECONDS and "slow" not in report.keywords:
        _seen["slow"].append(f"{report.nodeid} ({report.duration:.1f} s)")


def pytest_sessionfinish(session: pytest.Session) -> None:
    allowed = tuple(allowed_skips())
    unlisted = [n for n in _seen["skipped"] if not n.startswith(allowed or ("\0",))]
    if unlisted and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    _seen["unlisted"] = unlisted


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for node in _seen.get("unlisted", []):
        terminalreporter.write_line(f"skipped and not in tests/skips.txt: {node}", red=True)
    for node in _seen["slow"]:
        terminalreporter.write_line(f"over {SLOW_SECONDS:.0f} s and not marked slow: {node}")
