"""Simulates batches as a service: `python -m fuzz.service --store postgresql://…/db --reports 10000 --runs 60`.

Reports arrive in folders while batches over the folders repeat, as a timer would start them. Two machines (processes)
write to one store; each has its own folder, and they share a third. Each run may be killed at any moment. After two
final runs without kills, the store must hold every report exactly once, with all its rows.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import func, select

from taxbreak_nsys.store import models
from taxbreak_nsys.store.store_opening import open_store
from tests.support.report_builder import VARIATIONS, VERSIONS, build

MACHINES = ("a", "b")
SHARED = "shared"


def main() -> int:
    """Run the simulation; exit code 1 if a report is missing, stored twice or stored with wrong rows."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.service", description=__doc__)
    parser.add_argument("--store", required=True)
    parser.add_argument("--reports", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--kill", type=float, default=0.4, help="share of the runs that are killed")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="taxbreak-service-") as folder:
        return 1 if simulate(Path(folder), given.store, given.reports, given.runs, given.kill, given.seed) else 0


def simulate(folder: Path, store: str, reports: int, runs: int, kill: float, seed: int) -> list[str]:
    """Fill the folders run by run, kill some runs, and return the defects of the store at the end."""
    draw = random.Random(seed)
    originals = [folder / f"{version.name}.sqlite" for version in VERSIONS]
    for path, version in zip(originals, VERSIONS, strict=True):
        build(path, version, VARIATIONS[0])
    for place in (*MACHINES, SHARED):
        (folder / place).mkdir()
    began, put, killed, took = time.monotonic(), 0, Counter[str](), []
    for run in range(runs):
        due = reports * (run + 1) // runs
        while put < due:
            place = SHARED if put % 10 == 0 else MACHINES[put % 2]
            os.link(originals[put % len(originals)], folder / place / f"{put:06}.sqlite")
            put += 1
        started = time.monotonic()
        for machine, code in _run_machines(folder, store, draw if run < runs - 1 else None, kill).items():
            if code:
                killed[f"{machine} {signal.Signals(-code).name if code < 0 else code}"] += 1
        took.append(time.monotonic() - started)
    for machine, code in _run_machines(folder, store, None, kill).items():  # a last run without kills
        if code:
            killed[f"{machine} at the end: {code}"] += 1
    wrong = _check(folder, store, reports)
    print(f"{reports} reports, {runs} runs of {len(MACHINES)} machines, ended early: {dict(killed)}")
    print(f"{time.monotonic() - began:.0f} s; a run took {min(took):.1f} to {max(took):.1f} s")
    print("\n".join(wrong) or "nothing lost, nothing twice")
    return wrong


def _run_machines(folder: Path, store: str, draw: random.Random | None, kill: float) -> Mapping[str, int]:
    """Run a batch on each machine at once; with `draw` some are killed, some with their fork server's children."""
    processes = {
        machine: subprocess.Popen(
            [sys.executable, "-m", "taxbreak_nsys", "batch", *(str(p) for p in _folders(folder, machine)), "--store",
             store, "--jobs", "1", "-q", "--tag", f"machine={machine}"],
            stdout=subprocess.DEVNULL, start_new_session=True,
        )
        for machine in MACHINES
    }  # fmt: skip
    for process in processes.values():
        if draw is not None and draw.random() < kill:
            time.sleep(draw.uniform(0.3, 4))
            number = draw.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
            if process.poll() is None:
                process.send_signal(number)
    return {machine: process.wait(900) for machine, process in processes.items()}


def _folders(folder: Path, machine: str) -> list[Path]:
    return [place for place in (folder / machine, folder / SHARED) if any(place.iterdir())]


def _check(folder: Path, store: str, reports: int) -> list[str]:
    """Return the differences between store and folders: lost or repeated reports, unequal rows of equal reports."""
    paths = {str(path) for place in (*MACHINES, SHARED) for path in (folder / place).iterdir()}
    wrong = []
    with open_store(store) as opened, opened.begin() as connection:
        stored = connection.execute(select(models.reports.c.path, models.reports.c.sha256, models.reports.c.id)).all()
        counts: dict[str, Counter[int]] = {}
        for table in (models.phases, models.warnings, models.tags):
            counts[table.name] = Counter(
                dict(connection.execute(select(table.c.report_id, func.count()).group_by(table.c.report_id)).all())
            )
        failures = connection.execute(select(models.failures.c.path, models.failures.c.message)).all()
        loose = connection.execute(
            select(func.count()).select_from(models.phases).where(models.phases.c.report_id.not_in(
                select(models.reports.c.id)))
        ).scalar()  # fmt: skip
    names = Counter(row.path for row in stored)
    if len(paths) != reports:
        wrong.append(f"{len(paths)} files in the folders in place of {reports}")
    wrong += [f"lost: {path}" for path in sorted(paths - set(names))[:5]]
    wrong += [f"{count} times: {path}" for path, count in names.items() if count > 1][:5]
    wrong += [f"failed: {path}: {message}" for path, message in failures[:5]]
    kinds: dict[str, set[tuple[int, ...]]] = {}
    for row in stored:
        kinds.setdefault(row.sha256, set()).add(tuple(counts[name][row.id] for name in ("phases", "warnings")))
    wrong += [f"other rows for equal reports: {shapes}" for shapes in kinds.values() if len(shapes) > 1]
    wrong += [f"{loose} phases of no report"] if loose else []
    return wrong


if __name__ == "__main__":
    sys.exit(main())
