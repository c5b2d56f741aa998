# SPDX-License-Identifier: Apache-2.0
"""Releases and tables on disk: read whole, refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from agentguard.adapters.policy_folder import read_cases
from agentguard.contracts.errors import ReleaseError
from agentguard.resources import read_folder, resource

ROW = "- {case: c, given: [%s], change: {%s}, verdict: %s, code: allowed, rules: []}\n"


def table(folder: Path, text: str) -> Path:
    shutil.copy(resource("policies", "cases", "base.yaml"), folder / "base.yaml")
    (folder / "rows.yaml").write_text(text)
    return folder


def test_folder_is_read_by_the_names_that_the_bundle_uses() -> None:
    files = read_folder(resource("policies", "baseline"))
    assert {".manifest", "agentguard/baseline.rego", "golden/read.json"} <= set(files)


def test_row_changes_the_base_and_ordinals_follow(tmp_path: Path) -> None:
    (case,) = read_cases(table(tmp_path, ROW % ("critical", "context.hour: 3", "deny")))
    assert b'"risk":"critical","risk_ord":3' in case.document
    assert b'"hour":3' in case.document


@pytest.mark.parametrize(
    "text",
    [
        ROW % ("no such group", "", "deny"),
        ROW % ("", "context.nothing: 1", "deny"),
        ROW % ("", "context.hour: 24", "deny"),
        ROW % ("", "context.hour: noon", "deny"),
        ROW % ("", "context.classification.risk: huge", "deny"),
        ROW % ("", "context.session_id: " + "x" * 300, "deny"),
        ROW % ("", "", "perhaps"),
        "- {case: c}\n",
        "{",
        "rows: 1\n",
    ],
)
def test_row_that_makes_no_policy_input_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ReleaseError, match=r"does not fit|is no policy input"):
        read_cases(table(tmp_path, text))
