"""Starts that something stands in the way of, and what a restart must find again."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agentguard.adapters.system import SystemClock
from agentguard.local.jars import JarError, ensure_jars, locked_jars
from tests.faults.evidence import Ledger, assert_sealed, assert_stored, decided_ledger
from tests.faults.world import World, ask, until

pytestmark = [pytest.mark.platform, pytest.mark.slow, pytest.mark.timeout(240)]

AGENT = "other"
USAGE = 2
DEAD = "http://127.0.0.1:1"  # nothing listens there


@contextmanager
def taken(port: int) -> Iterator[None]:
    """Another program that listens on a port and answers everything with 200."""

    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Stranger)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def decided(world: World) -> str:
    """The id of a request that was allowed before any of this."""
    answer = until(partial(_allowed, world), what="the platform decides")
    return str(answer["requestId"])


def _allowed(world: World) -> dict[str, object]:
    answer = ask(world, AGENT)
    return answer if answer["action"] == "allow" else {}


@pytest.fixture(scope="module")
def before(world: World, decided: str) -> Ledger:
    assert decided
    return decided_ledger(world)


def test_a_second_start_on_a_folder_in_use_says_by_whom(world: World, decided: str) -> None:
    done = world.live.run("up", "--json")
    assert done.returncode == 1
    assert world.live.process is not None
    assert f"in use by process `{world.live.process.pid}`" in done.stderr
    assert "folder_in_use" in done.stderr
    assert "next: " in done.stderr
    assert done.stdout == ""
    assert ask(world, AGENT)["action"] == "allow"


@pytest.fixture(scope="module")
def stopped(world: World, before: Ledger) -> World:
    assert before.effective
    assert world.live.stop() == 0
    return world


@pytest.mark.parametrize("door", ["gateway", "store"])
def test_a_start_whose_door_another_program_has_names_the_port_and_is_not_ready(
    stopped: World, door: str
) -> None:
    port = int(stopped.live.environment[f"AGENTGUARD_{door.upper()}_PORT"])
    with taken(port):
        done = stopped.live.run("up", "--json", "--once")
    assert done.returncode == USAGE
    assert f"port {port} of the {door} is taken" in done.stderr
    assert f"AGENTGUARD_{door.upper()}_PORT" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["credentials.json", "secrets.json"])
def test_a_start_on_a_damaged_file_names_it_and_changes_nothing(stopped: World, name: str) -> None:
    path = stopped.live.data / name
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        done = stopped.live.run("up", "--json", "--once")
        assert done.returncode == USAGE
        assert f"`{path}` cannot be read or is damaged" in done.stderr
        assert path.read_bytes() == damaged
    path.write_bytes(whole)


def test_a_verb_on_a_damaged_platform_file_says_what_writes_it_anew(stopped: World) -> None:
    path = stopped.live.data / "platform.json"
    path.write_bytes(b'{"cluster":')
    done = stopped.live.run("decide", "--tool", "notes.read", "--params", "{}")
    assert done.returncode == USAGE
    assert "platform.json" in done.stderr
    assert "agentguard up" in done.stderr


@pytest.fixture(scope="module")
def copied_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the cache folder, the files shared as hard links where that is possible."""
    told = os.environ.get("AGENTGUARD_CACHE") or Path.home() / ".cache" / "agentguard"
    copy = tmp_path_factory.mktemp("cache")
    (copy / "jars").mkdir()
    for jar in locked_jars():
        source, target = Path(told) / "jars" / jar.file_name, copy / "jars" / jar.file_name
        try:
            target.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, target)
    return copy


def test_a_corrupt_jar_is_named_with_the_command_that_gets_it_where_nothing_can_be_fetched(
    stopped: World, copied_cache: Path
) -> None:
    jar = locked_jars()[7]
    path = copied_cache / "jars" / jar.file_name
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    environment = {
        **stopped.live.environment,
        "AGENTGUARD_CACHE": str(copied_cache),
        "AGENTGUARD_MAVEN_URL": DEAD,
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", "agentguard.cli.main", "up", "--json", "--once"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert f"`{jar.file_name}` is missing and could not be fetched" in done.stderr
    assert f"agentguard.local.jars --cache {copied_cache}" in done.stderr
    with pytest.raises(JarError, match=re.escape(jar.file_name)):
        ensure_jars(copied_cache, maven_url=DEAD, clock=SystemClock(), say=lambda _: None)


def test_after_all_that_the_platform_starts_on_another_broker_port_with_everything_it_had(
    stopped: World, before: Ledger, decided: str, tmp_path: Path
) -> None:
    state = json.loads((stopped.live.data / "broker" / "state.json").read_text())
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", state["port"]))
        squatter.listen()
        stopped.live.start()
    assert not stopped.platform.bootstrap.endswith(f":{state['port']}")
    until(partial(_allowed, stopped), what="decisions flow after the restart")
    after = decided_ledger(stopped)
    kept = {place: found.offset for place, found in before.effective.items()}
    assert kept.items() <= {p: found.offset for p, found in after.effective.items()}.items()
    proof = tmp_path / "proof"
    done = stopped.live.run("audit", "proof", decided, "--out", str(proof), "--json")
    assert done.returncode == 0, done.stderr
    digest = json.loads(done.stdout)["genesisDigest"]
    assert digest == stopped.platform.genesis_digest == before.genesis
    done = stopped.live.run("verify", "proof", str(proof), "--genesis", digest)
    assert done.returncode in (0, 3), done.stdout


def test_after_a_restart_all_of_it_is_sealed_and_stored_once(stopped: World) -> None:
    assert_sealed(stopped)
    assert_stored(stopped)
