"""Measures every command on a report and on one ten times as large, other tools on the same file, and `.nsys-rep`.

    python benchmarks/commands.py [--json OUT.json] [--nsys-rep REPORT.nsys-rep] [--keep DIR]

CPU seconds and peak memory of each command; of `-f json` also with rows out of the order of time. With nsys on PATH,
`nsys stats` with one report and with its default ones; with nsys-ai on PATH, some of its skills. `--nsys-rep` names a
capture (it may be repeated): the answer from it, with nothing in the cache, over its export to SQLite alone. Each
number is the least of three runs (of the larger report: one run); the runs of different programs alternate. Writes into
the JSON file of `benchmarks/speed.py`, if there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from speed import CHAINS, PROGRAM, SAMPLED, SAMPLES, TABLES, environment, made, row_counts

RUNS = 3
SKILLS = ("top_kernels", "gpu_idle_gaps", "kernel_launch_overhead")


def commands(report: Path, folder: Path) -> dict[str, list[str]]:
    """Return the command lines to measure; outputs go into `folder`."""
    listings = ("taxbreak_kern_sum", "taxbreak_op_sum", "taxbreak_gap_trace", "taxbreak_step_trace", "taxbreak_trace")
    tables = [part for name in listings for part in ("-r", name)]
    written = ["--force-overwrite", "-o"]
    return {
        "-f json": [str(report), "-f", "json"],
        "-r (5 tables) -f parquet": [str(report), *tables, "-f", "parquet", *written, str(folder / "tables")],
        "html": ["html", str(report), *written, str(folder / "report.html")],
        "trace": ["trace", str(report), *written, str(folder / "report.pftrace")],
        "whatif": ["whatif", str(report), "--framework", "0.5"],
        "diff": ["diff", str(report), str(report)],
        "doctor": ["doctor", str(report)],
        "library-map": ["library-map", str(report)],
    }


def run(command: list[str], env: dict[str, str] | None = None) -> dict[str, float]:
    """Return wall and CPU seconds and peak memory (MB) of a command; its exit code does not matter."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        env=environment() | (env or {}),
    )  # fmt: skip
    _, _, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    return {"wall_s": seconds, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1000}


def least(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the least times and the largest memory of several runs."""
    return {key: (max if key == "peak_mb" else min)(one[key] for one in runs) for key in runs[0]}


def by_command(once: Path, larger: Path, folder: Path) -> list[dict[str, Any]]:
    """Return for each command its CPU time and memory on a report and on a larger one."""
    rows = []
    for name, arguments in commands(once, folder).items():
        small = least([run([str(PROGRAM), *arguments]) for _ in range(RUNS)])
        large = run([str(PROGRAM), *commands(larger, folder)[name]])
        rows.append({"command": name, "once": small, "larger": large})
        print(name, {key: round(value, 2) for key, value in large.items()}, flush=True)
    return rows


def shuffled(report: Path, folder: Path) -> Path:
    """Return a copy of a report whose long tables have their rows in no order."""
    target = folder / f"{report.stem}-shuffled.sqlite"
    shutil.copy(report, target)
    database = sqlite3.connect(target)
    database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
    there = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table in ({*TABLES, *SAMPLED, CHAINS} & there) - {"PROFILER_OVERHEAD"}:
        definition = database.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
        database.execute(f'ALTER TABLE "{table}" RENAME TO ordered')
        database.execute(definition)
        database.execute(f'INSERT INTO "{table}" SELECT * FROM ordered ORDER BY random()')
        database.execute("DROP TABLE ordered")
    database.commit()
    database.close()
    return target


def other_tools(report: Path, folder: Path) -> list[dict[str, Any]]:
    """Return the wall time of this program and of others on the same file; each works on a copy of its own."""
    copy = folder / f"others-{report.name}"
    if not copy.exists():
        shutil.copy(report, copy)
    programs = {"taxbreak-nsys -f json": [str(PROGRAM), str(report), "-f", "json"]}
    if nsys := shutil.which("nsys"):
        single = [nsys, "stats", "--report", "cuda_kern_exec_sum", "--format", "csv", "--force-export=false", str(copy)]
        programs["nsys stats, one report (cuda_kern_exec_sum)"] = single
        programs["nsys stats, default reports"] = [nsys, "stats", "--format", "csv", "--force-export=false", str(copy)]
    if other := shutil.which("nsys-ai"):
        programs |= {f"nsys-ai skill {name}": [other, "skill", "run", name, str(copy)] for name in SKILLS}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
    for _ in range(RUNS):
        for name, command in programs.items():
            runs[name].append(run(command))
    return [{"program": name, **least(of_program)} for name, of_program in runs.items()]


def from_nsys_rep(report: Path, folder: Path) -> dict[str, Any]:
    """Return the times of exporting a `.nsys-rep` and of answering from it with an empty cache."""
    nsys = shutil.which("nsys")
    if nsys is None:
        raise SystemExit("--nsys-rep needs nsys on PATH")
    runs: dict[str, list[float]] = {"sqlite": [], "arrowdir": [], "answer": []}
    for _ in range(RUNS):
        for kind in ("sqlite", "arrowdir"):
            target = folder / f"export.{kind}"
            export = [nsys, "export", "-t", kind, "-f", "true", "-o", str(target), str(report)]
            runs[kind].append(run(export)["wall_s"])
        with tempfile.TemporaryDirectory(dir=folder) as cache:
            answer = [str(PROGRAM), str(report), "-f", "json"]
            runs["answer"].append(run(answer, {"TAXBREAK_CACHE_DIR": cache})["wall_s"])
    rows = sum(row_counts(folder / "export.sqlite").values())
    return {"what": report.stem, "mb": report.stat().st_size / 1e6, "rows": rows} | {
        f"{name}_s": min(seconds) for name, seconds in runs.items()
    }


def main() -> None:
    """Measure; write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, default=100, help="copies of the small report; ten times as many as well")
    parser.add_argument("--nsys-rep", type=Path, action="append", default=[])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, help="folder in which the large reports are kept")
    options = parser.parse_args()
    small = SAMPLES / "llama-1b-aten.sqlite"
    with tempfile.TemporaryDirectory() as place:
        folder = options.keep or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        once, larger = made(small, options.copies, folder), made(small, options.copies * 10, folder)
        answer = ["-f", "json"]
        measured: dict[str, Any] = {"commands": by_command(once, larger, Path(place))}
        middle = made(small, options.copies, folder)
        mixed = shuffled(middle, Path(place))
        ordered = least([run([str(PROGRAM), str(middle), *answer]) for _ in range(RUNS)])
        measured["unordered"] = {
            "rows": sum(row_counts(middle).values()),
            "ordered": ordered,
            "unordered": least([run([str(PROGRAM), str(mixed), *answer]) for _ in range(RUNS)]),
        }
        measured["tools"] = other_tools(made(small, options.copies * 3, folder), Path(place))
        measured["nsys_rep"] = [from_nsys_rep(report, Path(place)) for report in options.nsys_rep]
        measured["command_rows"] = [sum(row_counts(report).values()) for report in (once, larger)]
    print(json.dumps(measured, indent=1))
    if options.json:
        before = json.loads(options.json.read_text()) if options.json.exists() else {}
        options.json.write_text(json.dumps(before | measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
