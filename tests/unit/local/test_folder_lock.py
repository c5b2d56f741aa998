"""One process per folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentguard.local.folder_lock import FolderInUseError, FolderLock

CHILD = "import sys, time; sys.stdin.read()"


def test_a_held_folder_is_refused_and_its_holder_named(tmp_path: Path) -> None:
    held = FolderLock(tmp_path / "lock")
    held.take()
    with pytest.raises(FolderInUseError, match=str(os.getpid())) as raised:
        FolderLock(tmp_path / "lock").take()
    assert raised.value.holder == os.getpid()
    held.release()
    again = FolderLock(tmp_path / "lock")
    again.take()
    again.release()


def test_a_folder_without_a_holders_name_is_still_refused(tmp_path: Path) -> None:
    held = FolderLock(tmp_path / "lock")
    held.take()
    (tmp_path / "lock").write_text("nonsense\n")
    with pytest.raises(FolderInUseError, match="another process"):
        FolderLock(tmp_path / "lock").take()
    held.release()


def test_a_child_that_inherits_the_lock_holds_it_until_it_ends(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "lock")
    lock.take()
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, pass_fds=(lock.descriptor,)
    ) as child:
        lock.name_holder(child.pid)
        lock.release()
        assert lock.descriptor == -1
        with pytest.raises(FolderInUseError) as raised:
            FolderLock(tmp_path / "lock").take()
        assert raised.value.holder == child.pid
        assert child.stdin is not None
        child.stdin.close()
        child.wait()
    after = FolderLock(tmp_path / "lock")
    after.take()
    after.release()
