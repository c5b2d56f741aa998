# SPDX-License-Identifier: Apache-2.0
"""Preloaded classes for the embedded broker's Java: made once, in the background, for all folders."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from agentguard.contracts.errors import AgentGuardError
from agentguard.contracts.ports import Clock, Entropy
from agentguard.local.broker import (
    AHEAD_OF_TIME_CACHE_SINCE,
    Broker,
    Jvm,
    new_cluster_id,
    new_password,
)
from agentguard.local.java import Java

_WRITE_S: Final = 120  # the archive is written at exit, at the lowest priority


def archive_path(cache: Path, java: Java, class_path: Sequence[Path]) -> Path:
    """Returns where the archive of this Java and these jars lies, whether or not it exists."""
    names = "\n".join(str(path) for path in class_path)
    jars = hashlib.sha256(f"{java.path}\n{names}".encode()).hexdigest()[:12]
    return cache / "archives" / f"java-{java.release}-{jars}.jsa"


class ArchiveMaker:
    """Starts a throw-away broker once, at the lowest priority, and keeps its loaded classes.

    It costs about 10 s of one core and 45 MB (60 MB and 25 s from Java 25 on); later starts need
    half the time. A maker that is stopped leaves nothing behind.
    """

    def __init__(self, jvm: Jvm, *, clock: Clock, entropy: Entropy) -> None:
        self._jvm = jvm
        self._clock = clock
        self._entropy = entropy
        self._is_stopped = threading.Event()
        self._broker: Broker | None = None
        self._thread = threading.Thread(target=self._run, name="archive", daemon=True)
        self.failure = ""
        """Why no archive was made, for `doctor`; empty while nothing went wrong."""

    def start(self) -> None:
        """Begins, unless there is an archive or no place for one."""
        if self._jvm.archive is not None and not self._jvm.has_archive():
            self._thread.start()

    def stop(self) -> None:
        """Ends what has begun and waits for it."""
        self._is_stopped.set()
        broker = self._broker
        if broker is not None:
            broker.kill()
        self.wait()

    def wait(self) -> None:
        """Waits until it is done."""
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        assert self._jvm.archive is not None  # noqa: S101 (start has looked)
        archive = self._jvm.archive
        archive.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".make-", dir=archive.parent))
        try:
            made = self._make(work)
            if made.is_file() and not self._is_stopped.is_set():
                made.replace(archive)
        except AgentGuardError as error:
            if not self._is_stopped.is_set():
                self.failure = str(error)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _make(self, work: Path) -> Path:
        made = work / "classes.jsa"
        if self._jvm.java.version >= AHEAD_OF_TIME_CACHE_SINCE:
            option = f"-XX:AOTCacheOutput={made}"
        else:
            option = f"-XX:ArchiveClassesAtExit={made}"
        nice = shutil.which("nice")
        jvm = replace(
            self._jvm,
            archive=None,
            options=(option,),
            prefix=(nice, "-n", "19") if nice else (),
        )
        broker = Broker(
            work / "broker",
            cluster_id=new_cluster_id(self._entropy),
            admin_password=new_password(self._entropy),
            jvm=jvm,
            clock=self._clock,
            entropy=self._entropy,
        )
        broker.start()
        self._broker = broker
        if self._is_stopped.is_set():
            broker.kill()
        try:
            broker.wait_ready()
        finally:
            broker.stop(wait_s=_WRITE_S)
        return made
