"""How long a batch takes beside its reports analysed one by one in one warm process, divided by the cores.

Run: python benchmarks/batch.py [COPIES]. Start-up of the batch and its workers is in its time; import and the first
analysis of each report are not in that of the others, which makes the comparison a strict one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from taxbreak_nsys import analyze

SAMPLES = sorted((Path(__file__).resolve().parent.parent / "sample_reports").glob("*.sqlite"))


def main() -> None:
    """Print both times and their ratio."""
    copies = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "reports"
        folder.mkdir()
        for number, sample in enumerate(islice(cycle(SAMPLES), copies)):
            shutil.copy(sample, folder / f"{number}.sqlite")
        for sample in SAMPLES:
            analyze(sample)
        began = time.perf_counter()
        for report in sorted(folder.iterdir()):
            analyze(report).to_dict()
        single = time.perf_counter() - began
        command = [sys.executable, "-m", "taxbreak_nsys", "batch", str(folder), "--store", f"{place}/store.db", "-q"]
        began = time.perf_counter()
        subprocess.run(command, check=True)
        batch = time.perf_counter() - began
    print(f"{copies} reports on {cores} cores; load {os.getloadavg()[0]:.1f}")
    print(f"one by one {single:.1f} s, divided by the cores {single / cores:.1f} s; batch {batch:.1f} s")
    print(f"ratio {batch * cores / single:.2f}")


if __name__ == "__main__":
    main()
