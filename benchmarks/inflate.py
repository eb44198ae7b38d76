"""Makes a large report from a small one by repeating its events, one copy after another in time.

    python benchmarks/inflate.py SMALL.sqlite LARGE.sqlite COPIES

Each copy is shifted by the span of the capture, and its correlation, sample and call chain ids are made distinct.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
from pathlib import Path

PAUSE_NS = 1_000_000
CHAINS = ("SAMPLING_CALLCHAINS", "CUDA_CALLCHAINS", "OSRT_CALLCHAINS")
JOINING = {"correlationId", "callchainId"}


def table_columns(database: sqlite3.Connection) -> dict[str, list[str]]:
    """Return {table: columns} of the tables that have rows."""
    names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {
        name: [row[1] for row in database.execute(f'PRAGMA table_info("{name}")')]
        for name in names
        if database.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone()
    }


def inflate(small: Path, large: Path, copies: int) -> None:
    """Write `large` with `copies` times the events of `small`; an existing file is replaced."""
    shutil.copyfile(small, large)
    large.chmod(0o644)
    database = sqlite3.connect(large)
    database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -200000;")
    columns = table_columns(database)
    events = {name: own for name, own in columns.items() if "start" in own and {"globalTid", "globalPid"} & set(own)}
    chains = {name: own for name, own in columns.items() if name in CHAINS}
    spans = [
        database.execute(f'SELECT min(start), max({"end" if "end" in own else "start"}) FROM "{name}" WHERE start >= 0')
        for name, own in events.items()
    ]
    bounds = [row for span in spans for row in span.fetchall() if row[0] is not None and row[1] is not None]
    step = max(high for _, high in bounds) - min(low for low, _ in bounds) + PAUSE_NS

    def moved(name: str, column: str) -> str:
        if name in events and column in ("start", "end"):
            return f'"{column}" + :copy * {step}'
        if column in JOINING or (column == "id" and (name in chains or name == "COMPOSITE_EVENTS")):
            return f'CASE WHEN "{column}" > 0 THEN "{column}" + :copy * :ids ELSE "{column}" END'
        return f'"{column}"'

    ids = 1 + max(
        database.execute(f'SELECT coalesce(max("{column}"), 0) FROM "{name}"').fetchone()[0]
        for name, own in columns.items()
        for column in own
        if column in JOINING or (column == "id" and (name in chains or name == "COMPOSITE_EVENTS"))
    )
    for name, own in (events | chains).items():
        # NVTX metadata (domains, thread names) has no end and must not be repeated.
        where = "WHERE end IS NOT NULL AND start >= 0" if name in events and "end" in own else ""
        database.execute(f'CREATE TEMP TABLE once AS SELECT * FROM "{name}" {where}')
        query = f'INSERT INTO "{name}" SELECT {", ".join(moved(name, column) for column in own)} FROM once'
        for copy in range(1, copies):
            database.execute(query, {"copy": copy, "ids": ids})
        database.execute("DROP TABLE once")
    database.commit()
    database.close()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    inflate(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
