# SPDX-License-Identifier: Apache-2.0
"""Finds the data that travels with the package: the checkout first, then the wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource(*parts: str) -> Path:
    """Returns the path of a data file or folder, for example `resource("schemas", "avro")`.

    Raises `FileNotFoundError` naming what is missing: a broken installation.
    """
    for base in (_PACKAGE.parent, _PACKAGE / "_data"):
        path = base.joinpath(*parts)
        if path.exists():
            return path
    raise FileNotFoundError(f"package data `{'/'.join(parts)}` is missing")


def read_folder(folder: Path) -> dict[str, bytes]:
    """Returns every file below a folder by its path within it, separated by `/`."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}
