"""How long the analysis of a large report takes, as ratios to a plain scan of the same tables in the same run.

    python benchmarks/speed.py [--copies 300] [--big 10] [--json OUT.json] [--keep FOLDER]

Makes the large report from sample_reports/llama-1b-aten.sqlite, then measures: wall of `-f json`, wall of the scan,
wall of `nsys stats --report cuda_kern_exec_sum` (where nsys is on PATH), peak memory, start-up. `--big N` measures
growth and memory at N times the copies. Prints a table, with versions, and writes JSON on demand.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from inflate import inflate

SMALL = Path(__file__).resolve().parent.parent / "sample_reports" / "llama-1b-aten.sqlite"
TABLES = ("CUPTI_ACTIVITY_KIND_RUNTIME", "CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_MEMCPY",
          "CUPTI_ACTIVITY_KIND_MEMSET", "NVTX_EVENTS", "OSRT_API", "PROFILER_OVERHEAD")  # fmt: skip
PROGRAM = Path(sys.executable).with_name("taxbreak-nsys")


def scan(report: Path) -> float:
    """Return the seconds that a plain scan of the tables takes."""
    with sqlite3.connect(f"file:{report}?mode=ro&immutable=1", uri=True) as database:
        started = time.perf_counter()
        for table in TABLES:
            database.execute(f'SELECT count(*), sum(start), sum(end) FROM "{table}"').fetchone()
        return time.perf_counter() - started


def run(*command: object) -> tuple[float, float]:
    """Return (seconds, peak memory in MB) of a command."""
    started = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{command[0]} failed with status {status}")
    return seconds, usage.ru_maxrss / 1000


def best(times: int, *command: object) -> tuple[float, float]:
    """Return the quickest of several runs, and the largest peak memory."""
    runs = [run(*command) for _ in range(times)]
    return min(seconds for seconds, _ in runs), max(peak for _, peak in runs)


def imports() -> float:
    """Return the seconds that the analysis' imports take in a fresh interpreter, less a bare start."""
    modules = "import taxbreak_nsys.cli, taxbreak_nsys.analysis, taxbreak_nsys.output.text, sqlalchemy, rich.table"
    return best(5, sys.executable, "-c", modules)[0] - best(5, sys.executable, "-c", "pass")[0]


def measure(copies: int, big: int, folder: Path) -> dict[str, Any]:
    """Measure everything; returns the figures by name."""
    large = folder / f"inflated-{copies}.sqlite"
    if not large.exists():
        inflate(SMALL, large, copies)
    scan(large)
    figures: dict[str, Any] = {"copies": copies, "report_mb": large.stat().st_size / 1e6}
    figures["scan_s"] = min(scan(large) for _ in range(3))
    figures["analysis_s"], figures["analysis_peak_mb"] = best(3, PROGRAM, large, "-f", "json")
    figures["analysis_over_scan"] = figures["analysis_s"] / figures["scan_s"]
    nsys = shutil.which("nsys")
    if nsys:
        command = (nsys, "stats", "--report", "cuda_kern_exec_sum", "--format", "csv", "--force-export=false", large)
        figures["nsys_stats_s"], _ = run(*command)
        figures["analysis_over_nsys_stats"] = figures["analysis_s"] / figures["nsys_stats_s"]
    small = SMALL.with_name("llama-1b.sqlite")
    figures["small_report_s"], _ = best(5, PROGRAM, small)
    figures["imports_s"] = imports()
    figures["help_s"], _ = best(5, PROGRAM, "--help")
    if big > 1:
        larger = folder / f"inflated-{copies * big}.sqlite"
        if not larger.exists():
            inflate(SMALL, larger, copies * big)
        figures["big_factor"] = big
        figures["big_s"], figures["big_peak_mb"] = run(PROGRAM, larger, "-f", "json")
        figures["big_over_once"] = figures["big_s"] / figures["analysis_s"]
        figures["big_peak_over_once"] = figures["big_peak_mb"] / figures["analysis_peak_mb"]
    return figures


BARS = {
    "analysis_over_scan": 4,
    "analysis_over_nsys_stats": 1,
    "small_report_s": 0.7,
    "imports_s": 0.4,
    "help_s": 0.3,
    "big_over_once": 11,
    "big_peak_over_once": 1.5,
    "big_peak_mb": 2000,
}


def main() -> None:
    """Measure, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, default=300)
    parser.add_argument("--big", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, help="make the large reports here and keep them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        figures = measure(options.copies, options.big, options.keep or Path(made))
    import numpy
    import pyarrow
    import sqlalchemy

    versions = {
        "python": platform.python_version(), "sqlite": sqlite3.sqlite_version, "numpy": numpy.__version__,
        "pyarrow": pyarrow.__version__, "sqlalchemy": sqlalchemy.__version__, "machine": platform.machine(),
        "cores": os.cpu_count(),
    }  # fmt: skip
    print(" ".join(f"{name} {version}" for name, version in versions.items()))
    print(f"{'what':28} {'figure':>10} {'bar':>6}")
    for name, value in figures.items():
        print(f"{name:28} {value:10.2f} {BARS.get(name, ''):>6}")
    if options.json:
        options.json.write_text(json.dumps({"versions": versions, "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
