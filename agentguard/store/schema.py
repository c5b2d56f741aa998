# SPDX-License-Identifier: Apache-2.0
"""Store: brings the tables to this version, and writes the embedded engine's configuration.

Migrations are numbered files, applied in order, once each, and never changed afterwards. On the
embedded engine they run under wider grants, before anybody may ask anything; then it is opened
again with grants under which nothing can be changed or removed, only added and read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from string import Template

from agentguard.bounds import STORE_MEMORY_BYTES_MAX
from agentguard.contracts.errors import StoreError
from agentguard.resources import resource
from agentguard.store.ports import OpenStore

_CHANGES = (
    "CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP VIEW, ALTER ADD COLUMN, ALTER ADD INDEX"
)
MIGRATING = (
    f"GRANT SELECT, INSERT, SHOW, {_CHANGES} ON agentguard.*",
    "GRANT SELECT ON system.*",
    "GRANT TABLE ENGINE ON *",
)
RUNNING = ("GRANT SELECT, INSERT, SHOW ON agentguard.*", "GRANT SELECT ON system.*")

_TABLE = """
CREATE TABLE IF NOT EXISTS agentguard.migrations (
  number UInt32,
  name String,
  sha256 String,
  applied_at DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = MergeTree ORDER BY number SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
"""
_NEXT = "stop the platform and move the store's folder aside: it is filled again from the log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One numbered file of statements."""

    number: int
    name: str
    sha256: str
    statements: tuple[str, ...]


def migrations(folder: Path | None = None) -> tuple[Migration, ...]:
    """Returns the migrations of this version, in order. Numbers count up from 1."""
    paths = sorted((folder or resource("infra", "clickhouse")).glob("[0-9]*.sql"))
    found = tuple(_migration(path) for path in paths)
    if [m.number for m in found] != list(range(1, len(found) + 1)):
        raise StoreError("the numbers of the migrations have a gap or a duplicate")
    return found


def split_statements(text: str) -> tuple[str, ...]:
    """Returns the statements of a file: each ends with `;` at the end of a line."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    parts = "\n".join(line.rstrip() for line in lines).split(";\n")
    return tuple(p.strip().removesuffix(";").strip() for p in parts if p.strip())


def apply_migrations(
    store: OpenStore, wanted: Sequence[Migration] | None = None
) -> tuple[Migration, ...]:
    """Applies what is missing; returns it. Raises `StoreError` where an applied file differs.

    A migration that failed half-way is applied again as a whole: every statement says IF NOT
    EXISTS or inserts rows of which one a key is kept.
    """
    wanted = migrations() if wanted is None else wanted
    store.execute("CREATE DATABASE IF NOT EXISTS agentguard")
    store.execute(_TABLE)
    rows = store.query("SELECT number, sha256 FROM agentguard.migrations", {})
    applied = {row[0]: row[1] for row in rows}
    known = {m.number: m for m in wanted}
    for number, digest in applied.items():
        if not isinstance(number, int) or number not in known:
            raise _lasting(f"the store has migration `{number}`, which this version lacks")
        if known[number].sha256 != digest:
            raise _lasting(f"migration `{number}` was applied in another form")
    missing = tuple(m for m in wanted if m.number not in applied)
    for migration in missing:
        for statement in migration.statements:
            store.execute(statement)
        done = (migration.number, migration.name, migration.sha256)
        store.insert("migrations", ("number", "name", "sha256"), [done])
    return missing


def claim(store: OpenStore, *, cluster: str, tenant: str) -> None:
    """Makes the store this cluster's and tenant's, or raises `StoreError`: it is another's.

    An empty tenant means any: a server, whose own row policies keep tenants apart.
    """
    rows = store.query("SELECT cluster, tenant FROM agentguard.store_identity", {})
    if not rows:
        store.insert("store_identity", ("cluster", "tenant"), [(cluster, tenant)])
        return
    for found in rows:
        if found != (cluster, tenant):
            raise _lasting(f"the store serves cluster `{found[0]!s}`, tenant `{found[1]!s}`")


def write_engine_config(path: Path, grants: Sequence[str]) -> Path:
    """Writes the embedded engine's configuration with these grants, mode 0600; returns its path."""
    template = resource("infra", "clickhouse", "chdb-config.xml").read_text(encoding="utf-8")
    text = Template(template).substitute(
        SELF=str(path.absolute()),
        GRANTS="".join(f"<query>{g}</query>" for g in grants),
        MEMORY_BYTES=str(STORE_MEMORY_BYTES_MAX),
    )
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path


def _migration(path: Path) -> Migration:
    text = path.read_text(encoding="utf-8")
    number, _, _ = path.stem.partition("_")
    return Migration(
        number=int(number),
        name=path.stem,
        sha256=sha256(text.encode()).hexdigest(),
        statements=split_statements(text),
    )


def _lasting(message: str) -> StoreError:
    error = StoreError(message, next_step=_NEXT)
    error.retryable = False
    return error
