"""The fold of semantics 1, frozen: old commands keep their meaning."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.golden.make_control_fold import FILE, STEPS, folded, signed_part, value_of


def rows() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = json.loads(FILE.read_text("utf-8"))
    return made


def values() -> list[bytes | None]:
    return [None if r["record"] is None else base64.b64decode(r["record"]) for r in rows()]


def test_frozen_log_folds_to_the_frozen_judgements_and_digests() -> None:
    frozen = [{name: row[name] for name in row if name != "record"} for row in rows()]
    assert folded(values()) == frozen


def test_what_is_signed_comes_out_of_the_script_again() -> None:
    made = [signed_part(value_of(step, place)) for place, step in enumerate(STEPS)]
    assert made == [signed_part(value) for value in values()]


def test_frozen_log_holds_every_direction_and_most_rejections() -> None:
    codes = {row["code"] for row in rows()}
    assert len(codes) >= 15
    assert sum(row["code"] == "" for row in rows()) >= 15
