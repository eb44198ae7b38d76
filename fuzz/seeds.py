"""Sound reports from which cases start: the schema matrix's scenario, and real reports cut to a few hundred rows."""

from __future__ import annotations

import sqlite3
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "sample_reports"
sys.path.insert(0, str(ROOT))

from tests.support.report_builder import VARIATIONS, VERSIONS, build  # noqa: E402

_CALLS = 150
"""Number of API calls kept from a real report."""

BUILT = {version.name: version for version in VERSIONS}
REAL = tuple(sorted(path.stem for path in SAMPLES.glob("*.sqlite")))
NAMES = (*BUILT, *REAL)


@cache
def seed(name: str) -> bytes:
    """Return a seed report as the bytes of an SQLite file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "seed.sqlite"
        if name in BUILT:
            build(path, BUILT[name], VARIATIONS[0])
        else:
            _trim(SAMPLES / f"{name}.sqlite", path)
        return path.read_bytes()


def _trim(source: Path, target: Path) -> None:
    """Copy a report up to the end of the first API calls after the start of its first NVTX range."""
    target.write_bytes(source.read_bytes())
    with sqlite3.connect(target, isolation_level=None) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {t: {row[1] for row in database.execute(f'PRAGMA table_info("{t}")')} for t in tables}
        begin = "0"
        if "NVTX_EVENTS" in columns:
            begin = "(SELECT min(start) FROM NVTX_EVENTS WHERE eventType = 59)"
        calls = f"SELECT end FROM CUPTI_ACTIVITY_KIND_RUNTIME WHERE start >= {begin} ORDER BY start LIMIT {_CALLS}"
        until = database.execute(f"SELECT max(end) FROM ({calls})").fetchone()[0]
        for table in tables:
            if table.startswith(("ENUM_", "TARGET_INFO_")) and table != "TARGET_INFO_GPU":
                database.execute(f'DROP TABLE "{table}"')
            elif "start" in columns[table]:
                database.execute(f'DELETE FROM "{table}" WHERE start > ?', (until,))
            elif table != "StringIds":
                database.execute(f'DELETE FROM "{table}" WHERE rowid > 100')
        referred = [
            f'SELECT "{c}" FROM "{t}"'
            for t in tables
            for c in columns[t]
            if c in ("nameId", "shortName", "demangledName", "textId") and not t.startswith(("ENUM_", "TARGET_INFO_"))
        ]
        database.execute(f"DELETE FROM StringIds WHERE id NOT IN ({' UNION '.join(referred)})")
        database.execute("VACUUM")
    database.close()
