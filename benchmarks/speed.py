"""Measures time and memory of analysing a large report, relative to a plain scan in the same run.

    python benchmarks/speed.py [--json OUT.json]                   # the table, in a few minutes
    python benchmarks/speed.py --big 10 --growth --json OUT.json   # what docs/performance.md shows, in half an hour

Makes large reports from small ones in `sample_reports/` (or `--events`, `--samples`). Measures the wall time of
`-f json`, of a plain scan of the same tables, of reading the columns through the driver alone, and of
`nsys stats --report cuda_kern_exec_sum` (if nsys is on PATH), as well as peak memory and start-up time. The program
runs from compiled bytecode, as after installation with pip. `--big N` also measures N times the copies; `--growth`
measures the cost by rows, phases and samples. Prints a table with versions and writes JSON on request.
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from inflate import inflate

SAMPLES = Path(__file__).resolve().parent.parent / "sample_reports"
TABLES = ("CUPTI_ACTIVITY_KIND_RUNTIME", "CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_MEMCPY",
          "CUPTI_ACTIVITY_KIND_MEMSET", "NVTX_EVENTS", "OSRT_API", "PROFILER_OVERHEAD")  # fmt: skip
SAMPLED = ("COMPOSITE_EVENTS", "SCHED_EVENTS")
CHAINS = "SAMPLING_CALLCHAINS"
NSYS_STATS = ("stats", "--report", "cuda_kern_exec_sum", "--format", "csv", "--force-export=false")
PROGRAM = Path(sys.executable).with_name("taxbreak-nsys")
BARS = {
    "analysis_over_scan": 4,
    "analysis_over_nsys_stats": 0.8,
    "big_over_once": 11,
    "big_peak_over_once": 1.5,
    "big_peak_mb": 1000,
    "small_report_s": 0.7,
    "imports_s": 0.4,
    "help_s": 0.3,
}


def scan(report: Path) -> float:
    """Return the seconds of a plain scan over the tables that the analysis reads."""
    with sqlite3.connect(f"file:{report}?mode=ro&immutable=1", uri=True) as database:
        there = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        started = time.perf_counter()
        for table in (*TABLES, *(SAMPLED if CHAINS in there else ())):
            if table in there:
                end = "sum(end)" if table not in SAMPLED else "0"
                database.execute(f'SELECT count(*), sum(start), {end} FROM "{table}"').fetchone()
        if CHAINS in there:
            database.execute(f"SELECT count(*), sum(id), sum(module) FROM {CHAINS}").fetchone()
        return time.perf_counter() - started


def reading(report: Path) -> float:
    """Return the seconds to read the columns of the long tables through the driver, all tables in parallel."""
    from taxbreak_nsys.read.database import open_report
    from taxbreak_nsys.read.report_reader import api_threads

    def drained(subject: str, **parameters: str) -> None:
        with base.sibling(counted=False) as database:
            for _ in database.stream(subject, **parameters):
                pass

    with open_report(report) as base, ThreadPoolExecutor() as pool:
        only_thread = str(api_threads(base)[0])
        started = time.perf_counter()
        work = [pool.submit(drained, "kernels"), pool.submit(drained, "nvtx_ranges", all="1", domains="[]")]
        work += [
            pool.submit(drained, f"{subject}_of_thread", thread=only_thread) for subject in ("api_calls", "os_calls")
        ]
        for part in work:
            part.result()
        return time.perf_counter() - started


def environment() -> dict[str, str]:
    """Return an environment in which Python caches bytecode, as after installation with pip."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / "taxbreak-bytecode")}


def run(*command: object) -> tuple[float, float]:
    """Return (wall seconds, peak memory in MB) of a command."""
    arguments = [str(part) for part in command]
    started = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{command[0]} failed with status {status}")
    return seconds, usage.ru_maxrss / 1000


def best(times: int, *command: object) -> tuple[float, float]:
    """Return (shortest wall seconds, largest peak memory in MB) of several runs."""
    runs = [run(*command) for _ in range(times)]
    return min(seconds for seconds, _ in runs), max(peak for _, peak in runs)


def imports() -> float:
    """Return the seconds of the analysis' imports in a fresh interpreter, without the interpreter's start."""
    modules = (
        "import taxbreak_nsys.cli.app, taxbreak_nsys.cli.analyze, taxbreak_nsys.pipeline.analysis, "
        "taxbreak_nsys.output.text_report, rich.table"
    )
    return best(12, sys.executable, "-c", modules)[0] - best(12, sys.executable, "-c", "pass")[0]


def made(small: Path, copies: int, folder: Path) -> Path:
    """Return a report with `copies` times the events of a small one; an existing file is reused."""
    large = folder / f"{small.stem}-{copies}.sqlite"
    if not large.exists():
        inflate(small, large, copies)
    return large


def row_counts(report: Path) -> dict[str, int]:
    """Return {table: rows} of the event tables."""
    with sqlite3.connect(f"file:{report}?mode=ro&immutable=1", uri=True) as database:
        there = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        wanted = [table for table in (*TABLES, *SAMPLED, CHAINS) if table in there]
        return {table: database.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0] for table in wanted}


def against_scan(report: Path, *, beside: bool = False) -> dict[str, Any]:
    """Return the measurements of one report; scans and analyses alternate, so that load affects both equally.

    With `beside`, reading through the driver alone and `nsys stats` alternate with them.
    """
    scan(report)
    scans, runs, read, stats = [], [], [], []
    nsys = shutil.which("nsys")
    for _ in range(10 if beside else 5):
        scans.append(scan(report))
        runs.append(run(PROGRAM, report, "-f", "json"))
        if beside:
            read.append(reading(report))
        if beside and nsys:
            stats.append(run(nsys, *NSYS_STATS, report)[0])
    seconds, peak = min(s for s, _ in runs), max(p for _, p in runs)
    others = {"reading_s": min(read), "reading_over_scan": min(read) / min(scans)} if read else {}
    if stats:
        others |= {"nsys_stats_s": min(stats), "analysis_over_nsys_stats": seconds / min(stats)}
    return others | {
        "report_mb": report.stat().st_size / 1e6,
        "rows": sum(row_counts(report).values()),
        "scan_s": min(scans),
        "analysis_s": seconds,
        "analysis_peak_mb": peak,
        "analysis_over_scan": seconds / min(scans),
    }


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run all measurements and return {name: value}."""
    large = made(options.events, options.copies, folder)
    started = start_up()
    figures = {"copies": options.copies} | against_scan(large, beside=True)
    sampled = made(options.samples, options.copies // 3, folder)
    figures |= {f"sampled_{name}": value for name, value in against_scan(sampled).items()}
    if options.big > 1:
        larger = made(options.events, options.copies * options.big, folder)
        figures["big_factor"], figures["big_rows"] = options.big, sum(row_counts(larger).values())
        figures["big_s"], figures["big_peak_mb"] = best(3, PROGRAM, larger, "-f", "json")
        figures["big_over_once"] = figures["big_s"] / figures["analysis_s"]
        figures["big_peak_over_once"] = figures["big_peak_mb"] / figures["analysis_peak_mb"]
    # Short runs are sensitive to momentary load: measured before and after, the faster one counts.
    return figures | {name: min(seconds, started[name]) for name, seconds in start_up().items()}


def start_up() -> dict[str, float]:
    """Return the seconds of analysing a small report, of the imports, and of `--help`."""
    return {
        "small_report_s": best(12, PROGRAM, SAMPLES / "llama-1b.sqlite")[0],
        "imports_s": imports(),
        "help_s": best(5, PROGRAM, "--help")[0],
    }


def growth(options: argparse.Namespace, folder: Path) -> dict[str, list[dict[str, float]]]:
    """Return wall time and peak memory for growing numbers of rows, phases and samples."""
    by_rows, by_phases, by_samples = [], [], []
    for copies in (10, 30, 100, 300):
        report = made(options.events, copies, folder)
        seconds, peak = best(2, PROGRAM, report, "-f", "json")
        by_rows.append({"rows": sum(row_counts(report).values()), "seconds": seconds, "peak_mb": peak})
        sampled = made(options.samples, copies // 3, folder)
        seconds, peak = best(2, PROGRAM, sampled, "-f", "json")
        by_samples.append({"samples": row_counts(sampled)["COMPOSITE_EVENTS"], "seconds": seconds, "peak_mb": peak})
    for phases in (1, 10, 100):
        report = with_phases(made(options.events, 100, folder), phases)
        seconds, peak = best(2, PROGRAM, report, "-f", "json")
        by_phases.append({"phases": phases, "seconds": seconds, "peak_mb": peak})
        report.unlink()
    return {"rows": by_rows, "phases": by_phases, "samples": by_samples}


def with_phases(report: Path, phases: int) -> Path:
    """Return a copy of a report whose steps have `phases` different labels."""
    target = report.with_name(f"{report.stem}-{phases}-phases.sqlite")
    shutil.copy(report, target)
    with sqlite3.connect(target) as database:
        database.execute(
            "UPDATE NVTX_EVENTS SET text = 'step ' || ((start / 1000) % ?) || ' x' "
            "WHERE eventType = 59 AND (text LIKE 'decode%' OR text LIKE 'prefill%')",
            (phases,),
        )
    database.close()
    return target


def versions() -> dict[str, Any]:
    """Return the versions and the machine on which measurements depend."""
    import adbc_driver_sqlite
    import numpy
    import pyarrow

    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    return {
        "python": platform.python_version(), "sqlite": sqlite3.sqlite_version, "numpy": numpy.__version__,
        "pyarrow": pyarrow.__version__, "adbc": adbc_driver_sqlite.__version__, "processor": processor,
        "cores": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def main() -> None:
    """Measure, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, default=300)
    parser.add_argument("--big", type=int, default=1)
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--events", type=Path, default=SAMPLES / "llama-1b-aten.sqlite", help="report to enlarge")
    parser.add_argument(
        "--samples", type=Path, default=SAMPLES / "inject.sqlite", help="report with CPU samples to enlarge"
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, help="folder in which the large reports are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = options.keep or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        measured = {"versions": versions(), "figures": measure(options, folder)}
        if options.growth:
            measured["growth"] = growth(options, folder)
    print(" ".join(f"{name} {version}" for name, version in measured["versions"].items()))
    print(f"{'what':30} {'figure':>12} {'bar':>6}")
    for name, value in measured["figures"].items():
        print(f"{name:30} {value:12,.2f} {BARS.get(name, ''):>6}")
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
