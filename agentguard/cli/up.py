# SPDX-License-Identifier: Apache-2.0
"""`agentguard up`: the embedded platform in the foreground."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import typer

from agentguard.adapters.system import SystemClock, SystemEntropy
from agentguard.cli.locate import DataOption, JsonOption
from agentguard.config import load_settings
from agentguard.resources import resource


def command(
    data: DataOption = None,
    as_json: JsonOption = False,
    once: Annotated[bool, typer.Option("--once", help="stop once everything was shown")] = False,
    samples: Annotated[
        bool, typer.Option("--samples", help="register and send the recorded sample traffic")
    ] = False,
    then_install: Annotated[
        str, typer.Option(help="a lock that is installed meanwhile, for the store", metavar="LOCK")
    ] = "",
) -> None:
    """Start broker, gateway, decision lane, sealer and store; Ctrl-C or SIGTERM stops cleanly."""
    # imported here: the other verbs work without the platform's packages
    from agentguard.cli.tour import Tour
    from agentguard.local.show import NewcomersShow
    from agentguard.local.steps import Steps
    from agentguard.local.up import EmbeddedPlatform, open_log

    settings = load_settings()
    if data is not None:
        settings = replace(settings, data=data.absolute())
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    clock = SystemClock()
    steps = Steps(clock, _to_stderr if as_json else _to_stdout)
    meanwhile = _StoreWave(then_install)
    platform = EmbeddedPlatform(settings, clock=clock, entropy=SystemEntropy(), steps=steps)
    try:
        found = platform.start()
        show = NewcomersShow(platform, steps) if samples else None
        if show is not None:
            log = open_log(found, "control")
            writer = platform.control_writer(log)
            show.register(writer, platform.founding.founders)
            writer.close()
            log.close()
            show.first_calls()
        has_store = meanwhile.wait(stop)
        if has_store:
            platform.start_store()
        if show is not None and not stop.is_set():
            show.everything(_progress(as_json))
            tour = Tour(platform, steps)
            tour.prove(show.first_request_id)
            if has_store:
                tour.ask_store()
            tour.tamper()
        addresses = {
            "ready": True,
            "gateway": found.gateway,
            "tokens": None,
            "control": None,
            "store": found.store if has_store else None,
            "console": None,
            "kafka": found.bootstrap,
            "credentials": str(settings.data / "credentials.json"),
        }
        if as_json:
            print(json.dumps(addresses), flush=True)
        else:
            for name in ("gateway", "store", "kafka", "credentials"):
                steps.say(name, str(addresses[name] or "not installed: agentguard[store]"))
            if not once:
                steps.say("next", "agentguard agents register NAME; agentguard decide --help")
        if not once:
            platform.prepare_next_start()
        while not once and not stop.wait(0.5):
            pass
    finally:
        platform.stop()
        steps.say("stopped", "; ".join(platform.restarts()) or "cleanly")


class _StoreWave:
    """The second wave of packages, installed while the first calls are already decided."""

    def __init__(self, lock: str) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        if lock and importlib.util.find_spec("chdb") is None:
            installer = resource("agentguard", "local", "install.py")
            self._child = subprocess.Popen([sys.executable, "-P", str(installer), lock])  # noqa: S603

    def wait(self, stop: threading.Event) -> bool:
        """Returns whether the store's packages are here, once the wave has ended."""
        while self._child is not None and self._child.poll() is None and not stop.wait(0.1):
            pass
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()
        importlib.invalidate_caches()
        return importlib.util.find_spec("chdb") is not None


def _to_stdout(text: str) -> None:
    print(text, flush=True)


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _progress(quiet: bool) -> Callable[[int, int], None]:
    from rich.progress import Progress

    if quiet or not sys.stdout.isatty():
        return lambda _done, _all: None
    bar = Progress(transient=True)
    task = bar.add_task("sample traffic")
    bar.start()

    def step(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)
        if done == total:
            bar.stop()

    return step
