# SPDX-License-Identifier: Apache-2.0
"""The end of the newcomer's show: an SQL answer, a proof, and one byte changed in the trail."""

from __future__ import annotations

import base64
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory

from agentguard.adapters.trails import FolderTrail
from agentguard.audit.findings import Report, Severity
from agentguard.audit.proof import parse_proofs, proof_text
from agentguard.cli.audit import audit_ports
from agentguard.cli.proof_check import ProofCheck
from agentguard.cli.verify import Outside, verify_folder
from agentguard.contracts.codes import flatten
from agentguard.local.platform_files import read_credentials
from agentguard.local.steps import Steps
from agentguard.local.up import EmbeddedPlatform, StartError
from agentguard.pipeline.exporting import Exporter
from agentguard.pipeline.proving import Prover
from agentguard.resources import resource

QUESTION = """SELECT verdict, code, tool, count() AS calls FROM decisions
WHERE verdict != 'allow' GROUP BY verdict, code, tool ORDER BY calls DESC, tool LIMIT 8"""
STORE_WAIT_S = 30.0


class Tour:
    """Shows on the running platform what the evidence is worth."""

    def __init__(self, up: EmbeddedPlatform, steps: Steps) -> None:
        self._up = up
        self._steps = steps

    def ask_store(self) -> None:
        """Prints which calls were stopped and why, as SQL answers it."""
        for number, line in enumerate(QUESTION.splitlines()):
            self._steps.say("" if number else "sql", line)
        for line in self._query(f"{QUESTION} FORMAT PrettyCompactMonoBlock").splitlines():
            self._steps.say("", line)

    def prove(self, request_id: str) -> None:
        """Proves one request and its decision, then verifies the proof as an auditor would."""
        prover = Prover(audit_ports(self._up.data))
        found = prover.find(bytes.fromhex(request_id.replace("-", "")))
        text = "".join(proof_text(p) for p in prover.prove(found))
        digest = bytes.fromhex(self._up.platform.genesis_digest)
        report = ProofCheck(parse_proofs(text), None, digest).run()
        if any(f.severity is Severity.TAMPERED for f in report.findings):
            raise StartError("the proof of a decision does not verify")
        at = found[1]
        self._steps.say(
            "proof", f"decision {at.at.topic}/{at.at.partition}@{at.offset} is under a signed head"
        )

    def tamper(self) -> None:
        """Exports the trail, verifies it, changes one byte of one decision and verifies again."""
        with TemporaryDirectory() as name:
            folder = Path(name) / "trail"
            schemas = {p.name: p.read_bytes() for p in resource("schemas", "avro").glob("*.avsc")}
            summary = Exporter(
                audit_ports(self._up.data), FolderTrail.create(folder), schemas=schemas
            ).run()
            with self._steps.step("verify", f"{summary.records} exported records checked"):
                clean = self._verify(folder)
            if _tampered(clean):
                raise StartError(f"the exported trail does not verify: {_tampered(clean)[0]}")
            self._steps.say("", flatten(clean.statement))
            leaves = max(
                (folder / "leaves" / "ag.decisions").iterdir(), key=lambda p: p.stat().st_size
            )
            body = bytearray(leaves.read_bytes())
            body[len(body) // 2] ^= 1
            leaves.write_bytes(body)
            self._steps.say(
                "tamper", f"one bit in the middle of {leaves.relative_to(folder)} changed"
            )
            findings = _tampered(self._verify(folder))
            if not findings:
                raise StartError("a changed trail was not noticed")
            self._steps.say("verify", findings[0])

    def _verify(self, folder: Path) -> Report:
        outside = Outside(
            policy=None,
            genesis_digest=bytes.fromhex(self._up.platform.genesis_digest),
            anchor=None,
            as_of_ms=None,
            max_age_ms=None,
        )
        return verify_folder(FolderTrail(folder), outside)

    def _query(self, sql: str) -> str:
        user = read_credentials(self._up.data).store
        token = base64.b64encode(f"{user.user}:{user.password}".encode()).decode()
        request = urllib.request.Request(  # noqa: S310  our own store
            f"{self._up.platform.store}/?database=agentguard",
            data=sql.encode(),
            headers={"authorization": f"Basic {token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=STORE_WAIT_S) as reply:  # noqa: S310
                return str(reply.read().decode())
        except OSError as error:
            raise StartError("the store gave no answer") from error


def _tampered(report: Report) -> list[str]:
    return [
        f"{f.name} at {flatten(f.place())}: {flatten(f.message)}"
        for f in report.findings
        if f.severity is Severity.TAMPERED
    ]
