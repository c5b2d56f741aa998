"""Writes two examples of every schema and the list of frozen fingerprints.

Run from the checkout's root: `python -P tests/golden/make_schema_examples.py`. A test makes them
again and compares, so neither an encoding nor a schema changes unnoticed.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import fastavro

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from agentguard.adapters.avro_codec import Schema, schemas  # noqa: E402

TEXTS = {
    "cluster": "cl-4f2a9c01",
    "producer": "gateway-0",
    "tenant": "default",
    "agent_id": "assistant",
    "tool": "send_money",
    "session_id": "s-1",
    "environment": "production",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "topic": "ag.requests",
    "origin": "agentguard.invalid/agentguard/cl-4f2a9c01/ag.requests/AAAAAAAAAAAAAAAAAAAAAA/3",
    "algorithm": "ML-DSA-44",
    "schema_json": '{"type":"object","properties":{"amount":{"type":"number"}}}',
    "template": "injected_instruction",
    "type": "Kill",
    "note": "origin\n1\nroot\n\n— origin sig\n",
}
NUMBERS = {
    "control_offset": 41,
    "epoch": 7,
    "sequence": 1_204,
    "deadline_ms": 1_795_600_001_000,
    "budget_ms": 1_000,
    "confidence_ppm": 870_000,
}


def octets(label: str, size: int) -> bytes:
    """Returns bytes that depend on nothing but the label."""
    return hashlib.shake_256(label.encode()).digest(size)


def value(schema: Any, name: str, full: bool, named: dict[str, Any]) -> Any:
    """Returns an example of a schema; `full` fills unions and arrays."""
    match schema:
        case list():
            return value(schema[1], name, full, named) if full else None
        case str() if schema in named:
            return value(named[schema], name, full, named)
        case "string":
            return TEXTS.get(name, f"{name}-{'é☂' if full else 'a'}")
        case "bytes":
            return octets(name, 40 if full else 0)
        case "boolean":
            return full
        case "int" | "long":
            if name.endswith("_ms"):
                return NUMBERS.get(name, 1_795_600_000_000 if schema == "long" else 250)
            return NUMBERS.get(name, 3 if full else 0)
        case {"type": "fixed", "size": size}:
            named[schema["name"]] = schema
            return octets(name, size)
        case {"type": "enum", "symbols": symbols}:
            named[schema["name"]] = schema
            return symbols[-1] if full else symbols[0]
        case {"type": "array", "items": items}:
            return [value(items, name, full, named) for _ in range(2 if full else 0)]
        case {"type": "record"}:
            named[schema["name"]] = schema
            fields = schema["fields"]
            return {f["name"]: value(f["type"], f["name"], full, named) for f in fields}
    raise TypeError(schema)


def collect(schema: Any, named: dict[str, Any]) -> None:
    """Notes every named type of a schema, so that later references resolve."""
    match schema:
        case list():
            for branch in schema:
                collect(branch, named)
        case {"type": "record", "fields": fields}:
            named[schema["name"]] = schema
            for f in fields:
                collect(f["type"], named)
        case {"type": "array", "items": items}:
            collect(items, named)
        case {"name": name}:
            named[name] = schema


def examples(schema: Schema) -> list[dict[str, Any]]:
    """Returns the smallest and the fullest example with the frames they make."""
    named: dict[str, Any] = {}
    collect(schema.parsed, named)
    made = []
    for title, full in (("smallest", False), ("fullest", True)):
        record = value(schema.parsed, schema.name, full, dict(named))
        out = io.BytesIO()
        out.write(schema.header)
        fastavro.schemaless_writer(out, schema.parsed, record)
        text = io.StringIO()
        fastavro.json_writer(text, schema.parsed, [record])
        made.append(
            {"example": title, "record": json.loads(text.getvalue()), "frame": out.getvalue().hex()}
        )
    return made


def files() -> dict[Path, str]:
    """Returns every file that this script owns with its text."""
    folder = ROOT / "schemas" / "avro"
    made = {
        folder / "examples" / f"{s.name}.json": json.dumps(
            examples(s), indent=1, ensure_ascii=False
        )
        + "\n"
        for s in schemas()
    }
    frozen = {
        s.name: [{"fingerprint": s.fingerprint.hex(), "sha256": s.sha256.hex()}] for s in schemas()
    }
    made[folder / "frozen.json"] = json.dumps(frozen, indent=1, sort_keys=True) + "\n"
    return made


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
