# SPDX-License-Identifier: Apache-2.0
"""The embedded broker's jars: named with their hashes in a lock, fetched once into a cache."""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from agentguard.contracts.errors import AgentGuardError
from agentguard.contracts.ports import Clock
from agentguard.resources import resource

_THREADS: Final = 8
_TRIES: Final = 3
_ANSWER_S: Final = 60
Say: TypeAlias = Callable[[str], None]
Fetch: TypeAlias = Callable[["Jar", Path], Path]


class JarError(AgentGuardError):
    """A jar of the broker that is missing or wrong and could not be had."""

    code = "jars"
    retryable = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Jar:
    """One line of the lock."""

    sha256: str
    size_bytes: int
    group: str
    artifact: str
    version: str

    @property
    def file_name(self) -> str:
        """The name of its file in the cache."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def coordinate(self) -> str:
        """`group:artifact:version`."""
        return f"{self.group}:{self.artifact}:{self.version}"


def read_lock(text: str) -> tuple[Jar, ...]:
    """Returns the jars of a lock, in class path order (by file name)."""
    jars = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            sha256, size, coordinate = line.split()
            group, artifact, version = coordinate.split(":")
            jars.append(
                Jar(
                    sha256=sha256,
                    size_bytes=int(size),
                    group=group,
                    artifact=artifact,
                    version=version,
                )
            )
    return tuple(sorted(jars, key=lambda jar: jar.file_name))


def locked_jars() -> tuple[Jar, ...]:
    """Returns the jars of the lock that travels with the package."""
    return read_lock(resource("infra", "kafka", "jars.lock").read_text(encoding="utf-8"))


def wrong_jars(jars: Sequence[Jar], folder: Path) -> tuple[Jar, ...]:
    """Returns the jars that are missing in a folder or differ from the lock: all are hashed."""
    with ThreadPoolExecutor(2) as pool:
        right = pool.map(lambda jar: _is_right(jar, folder / jar.file_name), jars)
        return tuple(jar for jar, is_right in zip(jars, right, strict=True) if not is_right)


def ensure_jars(cache: Path, *, maven_url: str, clock: Clock, say: Say) -> tuple[Path, ...]:
    """Returns the class path, after fetching what is missing or corrupt in `cache`/jars.

    Every jar is hashed at every call. `maven_url` (AGENTGUARD_MAVEN_URL) names a repository; empty:
    the first usable mirror of the user's Maven settings, else Maven Central. Raises `JarError`
    that names the first missing file and the command that gets it.
    """
    jars = locked_jars()
    folder = cache / "jars"
    wrong = wrong_jars(jars, folder)
    if wrong:
        repository = maven_url or mirror_of(Path.home() / ".m2" / "settings.xml")
        total = sum(jar.size_bytes for jar in wrong) / 1e6
        say(f"fetching {len(wrong)} jars of Apache Kafka, {total:.1f} MB, into {folder}")
        began = clock.monotonic_ms()
        fetch_jars(wrong, folder, fetch=_from_maven(repository))
        say(f"fetched and checked in {(clock.monotonic_ms() - began) / 1000:.1f} s")
    return tuple(folder / jar.file_name for jar in jars)


def fetch_jars(jars: Sequence[Jar], folder: Path, *, fetch: Fetch) -> None:
    """Fetches jars, checks each against the lock and moves it into place in one step.

    Raises `JarError`; what was fetched and right until then stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".fetch-", dir=folder))
    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            done = [pool.submit(_fetch_one, jar, work, folder, fetch) for jar in jars]
            for one in done:
                one.result()
    finally:
        shutil.rmtree(work, ignore_errors=True)


def mirror_of(settings: Path) -> str:
    """Returns the URL of the first mirror of Maven Central in a settings file, or ``."""
    if not settings.is_file():
        return ""
    try:
        root = ET.parse(settings).getroot()  # noqa: S314 (the user's own settings)
    except ET.ParseError:
        return ""
    for element in root.iter():
        if element.tag.rpartition("}")[2] == "mirror":
            told = {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in element}
            names = {name.strip() for name in told.get("mirrorOf", "").split(",")}
            is_usable = names & {"central", "*", "external:*"} and told.get("blocked") != "true"
            if is_usable and told.get("url"):
                return told["url"].rstrip("/")
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetches the jars into a cache folder: what an offline start asks for."""
    from agentguard.adapters.system import SystemClock

    parser = argparse.ArgumentParser(prog="python -m agentguard.local.jars")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--maven-url", default="")
    told = parser.parse_args(arguments)
    try:
        ensure_jars(told.cache, maven_url=told.maven_url, clock=SystemClock(), say=print)
    except JarError as error:
        print(f"{error.code}: {error}; {error.next_step}", file=sys.stderr)
        return 1
    return 0


def _is_right(jar: Jar, path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except OSError:
        return False


def _fetch_one(jar: Jar, work: Path, folder: Path, fetch: Fetch) -> None:
    fetched = fetch(jar, work)
    if not _is_right(jar, fetched):
        raise JarError(
            f"`{jar.file_name}` as fetched is not what the lock names",
            next_step="try another repository with AGENTGUARD_MAVEN_URL",
        )
    Path(fetched).replace(folder / jar.file_name)


def _from_maven(repository: str) -> Fetch:
    """Returns a fetch from a Maven repository; empty is Maven Central."""
    import requests
    from jgo.maven import MavenContext

    remotes = {"central": repository} if repository else None

    def fetch(jar: Jar, work: Path) -> Path:
        context = MavenContext(repo_cache=work, remote_repos=remotes, timeout=_ANSWER_S)
        artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
        for left in reversed(range(_TRIES)):
            try:
                return Path(artifact.resolve())
            except (requests.RequestException, RuntimeError, OSError, ValueError) as error:
                if left == 0:
                    folder = work.parent.parent
                    raise JarError(
                        f"`{jar.file_name}` is missing and could not be fetched",
                        next_step="with a network, or AGENTGUARD_MAVEN_URL set to a mirror: "
                        f"{sys.executable} -m agentguard.local.jars --cache {folder}",
                    ) from error
        raise AssertionError("not reached")

    return fetch


if __name__ == "__main__":
    sys.exit(main())
