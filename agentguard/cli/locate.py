# SPDX-License-Identifier: Apache-2.0
"""Finds a running platform: `--data`, then `AGENTGUARD_DATA`, then `./data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentguard.config import load_settings

DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="folder of the platform (AGENTGUARD_DATA, then ./data)"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON, one object")]


def data_folder(option: Path | None) -> Path:
    """Returns the data folder that a verb works on."""
    return option.absolute() if option is not None else load_settings().data
