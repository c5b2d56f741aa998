# SPDX-License-Identifier: Apache-2.0
"""Writes down every function that the pinned engine has, so that a new one is seen and reviewed.

The read-only door refuses functions by name (`adapters.chdb_queries.REFUSED_NAMES`). Whoever runs
this after an upgrade reads the difference first: does a new function read files, ask services,
change anything, or only take time?

usage: python -m tests.golden.make_engine_functions
"""

from __future__ import annotations

from pathlib import Path

PATH = Path(__file__).with_name("engine_functions.txt")
SQL = """
SELECT line FROM (SELECT concat('function ', name) AS line FROM system.functions
UNION ALL SELECT concat('table function ', name) AS line FROM system.table_functions)
ORDER BY line
"""


def main() -> None:
    import chdb  # the engine opens in this process: never inside the tests'

    PATH.write_bytes(bytes(chdb.query(SQL, "TSVRaw").bytes()))


if __name__ == "__main__":
    main()
