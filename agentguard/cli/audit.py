# SPDX-License-Identifier: Apache-2.0
"""`agentguard audit`: proofs of single records and exports of the whole trail, as an auditor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agentguard.adapters.avro_codec import AvroCodec
from agentguard.adapters.kafka_log import KafkaLog
from agentguard.adapters.mldsa_signer import MlDsaVerifier
from agentguard.adapters.system import SystemClock
from agentguard.adapters.trails import FolderTrail
from agentguard.audit.proof import proof_text
from agentguard.cli import query
from agentguard.cli.locate import DataOption, JsonOption, data_folder
from agentguard.cli.working import Working
from agentguard.contracts.errors import ConfigError, LogError
from agentguard.contracts.ports import TopicPartition
from agentguard.contracts.records import Anchor
from agentguard.contracts.topics import Topic
from agentguard.local.platform_files import read_platform
from agentguard.pipeline.exporting import AuditPorts, Exporter
from agentguard.pipeline.proving import Prover
from agentguard.pipeline.ranges import read_range
from agentguard.resources import resource

AUDITOR = "auditor"
ANCHOR_LOG = TopicPartition(Topic.ANCHORS, 0)
REQUEST_ID_BYTES = 16

app = typer.Typer(help="Evidence: query, prove, export.", no_args_is_help=True)
app.command("query")(query.command)


@app.command()
def proof(
    request_id: Annotated[str, typer.Argument(help="id that the gateway answered with")],
    out: Annotated[
        Path | None, typer.Option(help="file to write; standard output unless set")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove a request and its decision: a file that `agentguard verify proof` checks offline."""
    raw = _request_id(request_id)
    ports = audit_ports(data_folder(data))
    with Working("searching"):
        prover = Prover(ports)
        request, decision = prover.find(raw)
        text = "".join(proof_text(p) for p in prover.prove((request, decision)))
    if out is not None:
        out.write_text(text, encoding="utf-8")
    answer = {
        "requestId": request_id,
        "partition": request.at.partition,
        "requestOffset": request.offset,
        "decisionOffset": decision.offset,
        "genesisDigest": prover.founding.digest.hex(),
        "proof": str(out) if out is not None else text,
    }
    if as_json:
        print(json.dumps(answer))
    elif out is None:
        print(text, end="")
    else:
        print(f"wrote {out}: request {request.at.partition}@{request.offset} and its decision")
        print(f"  agentguard verify proof {out} --genesis {prover.founding.digest.hex()}")


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="new or empty folder")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export the sealed trail up to its last checkpoints, to be verified offline."""
    ports = audit_ports(data_folder(data))
    schemas = {p.name: p.read_bytes() for p in resource("schemas", "avro").glob("*.avsc")}
    with Working("exporting") as working:
        trail = FolderTrail.create(folder)
        summary = Exporter(ports, trail, schemas=schemas, progress=working.step).run()
        digest = Prover(ports).founding.digest.hex()
    answer = {
        "folder": str(folder),
        "records": summary.records,
        "partitions": summary.partitions,
        "checkpoints": summary.checkpoints,
        "anchors": summary.anchors,
        "genesisDigest": digest,
    }
    if as_json:
        print(json.dumps(answer))
        return
    print(
        f"wrote {folder}: {summary.records} records of {summary.partitions} partitions, "
        f"{summary.checkpoints} checkpoints, {summary.anchors} anchors"
    )
    print(f"  agentguard verify {folder} --genesis {digest}")


@app.command()
def anchor(
    out: Annotated[
        Path | None, typer.Option(help="file to write; standard output unless set")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the newest anchor, a signed note over all tree heads: keep it where nobody here can.

    `agentguard verify DIR --genesis DIGEST --anchor FILE` holds later exports against it.
    """
    newest = last_anchor(audit_ports(data_folder(data)))
    if out is not None:
        out.write_text(newest.note, encoding="utf-8")
    if as_json:
        print(json.dumps({"index": newest.index, "origin": newest.origin, "note": newest.note}))
    elif out is None:
        print(newest.note, end="")
    else:
        print(f"wrote {out}: anchor {newest.index} over {len(newest.heads)} tree heads")


def last_anchor(ports: AuditPorts) -> Anchor:
    """Returns the newest anchor on the log. Raises `LogError` where there is none."""
    first, end = ports.index.bounds(ANCHOR_LOG)
    for record in read_range(ports.log, ANCHOR_LOG, max(first, end - 1), end, clock=ports.clock):
        found = ports.codec.decode(record.value or b"")
        if isinstance(found, Anchor):
            return found
    raise LogError("no anchor is on the log yet", next_step="ask again in a minute")


def audit_ports(data: Path) -> AuditPorts:
    """Returns the ports of the auditor of a data folder's platform."""
    platform = read_platform(data)
    who = platform.principals.get(AUDITOR)
    if who is None:
        raise ConfigError("this platform has no auditor", next_step="agentguard up")
    log = KafkaLog(
        platform.bootstrap, username=who.username, password=who.password, client_id=AUDITOR
    )
    return AuditPorts(
        log=log, index=log, codec=AvroCodec(), clock=SystemClock(), verifier=MlDsaVerifier()
    )


def _request_id(text: str) -> bytes:
    try:
        raw = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        raw = b""
    if len(raw) != REQUEST_ID_BYTES:
        raise ConfigError("a request id is 32 hexadecimal digits", next_step="check the request id")
    return raw
