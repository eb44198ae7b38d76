"""Compares the time and memory of a batch with analysing its reports one by one on as many cores.

    python benchmarks/batch.py [COPIES] [--times 2] [--json OUT.json]

Copies the sample reports and analyses them in three ways: one after another in one warm process (without the imports
and the first analysis of each sample: the strictest baseline); with the program, once per sample and scaled to the
number of copies (a user's baseline); and with the batch command into a new store, including its start and end. The best
of several runs counts.

    ratio_to_warm       batch_s x workers / warm_s
    ratio_to_warm_cpu   batch_s x workers / warm_cpu_s; a single analysis uses further cores if they are idle, which
                        ratio_to_warm counts twice
    ratio_of_cpu        batch_cpu_s (all processes) / warm_cpu_s; least sensitive to other load on the machine
    ratio_to_program    batch_s x workers / program_s

Batch memory is the sum of the proportional set sizes (PSS) of all processes, sampled in a run that is not timed. It is
compared with the peak of the largest single analysis (by the program) times the workers.
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
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

from taxbreak_nsys import analyze

SAMPLES = sorted((Path(__file__).resolve().parent.parent / "sample_reports").glob("*.sqlite"))
PROGRAM = str(Path(sys.executable).with_name("taxbreak-nsys"))


def copied(copies: int, folder: Path) -> Path:
    """Create `folder` with `copies` copies of the samples in turn and return it."""
    folder.mkdir()
    for number, sample in enumerate(islice(cycle(SAMPLES), copies)):
        shutil.copy(sample, folder / f"{number}.sqlite")
    return folder


def run(*command: str) -> tuple[float, float, float]:
    """Return (wall seconds, CPU seconds with children, largest peak memory of a process in MB) of a command."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"{command[0]} failed with status {status}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def warm(reports: list[Path]) -> tuple[float, float]:
    """Return (wall seconds, CPU seconds) of analyses in this process, after an earlier warm-up."""
    began, used = time.perf_counter(), time.process_time()
    for report in reports:
        analyze(report).to_dict()
    return time.perf_counter() - began, time.process_time() - used


def batch_command(folder: Path, store: Path) -> tuple[str, ...]:
    """Return the batch command; deletes an old store."""
    for old in store.parent.glob(f"{store.name}*"):
        old.unlink()
    return PROGRAM, "batch", str(folder), "--store", str(store), "-q"


def tree(pid: int) -> Iterator[int]:
    """Yield the pids of a process and its descendants."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from tree(int(child))


def pss_mb(pid: int) -> float:
    """Return the proportional set size (MB) of a process, 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("Pss:")), 0.0)


def peak(command: tuple[str, ...]) -> tuple[int, float]:
    """Return (largest number of processes, largest sum of their PSS in MB) while a command runs."""
    most, memory = 0, 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            pids = list(tree(process.pid))
            most, memory = max(most, len(pids)), max(memory, sum(map(pss_mb, pids)))
            time.sleep(0.05)
    return most, memory


def measure(copies: int, times: int, place: Path) -> dict[str, float]:
    """Run all measurements and return {name: value}."""
    cores = len(os.sched_getaffinity(0))
    folder, few, store = copied(copies, place / "reports"), copied(len(SAMPLES), place / "few"), place / "store.db"
    warm(SAMPLES)
    warms, batches = [], []
    for _ in range(times):
        warms.append(warm(sorted(folder.iterdir())))
        batches.append(run(*batch_command(folder, store)))
    singles = {sample: run(PROGRAM, str(sample), "-f", "json") for sample in SAMPLES}
    figures: dict[str, float] = {"reports": copies, "workers": cores, "load": os.getloadavg()[0]}
    figures["warm_s"], figures["warm_cpu_s"] = (min(column) for column in zip(*warms, strict=True))
    figures["program_s"] = sum(singles[sample][0] for sample in islice(cycle(SAMPLES), copies))
    figures["batch_s"], figures["batch_cpu_s"] = (min(column) for column in list(zip(*batches, strict=True))[:2])
    figures["batch_of_7_s"] = run(*batch_command(few, store))[0]
    figures["ratio_to_warm"] = figures["batch_s"] * cores / figures["warm_s"]
    figures["ratio_to_warm_cpu"] = figures["batch_s"] * cores / figures["warm_cpu_s"]
    figures["ratio_of_cpu"] = figures["batch_cpu_s"] / figures["warm_cpu_s"]
    figures["ratio_to_program"] = figures["batch_s"] * cores / figures["program_s"]
    figures["processes"], figures["peak_pss_mb"] = peak(batch_command(folder, store))
    figures["peak_pss_of_7_mb"] = peak(batch_command(few, store))[1]
    figures["workers_x_single_mb"] = cores * max(memory for _, _, memory in singles.values())
    figures["ratio_of_memory"] = figures["peak_pss_mb"] / figures["workers_x_single_mb"]
    return figures


BARS = {"ratio_to_warm": 1.3, "ratio_to_warm_cpu": 1.3, "ratio_of_cpu": 1.3, "ratio_to_program": 1.3,
        "ratio_of_memory": 1.0}  # fmt: skip


def main() -> None:
    """Measure, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("copies", type=int, nargs="?", default=200)
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        figures = measure(options.copies, options.times, Path(made))
    import numpy
    import pyarrow
    import sqlalchemy

    versions = {
        "python": platform.python_version(), "sqlite": sqlite3.sqlite_version, "numpy": numpy.__version__,
        "pyarrow": pyarrow.__version__, "sqlalchemy": sqlalchemy.__version__, "machine": platform.machine(),
    }  # fmt: skip
    print(" ".join(f"{name} {version}" for name, version in versions.items()))
    print(f"{'what':22} {'figure':>9} {'bar':>5}")
    for name, value in figures.items():
        print(f"{name:22} {value:9.2f} {BARS.get(name, ''):>5}")
    if options.json:
        options.json.write_text(json.dumps({"versions": versions, "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
