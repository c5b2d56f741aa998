# SPDX-License-Identifier: Apache-2.0
"""What the verbs that sign share: the log opened as the control plane, keys, and the answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.mldsa_signer import MlDsaVerifier
from agentguard.adapters.system import SystemClock, SystemEntropy
from agentguard.cli.locate import data_folder
from agentguard.contracts.codes import flatten
from agentguard.contracts.errors import ConfigError
from agentguard.contracts.ports import Clock, Codec, Entropy
from agentguard.control.fold import ControlFold, Judgement
from agentguard.control.rejections import NEXT_STEPS, Rejection
from agentguard.local.control_writer import ControlWriter, OpenLog, Order
from agentguard.local.held_keys import held_by_control_plane, held_by_persons
from agentguard.local.platform_files import Platform, read_platform

PRINCIPAL = "control"
REJECTED = 1


@dataclass(frozen=True, slots=True)
class LogOpener:
    """How a verb reaches the log; a caller in the same process may bring its own."""

    open: Callable[[Platform], OpenLog]


def open_kafka(platform: Platform) -> OpenLog:
    """Returns the platform's log, opened as the control plane."""
    # imported here: `--help` and `verify` work without the client
    from agentguard.adapters.kafka_log import KafkaLog

    principal = platform.principals.get(PRINCIPAL)
    if principal is None:
        raise ConfigError(f"`platform.json` names no principal `{PRINCIPAL}`")
    return KafkaLog(
        platform.bootstrap,
        username=principal.username,
        password=principal.password,
        client_id="agentguard-control",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSession:
    """One verb's view of the control log, read to its end."""

    data: Path
    platform: Platform
    log: OpenLog
    fold: ControlFold
    writer: ControlWriter
    codec: Codec
    clock: Clock
    entropy: Entropy

    @property
    def assurance(self) -> str:
        """How far apart the founding keys are held, as Genesis says."""
        return "unknown" if self.fold.genesis is None else self.fold.genesis.assurance.value

    def submit(self, orders: Sequence[Order]) -> tuple[Judgement, ...]:
        """Returns what the fold says of the commands, signed with every personal key held here."""
        return self.writer.submit(orders, held_by_persons(self.data, self.fold))

    def submit_stricter(self, orders: Sequence[Order]) -> tuple[Judgement, ...]:
        """Returns what the fold says of commands that tighten.

        Where no personal key lies here the control plane's own key signs: a kill must not wait
        for a person to find a file.
        """
        try:
            return self.submit(orders)
        except ConfigError:
            control = held_by_control_plane(self.data, self.fold)
            if control is None:
                raise
            return self.writer.submit(orders, [control])


@contextmanager
def control_session(
    ctx: typer.Context, data: Path | None, *, is_tightening: bool = False
) -> Iterator[ControlSession]:
    """Opens the control log and reads it to its end. Raises `ConfigError`, `LogError`.

    A state that differs from its digest stops every verb but those that tighten.
    """
    folder = data_folder(data)
    platform = read_platform(folder)
    opener = ctx.find_object(LogOpener) or LogOpener(open_kafka)
    codec, clock, entropy = AvroCodec(), SystemClock(), SystemEntropy()
    fold = ControlFold(codec, MlDsaVerifier(), bytes.fromhex(platform.genesis_digest))
    log = opener.open(platform)
    try:
        writer = ControlWriter(log, fold, codec=codec, clock=clock, entropy=entropy)
        try:
            writer.catch_up()
            _check_state(fold, is_tightening=is_tightening)
            writer.state_with(held_by_control_plane(folder, fold))
            yield ControlSession(
                data=folder,
                platform=platform,
                log=log,
                fold=fold,
                writer=writer,
                codec=codec,
                clock=clock,
                entropy=entropy,
            )
        finally:
            writer.close()
    finally:
        log.close()


def _check_state(fold: ControlFold, *, is_tightening: bool) -> None:
    if fold.genesis is None:
        raise ConfigError(
            "the control log has no founding command that this folder is pinned to",
            next_step="agentguard up",
        )
    if fold.is_outdated:
        raise ConfigError(
            f"semantics {fold.semantics} are in force and this build is older",
            next_step="upgrade agentguard",
        )
    if fold.disagrees and not is_tightening:
        raise ConfigError(
            "the control state read here differs from its digest on the log",
            next_step="compare with another machine; two people void a wrong digest",
        )


def answer(
    session: ControlSession,
    judgements: Sequence[Judgement],
    done: str,
    *,
    as_json: bool,
    extra: Mapping[str, object] | None = None,
) -> None:
    """Prints at which offset commands took effect, or why not; then exits 1."""
    rejected = [j for j in judgements if not j.accepted]
    last = judgements[-1].offset if judgements else session.fold.folded
    if as_json:
        commands = [
            {"offset": j.offset, "accepted": j.accepted, "code": j.code, "scope": j.scope}
            for j in judgements
        ]
        result = {
            "accepted": not rejected,
            "controlOffset": last,
            "commands": commands,
            "assurance": session.assurance,
            **(extra or {} if not rejected else {}),
        }
        print(json.dumps(result))
    elif not rejected:
        print(f"{flatten(done)}; in effect from control offset {last}")
        print(f"assurance: {session.assurance}")
    for judgement in rejected if not as_json else ():
        print(f"rejected at control offset {judgement.offset}: {judgement.code}")
        print(f"  {flatten(judgement.scope)}")
        print(f"  next: {NEXT_STEPS[Rejection(judgement.code)]}")
    if rejected:
        raise typer.Exit(REJECTED)
