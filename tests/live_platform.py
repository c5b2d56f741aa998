"""One `agentguard up` for every test that needs the platform: a real broker, gateway and store."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
READY_S = 120.0


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without settings of ours, so that a developer's do not leak in."""
    ours = ("AGENTGUARD_", "KAFKA_", "CLICKHOUSE_", "REQUEST_TIMEOUT", "MAX_CONCURRENT")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    cache = (
        {"AGENTGUARD_CACHE": os.environ["AGENTGUARD_CACHE"]}
        if ("AGENTGUARD_CACHE" in os.environ)
        else {}
    )
    return {**kept, **cache, **extra}


@dataclass(slots=True)
class LivePlatform:
    """A running `agentguard up`, started by `start` and ended by `stop`."""

    data: Path
    environment: dict[str, str]
    addresses: dict[str, Any]
    process: subprocess.Popen[str] | None = None

    @classmethod
    def in_folder(cls, data: Path) -> LivePlatform:
        environment = child_environment(
            {
                "AGENTGUARD_DATA": str(data),
                "AGENTGUARD_GATEWAY_PORT": str(free_port()),
                "AGENTGUARD_STORE_PORT": str(free_port()),
            }
        )
        return cls(data=data, environment=environment, addresses={})

    def start(self, *options: str) -> float:
        """Starts it and waits for the line that says ready; returns the seconds it took."""
        started = time.monotonic()
        self.data.parent.mkdir(parents=True, exist_ok=True)
        with (self.data.parent / "up.stderr").open("ab") as words:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "agentguard.cli.main", "up", "--json", *options],
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=words,
                text=True,
            )
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], READY_S)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.stop()
            tail = (self.data.parent / "up.stderr").read_text()[-3_000:]
            raise AssertionError(f"the platform did not come up:\n{tail}")
        self.addresses = json.loads(line)
        return time.monotonic() - started

    def stop(self) -> int:
        """Ends it by SIGTERM and returns its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None
        return code

    def run(self, *arguments: str, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Runs one verb of the command line against this platform."""
        return subprocess.run(
            [sys.executable, "-P", "-m", "agentguard.cli.main", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def token(self, agent_id: str) -> str:
        """The credential of an agent."""
        credentials = json.loads((self.data / "credentials.json").read_text())
        return str(credentials["agents"][agent_id]["token"])
