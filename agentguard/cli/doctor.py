# SPDX-License-Identifier: Apache-2.0
"""`agentguard doctor`: what is wrong with the platform of a folder, each with what mends it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import typer

from agentguard.cli.locate import DataOption, JsonOption
from agentguard.config import Settings, load_settings
from agentguard.contracts.codes import flatten
from agentguard.contracts.errors import AgentGuardError, ConfigError
from agentguard.local.platform_files import Platform, read_credentials, read_platform

DISK_FREE_BYTES_MIN: Final = 1_000_000_000
CLOCK_OFF_MS_MAX: Final = 500
HEARTBEAT_AGE_MS_MAX: Final = 5_000
ANSWER_S: Final = 3.0
ILL: Final = 1
OTHERS_MAY_READ: Final = 0o077
SECRETS: Final = ("platform.json", "credentials.json", "secrets.json", "founders/*", "keys/*")


class State(StrEnum):
    """What came of one check."""

    GOOD = "ok"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One thing that was looked at; `mend` is the command that helps where it is wrong."""

    check: str
    state: State
    text: str
    mend: str = ""


def command(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Say what is wrong and the command that mends it. Exit 0 where nothing is, else 1."""
    settings = load_settings()
    if data is not None:
        settings = replace(settings, data=data.absolute())
    found = []
    for diagnosis in examine(settings):
        found.append(diagnosis)
        if not as_json:
            _show(diagnosis)
    is_ill = any(d.state is State.WRONG for d in found)
    if as_json:
        print(json.dumps({"healthy": not is_ill, "checks": [asdict(d) for d in found]}))
    raise typer.Exit(ILL if is_ill else 0)


def examine(settings: Settings) -> Iterator[Diagnosis]:
    """Yields every diagnosis, what others rest on first; changes nothing."""
    yield _packages()
    yield _java(settings)
    yield _jars(settings)
    yield _disk(settings)
    platform = _platform(settings)
    if isinstance(platform, Diagnosis):
        yield platform
        yield from _ports(settings)
        return
    holder = holder_of(settings.data)
    yield _held(settings, holder)
    yield from _secrets(settings.data)
    if not holder:
        yield from _ports(settings)
        return
    yield from _doors(settings, platform)
    yield from _log(settings, platform)


def holder_of(data: Path) -> int:
    """Returns the id of the living process that holds a data folder, or 0."""
    try:
        process_id = int((data / "up.lock").read_text(encoding="ascii").strip() or "0")
    except (OSError, ValueError):
        return 0
    try:
        os.kill(process_id, 0)
    except PermissionError:
        return process_id  # somebody else's, and alive
    except (OSError, OverflowError):
        return 0
    return process_id


def _packages() -> Diagnosis:
    wanted = {"confluent_kafka": "platform", "regorus": "platform", "chdb": "store"}
    for module, extra in wanted.items():
        if find_spec(module) is None:
            return _wrong(
                "packages", f"`{module}` is not installed", f"pip install 'agentguard[{extra}]'"
            )
    return _good("packages", "platform and store are installed")


def _java(settings: Settings) -> Diagnosis:
    from agentguard.local.java import find_java

    try:
        java = find_java(settings.java)
    except ConfigError as error:
        return _wrong("java", str(error), error.next_step)
    return _good("java", f"{java.release} ({java.origin})")


def _jars(settings: Settings) -> Diagnosis:
    from agentguard.local.jars import locked_jars, wrong_jars

    wrong = wrong_jars(locked_jars(), settings.cache / "jars")
    if not wrong:
        return _good("jars", "Apache Kafka's files are as the lock names them")
    text = f"{len(wrong)} are missing or changed, the first is `{wrong[0].file_name}`"
    mend = f"{sys.executable} -m agentguard.local.jars --cache {settings.cache}"
    return _wrong("jars", text, mend)


def _disk(settings: Settings) -> Diagnosis:
    folder = next(p for p in (settings.data, *settings.data.parents) if p.exists())
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB free"
    if free >= DISK_FREE_BYTES_MIN:
        return _good("disk", text)
    return _wrong("disk", f"only {text}", f"du -xh --max-depth=1 {folder}")


def _platform(settings: Settings) -> Platform | Diagnosis:
    try:
        read_credentials(settings.data)
        return read_platform(settings.data)
    except ConfigError as error:
        return _wrong("folder", str(error), _up(settings))


def _held(settings: Settings, holder: int) -> Diagnosis:
    if holder:
        return _good("folder", f"`{settings.data}` is run by process {holder}")
    return _wrong("folder", f"nothing runs in `{settings.data}`", _up(settings))


def _secrets(data: Path) -> Iterator[Diagnosis]:
    paths = [path for pattern in SECRETS for path in sorted(data.glob(pattern))]
    open_to_others = [p for p in paths if p.stat().st_mode & OTHERS_MAY_READ]
    for path in open_to_others:
        yield _wrong("secrets", f"others may read `{path.name}`", f"chmod 600 {path}")
    if not open_to_others:
        yield _good("secrets", f"{len(paths)} files, readable by their owner only")


def _ports(settings: Settings) -> Iterator[Diagnosis]:
    for name, port in (("GATEWAY", settings.gateway_port), ("STORE", settings.store_port)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                mend = f"AGENTGUARD_{name}_PORT={port + 100} {_up(settings)}"
                yield _wrong("ports", f"another program listens on {port}", mend)
            else:
                yield _good("ports", f"{port} is free for the {name.lower()}")


def _doors(settings: Settings, platform: Platform) -> Iterator[Diagnosis]:
    for name, address in (("gateway", platform.gateway), ("store", platform.store)):
        why = not_ready(address)
        if why:
            yield _wrong(name, f"{address}: {flatten(why)}", _tail(settings.data, name))
        else:
            yield _good(name, f"{address} is ready")


def not_ready(address: str) -> str:
    """Returns why a door is not ready, or an empty text."""
    if urlsplit(address).scheme not in ("http", "https"):
        return "no such door"
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=ANSWER_S):  # noqa: S310 (checked)
            return ""
    except urllib.error.HTTPError as error:
        with error:
            return error.read(500).decode(errors="replace")
    except OSError:
        return "it does not answer"


def _log(settings: Settings, platform: Platform) -> Iterator[Diagnosis]:
    try:
        from agentguard.adapters.system import SystemClock
        from agentguard.local.beats import last_heartbeats

        beats = last_heartbeats(platform)
    except (AgentGuardError, ModuleNotFoundError) as error:
        yield _wrong("log", f"{platform.bootstrap}: {error}", _tail(settings.data, "broker"))
        return
    yield _good("log", f"{platform.bootstrap} answers")
    now_ms = SystemClock().now_ms()
    for beat, appended_ms in beats:
        who, mend = flatten(beat.process), _tail(settings.data, beat.role.value)
        if now_ms - appended_ms > HEARTBEAT_AGE_MS_MAX:
            yield _wrong("process", f"`{who}` gives no sign of life", mend)
        elif not beat.ready:
            yield _wrong("process", f"`{who}` is not ready: {flatten(beat.reason)}", mend)
        elif abs(beat.clock_ms - appended_ms) > CLOCK_OFF_MS_MAX:
            off = beat.clock_ms - appended_ms
            yield _wrong("clock", f"`{who}` is {off} ms off", "timedatectl set-ntp true")
        else:
            yield _good("process", f"`{who}` is ready")


def _up(settings: Settings) -> str:
    return f"agentguard up --data {settings.data}"


def _tail(data: Path, name: str) -> str:
    return f"tail -n 20 {data / 'log' / f'{name}.log'}"


def _good(check: str, text: str) -> Diagnosis:
    return Diagnosis(check=check, state=State.GOOD, text=text)


def _wrong(check: str, text: str, mend: str) -> Diagnosis:
    return Diagnosis(check=check, state=State.WRONG, text=text, mend=mend)


def _show(diagnosis: Diagnosis) -> None:
    print(f"{diagnosis.state:<8} {diagnosis.check:<10} {flatten(diagnosis.text)}")
    if diagnosis.mend:
        print(f"{'':<19} {diagnosis.mend}")
