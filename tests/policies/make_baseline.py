# SPDX-License-Identifier: Apache-2.0
"""Writes what is made by code in `policies/baseline`: golden inputs, Cedar schema, manifest.

Run it after a change of the table or of the document: `python -m tests.policies.make_baseline`.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from agentguard.adapters.policy_folder import read_cases
from agentguard.policy.cedar_schema import cedar_schema
from agentguard.policy.document import read_document
from agentguard.policy.release import MANIFEST_NAME, SCHEMA_NAME, make_manifest
from agentguard.resources import read_folder, resource

REVISION = "baseline/1"
GOLDEN = {
    "golden/asked.json": "an asked send with values from the task is allowed",
    "golden/injected.json": "a send that only an untrusted output asks for is denied",
    "golden/read.json": "a read at low risk is allowed",
    "golden/unasked.json": "a send that nobody asked for needs a person",
}


def made_files() -> Iterator[tuple[str, bytes]]:
    """Yields name and content of every made file."""
    cases = {case.description: case for case in read_cases(resource("policies", "cases"))}
    made = {SCHEMA_NAME: cedar_schema().encode()}
    for name, description in GOLDEN.items():
        case = cases[description]
        golden = {
            "description": description,
            "document": read_document(case.document),
            "verdict": case.verdict,
        }
        made[name] = msgspec.json.format(msgspec.json.encode(golden), indent=2) + b"\n"
    kept = {
        name: body
        for name, body in read_folder(resource("policies", "baseline")).items()
        if name != MANIFEST_NAME and not name.startswith("golden/")
    }
    yield from made.items()
    yield MANIFEST_NAME, make_manifest(kept | made, revision=REVISION)


if __name__ == "__main__":
    for name, body in made_files():
        (resource("policies", "baseline") / name).write_bytes(body)
