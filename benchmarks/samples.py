"""How long it takes to read and classify many CPU samples: by default 100,000 samples of 30 frames.

    python benchmarks/samples.py [--samples 100000]

Makes the report from sample_reports/inject.sqlite: its samples over and over, their chains twice as deep. Prints
CPU seconds (a busy machine does not change them much) and the peak memory of a run with and without the samples.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

SMALL = Path(__file__).resolve().parent.parent / "sample_reports" / "inject.sqlite"
PROGRAM = Path(sys.executable).with_name("taxbreak-nsys")


def inflate(target: Path, samples: int) -> tuple[int, int]:
    """Write a report with at least so many samples; returns how many samples and frames it has."""
    shutil.copy(SMALL, target)
    target.chmod(0o644)
    with sqlite3.connect(target) as database:
        database.execute("PRAGMA journal_mode=OFF")
        database.execute("PRAGMA synchronous=OFF")
        columns = "symbol, module, kernelMode, thumbCode, unresolved, specialEntry, originalIP, unwindMethod"
        # the same chain once more below itself: what is nearest to the leaf still decides
        database.execute(
            f"INSERT INTO SAMPLING_CALLCHAINS SELECT id, {columns}, stackDepth + 1000 FROM SAMPLING_CALLCHAINS"
        )
        most, count = database.execute("SELECT max(id), count(*) FROM COMPOSITE_EVENTS").fetchone()
        for copy in range(1, -(-samples // count)):
            shift = copy * (most + 1)
            database.execute(
                "INSERT INTO COMPOSITE_EVENTS SELECT id + ?, start + ?, cpu, threadState, globalTid, cpuCycles "
                "FROM COMPOSITE_EVENTS WHERE id <= ?",
                (shift, copy * 997, most),
            )
            database.execute(
                f"INSERT INTO SAMPLING_CALLCHAINS SELECT id + ?, {columns}, stackDepth FROM SAMPLING_CALLCHAINS "
                "WHERE id <= ?",
                (shift, most),
            )
        counts = (database.execute(f"SELECT count(*) FROM {t}") for t in ("COMPOSITE_EVENTS", "SAMPLING_CALLCHAINS"))
        taken, frames = (rows.fetchone()[0] for rows in counts)
    return taken, frames


def run(report: Path) -> tuple[float, float]:
    """Return (CPU seconds, peak memory in MB) of an analysis; the better of two runs."""
    found = []
    for _ in range(2):
        process = subprocess.Popen([str(PROGRAM), str(report), "-f", "json"], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"the analysis failed with status {status}")
        found.append((usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000))
    return min(found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "large.sqlite"
        samples, frames = inflate(large, arguments.samples)
        with_samples = run(large)
        without = Path(folder) / "without.sqlite"
        shutil.copy(large, without)
        with sqlite3.connect(without) as database:
            database.execute("DROP TABLE COMPOSITE_EVENTS")
            database.execute("DROP TABLE SAMPLING_CALLCHAINS")
        bare = run(without)
    print(f"{samples:,} samples, {frames:,} frames")
    print(f"with samples     {with_samples[0]:6.2f} s CPU {with_samples[1]:8.0f} MB")
    print(f"without          {bare[0]:6.2f} s CPU {bare[1]:8.0f} MB")
    print(f"for the samples  {with_samples[0] - bare[0]:6.2f} s CPU")


if __name__ == "__main__":
    main()
