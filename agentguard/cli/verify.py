# SPDX-License-Identifier: Apache-2.0
"""`agentguard verify`: an exported trail or a proof, offline, with trust from outside it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.mldsa_signer import MlDsaVerifier
from agentguard.adapters.system import SystemClock
from agentguard.adapters.trails import FolderTrail
from agentguard.audit.export import Trail, leaves_name, read_values
from agentguard.audit.findings import Report, Severity
from agentguard.audit.note import Head, parse_head
from agentguard.audit.proof import parse_proofs
from agentguard.audit.trust import TrustPolicy, parse_policy
from agentguard.audit.verify import Expectations, TrailCheck
from agentguard.cli.locate import JsonOption
from agentguard.cli.proof_check import ProofCheck
from agentguard.cli.trail_control import TrailControl, fold_control
from agentguard.cli.working import Working
from agentguard.contracts.codes import flatten
from agentguard.contracts.errors import AgentGuardError, ConfigError, VerificationError

DIGEST_HEX_CHARS = 64
USAGE = 2
_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SEVERE_FIRST = (Severity.TAMPERED, Severity.INCOMPLETE, Severity.NOTE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What the auditor brought along: any of policy, Genesis digest, anchor, time."""

    policy: TrustPolicy | None
    genesis_digest: bytes | None
    anchor: Head | None
    as_of_ms: int | None
    max_age_ms: int | None


def command(
    target: Annotated[list[str], typer.Argument(help="DIR of an export, or: proof FILE")],
    policy: Annotated[
        Path | None, typer.Option(help="C2SP policy file with the log's key, held outside")
    ] = None,
    genesis: Annotated[
        str | None, typer.Option(help="digest of the founding command, 64 hexadecimal digits")
    ] = None,
    anchor: Annotated[
        str | None, typer.Option(help="FILE of a signed anchor, or SIZE:ROOT (hexadecimal)")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option(help="time that the trail should reach: ISO 8601, or now")
    ] = None,
    max_age: Annotated[str, typer.Option(help="how much older it may be, such as 5m")] = "5m",
    as_json: JsonOption = False,
) -> None:
    """Verify offline. Exit: 0 verified, 1 tampering, 2 usage, 3 verified but incomplete."""
    try:
        _refuse_inside(target, policy)
        outside = _outside(policy, genesis, anchor, as_of, max_age)
        report = _report(target, outside)
    except AgentGuardError as error:
        print(json.dumps({"code": error.code, "message": str(error)}) if as_json else _line(error))
        raise typer.Exit(USAGE) from error
    print(json.dumps(as_object(report)) if as_json else as_text(report))
    raise typer.Exit(report.exit_code)


def _line(error: AgentGuardError) -> str:
    return f"{error.code}: {error}\n  next: {error.next_step}"


def _report(target: list[str], outside: Outside) -> Report:
    match target:
        case ["proof", name]:
            text = _read_text(Path(name))
            return ProofCheck(parse_proofs(text), outside.policy, outside.genesis_digest).run()
        case [name] if Path(name).is_dir():
            return verify_folder(FolderTrail(Path(name)), outside)
        case [name]:
            raise ConfigError(f"`{name}` is no folder", next_step="name the folder of an export")
        case _:
            raise ConfigError("give one folder, or: proof FILE", next_step="agentguard verify -h")


def verify_folder(trail: Trail, outside: Outside) -> Report:
    """Returns the report over a trail. Raises `ConfigError` where nothing says whom to trust."""
    if outside.policy is None and outside.genesis_digest is None:
        raise ConfigError(
            "trust must come from outside the export",
            next_step="give --policy FILE or --genesis DIGEST",
        )
    report = Report()
    control = _control(trail, outside, report)
    trust = outside.policy or control.trust()
    with Working("verifying") as working:
        check = TrailCheck(
            trail=trail,
            expected=Expectations(
                trust=trust,
                is_readable=control.is_readable,
                anchor=outside.anchor,
                as_of_ms=outside.as_of_ms,
                max_age_ms=outside.max_age_ms,
                partitions=control.partitions(),
                generations=control.generations,
                assurance=control.assurance,
                genesis_digest=outside.genesis_digest,
                needs_outside=outside.policy is None,
            ),
            codec=AvroCodec(),
            verifier=MlDsaVerifier(),
            progress=working.step,
            report=report,
        )
        return check.run()


def _control(trail: Trail, outside: Outside, report: Report) -> TrailControl:
    try:
        with trail.open(leaves_name("ag.control", 0)) as stream:
            return fold_control(read_values(stream), outside.genesis_digest, report)
    except VerificationError as error:
        report.refused(error, topic="ag.control", partition=0)
        return TrailControl()


# what the auditor brought along


def _refuse_inside(target: list[str], policy: Path | None) -> None:
    """Raises `ConfigError` where the export itself would say whom to trust."""
    if policy is None:
        return
    if any(policy.resolve().is_relative_to(Path(name).resolve()) for name in target[-1:]):
        raise ConfigError(
            "the policy file lies in the export: trust must come from outside it",
            next_step="give a --policy that somebody else holds, or --genesis DIGEST",
        )


def _outside(
    policy: Path | None, genesis: str | None, anchor: str | None, as_of: str | None, max_age: str
) -> Outside:
    return Outside(
        policy=None if policy is None else parse_policy(_read_text(policy)),
        genesis_digest=None if genesis is None else _digest(genesis, "--genesis"),
        anchor=None if anchor is None else _anchor(anchor),
        as_of_ms=None if as_of is None else _time_ms(as_of),
        max_age_ms=None if as_of is None else _duration_ms(max_age),
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"`{path.name}` cannot be read") from error


def _digest(text: str, option: str) -> bytes:
    if re.fullmatch(r"[0-9a-fA-F]{64}", text) is None:
        raise ConfigError(f"{option} wants {DIGEST_HEX_CHARS} hexadecimal digits")
    return bytes.fromhex(text)


def _anchor(text: str) -> Head:
    size, colon, root = text.partition(":")
    if colon and size.isascii() and size.isdigit():
        return Head(origin="", size=int(size), root=_digest(root, "--anchor SIZE:ROOT"))
    note = _read_text(Path(text))
    return parse_head(note.rpartition("\n\n")[0] + "\n" if "\n\n" in note else note)


def _time_ms(text: str) -> int:
    if text == "now":
        return SystemClock().now_ms()
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError("--as-of wants an ISO 8601 time or `now`") from error
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def _duration_ms(text: str) -> int:
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS_MS or not number.isascii() or not number.isdigit():
        raise ConfigError("--max-age wants a number with s, m, h or d")
    return int(number) * _UNITS_MS[unit]


# what is shown


def as_object(report: Report) -> dict[str, object]:
    """Returns the report as one JSON object."""
    return {
        "verified": report.exit_code == 0,
        "exitCode": report.exit_code,
        "statement": report.statement,
        "findings": [
            {
                "name": f.name,
                "severity": f.severity.value,
                "topic": f.topic,
                "partition": f.partition,
                "offset": f.offset,
                "message": flatten(f.message),
            }
            for f in report.findings
        ],
        "totals": dict(report.totals),
        "counts": dict(report.counts),
    }


def as_text(report: Report) -> str:
    """Returns the report for people: findings first, the worst on top, then what was checked."""
    lines = [
        f"{f.severity.value:<10} {f.name:<20} {flatten(f.place())}  {flatten(f.message)}"
        for severity in _SEVERE_FIRST
        for f in report.findings
        if f.severity is severity
    ]
    shown = len(report.findings)
    every = report.totals.total()
    if every > shown:
        lines.append(f"… and {every - shown} more")
    lines.append(", ".join(f"{n} {name.replace('_', ' ')}" for name, n in report.counts.items()))
    verdict = {0: "verified", 1: "NOT VERIFIED: tampering or a wrong signature"}
    lines.append(verdict.get(report.exit_code, "verified, but incomplete"))
    if report.statement:
        lines.append(flatten(report.statement))
    return "\n".join(lines)
