# SPDX-License-Identifier: Apache-2.0
"""Remembers, from one life of a door to the next, how the last one ended."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from agentguard.gateway.parts import DoorIdentity


class _Life(msgspec.Struct, frozen=True):
    """One life: its epoch, and its last sequence once it ended cleanly."""

    epoch: int
    last_sequence: int | None = None


def begin_life(path: Path, producer: str, now_ms: int) -> DoorIdentity:
    """Returns this life's identity and notes that it has begun.

    The epoch is the time in milliseconds, and above the last one whatever the clock says. A
    missing or unreadable note is an unclean stop of an unknown epoch. Raises `OSError` where the
    note cannot be written.
    """
    try:
        last: _Life | None = msgspec.json.decode(path.read_bytes(), type=_Life)
    except (OSError, msgspec.DecodeError):
        last = None
    epoch = now_ms if last is None else max(now_ms, last.epoch + 1)
    _write(path, _Life(epoch=epoch))
    return DoorIdentity(
        producer=producer,
        epoch=epoch,
        previous_epoch=None if last is None else last.epoch,
        previous_last_sequence=None if last is None else last.last_sequence,
    )


def end_life(path: Path, identity: DoorIdentity, last_sequence: int) -> None:
    """Notes a clean end. Raises `OSError`."""
    _write(path, _Life(epoch=identity.epoch, last_sequence=last_sequence))


def _write(path: Path, life: _Life) -> None:
    """Replaces the note in one step, so that a crash leaves the old one or the new one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = path.with_suffix(".new")
    with made.open("wb") as out:
        out.write(msgspec.json.encode(life))
        out.flush()
        os.fsync(out.fileno())
    made.replace(path)
