"""Who was on a CPU while the host threads waited in the OS: by hand, by brute force, in real reports."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from taxbreak_nsys import Result, analyze
from taxbreak_nsys.model.engine_figures import OsWait
from taxbreak_nsys.model.trace_columns import PROCESS_MASK, pid
from taxbreak_nsys.output.text_report import render_text
from taxbreak_nsys.pipeline import os_waits
from taxbreak_nsys.pipeline.analysis import analyze_report
from taxbreak_nsys.read import other_processes
from tests.support.engine_reports import EngineReport, Span
from tests.support.report_builder import PID, US

STEP = 1000
STEPS = 4
WAITS = ((100, 200), (1300, 1360), (2100, 2140))
"""The OS waits of the engine's thread, us: 200 in all; its steps last from 0 to 4000."""
WAIT, REST = 200, STEPS * STEP - 200


def switch(report: EngineReport, thread: int, *spans: Span) -> None:
    """Add the context switches of a thread that is on a CPU in each span."""
    for span in spans:
        for moment, is_in in zip(span, (1, 0), strict=True):
            report.add("SCHED_EVENTS", start=report.at(moment), cpu=0, isSchedIn=is_in, globalTid=thread)


def engine(waits: Iterable[Span] = WAITS) -> EngineReport:
    """Return a report of steps of 1000 us, in which the engine's thread waits in the OS."""
    report = EngineReport()
    thread = report.thread()
    for number in range(STEPS + 1):
        zero = number * STEP
        report.mark(thread, 0, 1 if number < STEPS else 0, zero, zero + 50)
        report.kernels(thread, (zero + 10, zero + 14), [(zero + 15, zero + 40)])
    # the last step before an idle mark ends with its last call
    report.call(thread, "cudaEventQuery_v3020", STEPS * STEP - 10, STEPS * STEP)
    for start, end in waits:
        report.os_call(thread, "pthread_cond_timedwait", start, end)
    return report


def on_cpu(wait: OsWait) -> dict[int, tuple[int, int]]:
    """Return {process, counted from the engine's: (us on a CPU in the waits, in the rest)}."""
    assert wait.on_cpu is not None
    return {row.process - PID: (row.wait_ns // US, row.rest_ns // US) for row in wait.on_cpu}


def waits_of(report: EngineReport, path: Path) -> tuple[Result, OsWait]:
    result = analyze(report.write(path))
    (wait,) = result.os_waits
    return result, wait


def told(result: Result) -> str:
    """Return the text report as one line, however it is wrapped."""
    return " ".join(render_text(result, "taxbreak_sum", None).split())


def test_the_scheduler_that_runs_only_in_the_waits(tmp_path: Path) -> None:
    report = engine()
    switch(report, report.thread(), (0, 100), (200, 1300))
    switch(report, report.thread(0, 1), (150, 250), (1290, 1350))
    # two threads of one process that overlap count once; so little is no candidate
    switch(report, report.thread(0, 2), (2100, 2130), (3000, 3900))
    switch(report, report.thread(1, 2), (2110, 2140))
    result, wait = waits_of(report, tmp_path / "r.sqlite")
    assert (wait.process, wait.wait_ns, wait.rest_ns) == (PID, WAIT * US, REST * US)
    assert on_cpu(wait) == {1: (100, 60), 2: (40, 900)}
    assert (wait.likely_process, wait.reason) == (PID + 1, None)
    line = told(result)
    assert f"of process {PID} waited in the OS for 200.0 us of its steps. On a CPU meanwhile:" in line
    assert f"process {PID + 1} for 100.0 us (50.0 % of the wait, 1.6 % of the rest)" in line
    assert f"It likely waited for process {PID + 1}: no other process of the report was on a CPU for half of it" in line


def test_other_threads_of_the_own_process(tmp_path: Path) -> None:
    # the engine's own thread, on a CPU from 1310 on as if woken within its wait, is none of them
    report = engine()
    switch(report, report.thread(), (0, 110), (200, 1300), (1310, 1390))
    switch(report, report.thread(1), (100, 200), (1300, 1301))
    result, wait = waits_of(report, tmp_path / "r.sqlite")
    assert on_cpu(wait) == {0: (101, 0)}
    assert wait.on_cpu is not None
    assert wait.on_cpu[0].own
    assert wait.likely_process == PID
    assert "It likely waited for other threads of its process" in told(result)


SPIN = (0, STEPS * STEP)


@pytest.mark.parametrize(
    ("spans", "reason"),
    [
        ({1: [SPIN]}, "the only one on a CPU for half of the wait was on it for half of the rest as well"),
        ({1: [SPIN], 2: [(100, 200)]}, "several were on a CPU for at least half of the wait"),
        ({1: [(100, 199)], 2: [(1300, 1360)]}, "none was on a CPU for half of the wait"),
        ({1: [(3000, 3900)]}, "none was on a CPU for half of the wait"),
    ],
    ids=["spins", "two", "too little", "elsewhere"],
)
def test_where_it_cannot_be_told(spans: dict[int, list[Span]], reason: str, tmp_path: Path) -> None:
    report = engine()
    for process, parts in spans.items():
        switch(report, report.thread(0, process), *parts)
    result, wait = waits_of(report, tmp_path / "r.sqlite")
    assert (wait.likely_process, wait.reason) == (None, reason)
    line = told(result)
    assert "likely waited for" not in line
    assert (f"cannot be told: {reason}" in line) == bool(wait.on_cpu)
    assert ("no other thread was on a CPU meanwhile" in line) == (not wait.on_cpu)


def test_what_was_not_captured_is_null_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, wait = waits_of(engine(), tmp_path / "no switches.sqlite")
    assert (wait.wait_ns, wait.on_cpu, wait.reason) == (WAIT * US, None, "the report has no context switches")
    assert "waited in the OS" not in told(result)

    report = engine([])
    switch(report, report.thread(0, 1), SPIN)
    _, wait = waits_of(report, tmp_path / "no calls.sqlite")
    assert (wait.wait_ns, wait.rest_ns, wait.on_cpu) == (None, None, None)
    assert wait.reason == "the report has no OS calls of the threads that call CUDA"

    report = engine([])
    report.os_call(report.thread(), "read", 100, 200)
    switch(report, report.thread(0, 1), SPIN)
    _, wait = waits_of(report, tmp_path / "no waits.sqlite")
    assert (wait.wait_ns, wait.rest_ns, wait.on_cpu) == (0, STEPS * STEP * US, None)
    assert wait.reason == "the thread waited in no OS call in its phases"

    monkeypatch.setattr(other_processes, "_MOST_SWITCHES", 1)
    report = engine()
    switch(report, report.thread(0, 1), SPIN)
    _, wait = waits_of(report, tmp_path / "too many.sqlite")
    assert (wait.wait_ns, wait.on_cpu, wait.likely_process) == (WAIT * US, None, None)
    assert wait.reason == "the report has more than 1 context switches"


def brute(path: Path, host: int, waits: list[Span], phases: list[Span]) -> dict[int, Span]:
    """Return {pid: (ns on a CPU in the waits, in the rest)}, looked up moment by moment between any two edges."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
        rows = database.execute("SELECT start, globalTid, isSchedIn FROM SCHED_EVENTS ORDER BY start").fetchall()
    edges = sorted({moment for span in (*waits, *phases) for moment in span} | {row[0] for row in rows})
    running: dict[int, bool] = {}
    last = {thread: moment for moment, thread, _ in rows}
    sums: dict[int, list[int]] = {}
    at = 0
    for low, high in pairwise(edges):
        while at < len(rows) and rows[at][0] <= low:
            running[rows[at][1]] = bool(rows[at][2])
            at += 1
        if not any(start <= low < end for start, end in phases):
            continue
        waiting = any(start <= low < end for start, end in waits)
        # a thread that is not seen to leave the CPU is not known to be on it
        for process in {t & PROCESS_MASK for t, on in running.items() if on and t != host and last[t] > low}:
            sums.setdefault(pid(process), [0, 0])[0 if waiting else 1] += high - low
    return {process: (both[0], both[1]) for process, both in sums.items() if both[0]}


@pytest.mark.parametrize("seed", range(8))
def test_random_switches_by_brute_force(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    cuts = sorted(chance.sample(range(60, STEPS * STEP - 10), 12))
    # in the marks at the start of each step are launches, which are no waits
    waits = [(s, e) for s, e in zip(cuts[::2], cuts[1::2], strict=True) if s // STEP == e // STEP and s % STEP > 50]
    report = engine([*waits, (60, 61)])
    for process in range(4):
        for number in range(3):
            thread = report.thread(number, process)
            for moment in sorted(chance.sample(range(-100, STEPS * STEP + 100), chance.choice([1, 9, 40]))):
                report.add("SCHED_EVENTS", start=moment * US, cpu=0, isSchedIn=chance.randrange(2), globalTid=thread)
    chance.shuffle(report.tables["SCHED_EVENTS"])
    path = report.write(tmp_path / "r.sqlite")
    spans = [(start * US, end * US) for start, end in [*waits, (60, 61)]]
    (wait,) = analyze(path).os_waits
    assert wait.wait_ns == sum(end - start for start, end in spans)
    assert wait.on_cpu is not None
    ours = {row.process: (row.wait_ns, row.rest_ns) for row in wait.on_cpu}
    assert ours == brute(path, report.thread(), spans, [(0, STEPS * STEP * US)])


REAL = ("vllm-graph", "vllm-tp2", "vllm-mixed", "vllm-sampled", "jax", "inject")


@pytest.mark.parametrize("name", REAL)
def test_real_reports_by_brute_force(report: Callable[[str], Path], name: str) -> None:
    result = analyze(report(name), intervals=True)
    assert result.intervals is not None
    listed = result.intervals.to_pylist()
    by_thread = {(pid(t), t & 0xFFFFFF): t for t in result.instances.thread.tolist()}
    assert {(wait.process, wait.thread) for wait in result.os_waits} == set(by_thread)
    for wait in result.os_waits:
        rows = [row for row in listed if (row["PID"], row["TID"]) == (wait.process, wait.thread)]
        spans = [(row["Start (ns)"], row["Start (ns)"] + row["Duration (ns)"], row["State"]) for row in rows]
        waits = [(start, end) for start, end, state in spans if state == "os_wait"]
        assert wait.wait_ns == sum(end - start for start, end in waits)
        assert wait.rest_ns == sum(end - start for start, end, _ in spans) - wait.wait_ns
        if waits:
            assert wait.on_cpu is not None
            ours = {row.process: (row.wait_ns, row.rest_ns) for row in wait.on_cpu}
            host = by_thread[wait.process, wait.thread]
            instances = result.instances
            phases = [instances.thread_pieces(host)[0][k].tolist() for k in (0, 1)]
            assert ours == brute(report(name), host, waits, list(zip(*phases, strict=True)))


def test_the_waits_add_up_to_the_states(analysed: Callable[[str], Result]) -> None:
    for name in REAL:
        result = analysed(name)
        states = sum(entry.states_ns["os_wait"] for entry in result.entries if not entry.combined)
        assert sum(wait.wait_ns or 0 for wait in result.os_waits) == states > 0


def test_a_scheduler_that_spins_is_not_blamed(analysed: Callable[[str], Result]) -> None:
    # vllm-tp2: process 991 is on a CPU all the time, in the waits as well; the waits are Python's for its lock
    result = analysed("vllm-tp2")
    wait = next(wait for wait in result.os_waits if wait.wait_ns)
    assert wait.on_cpu is not None
    spinning = next(row for row in wait.on_cpu if row.process == result.processes[0].process)
    assert spinning.wait_share == 1
    assert spinning.rest_share is not None
    assert spinning.rest_share > 0.99
    own = next(row for row in wait.on_cpu if row.own)
    assert own.rest_share is not None
    assert own.wait_share > 0.5 > 0.1 > own.rest_share
    assert wait.likely_process is None
    assert "cannot be told: several were on a CPU for at least half of the wait" in told(result)


def test_a_compiled_step_waits_for_other_threads_of_its_process(analysed: Callable[[str], Result]) -> None:
    (wait,) = analysed("vllm-graph").os_waits
    assert wait.likely_process == wait.process


def test_the_same_however_few_waits_are_kept(report: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = analyze_report(report("vllm-tp2"), window_rows=10**9).os_waits
    monkeypatch.setattr(os_waits, "_MOST_PENDING", 0)
    assert analyze_report(report("vllm-tp2"), window_rows=200).os_waits == whole


def test_rows_in_another_order(report: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    shutil.copy(report("vllm-tp2"), path)
    path.chmod(0o644)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE other AS SELECT * FROM SCHED_EVENTS ORDER BY cpu, start DESC")
        database.execute("DELETE FROM SCHED_EVENTS")
        database.execute("INSERT INTO SCHED_EVENTS SELECT * FROM other")
        database.execute("DROP TABLE other")
    assert analyze(path).os_waits == analyze(report("vllm-tp2")).os_waits
