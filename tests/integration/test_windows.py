"""A report gives the same integers however small the windows of time are in which it is read."""

from __future__ import annotations

import dataclasses
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taxbreak_nsys import Result, TaxbreakError
from taxbreak_nsys.arrays.intervals import union
from taxbreak_nsys.measure.blocking import BlockingLimits
from taxbreak_nsys.model.launch_outline import LaunchOutline
from taxbreak_nsys.options import Options
from taxbreak_nsys.output.html.timeline_rows import ChartNames
from taxbreak_nsys.output.html.timelines import TimelineCollector
from taxbreak_nsys.output.trace_events import Slices, Track, walk
from taxbreak_nsys.output.trace_spool import TraceSpool
from taxbreak_nsys.phases import PhaseRule
from taxbreak_nsys.pipeline import analysis
from taxbreak_nsys.pipeline.analysis import analyze_report, collect_report
from taxbreak_nsys.pipeline.reading import Reading
from taxbreak_nsys.pipeline.windows import Windows
from taxbreak_nsys.read.database import open_report
from taxbreak_nsys.read.row_order import unsorted_tables

RUNTIME = "CUPTI_ACTIVITY_KIND_RUNTIME"
KERNEL = "CUPTI_ACTIVITY_KIND_KERNEL"

WHOLE = 10**9
"""Rows of a window that is larger than any report here."""


def everything(result: Result) -> dict[str, Any]:
    """Return all figures of a result."""
    rows = {"api": result.api_rows, "samples": result.sample_rows, "symbols": result.symbol_rows}
    return result.to_dict() | rows


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the pieces of each reading, in a list that grows."""
    counts: list[int] = []
    cut = Windows.pieces

    def counted(self: Windows, limits: BlockingLimits) -> Any:
        counts.append(0)
        for piece in cut(self, limits):
            counts[-1] += 1
            yield piece

    monkeypatch.setattr(Windows, "pieces", counted)
    return counts


@pytest.mark.parametrize("rows", [200, 1000, 5000, 40_000])
def test_same_as_the_whole(any_report: Path, rows: int, pieces: list[int]) -> None:
    whole = analyze_report(any_report, window_rows=WHOLE)
    assert set(pieces) == {1}
    windowed = analyze_report(any_report, window_rows=rows)
    assert everything(windowed) == everything(whole)
    stretches, _ = union(whole.instances.start, whole.instances.end)
    if rows == 200 and len(stretches) > 4:
        # smaller than an instance: a window then holds few of them, and there are several windows
        assert pieces[-1] > 2


@pytest.mark.parametrize("evidence", ["ranges", "samples", "subtractive", "none"])
@pytest.mark.parametrize("name", ["inject", "llama-1b-aten", "llama-1b"])
def test_same_with_forced_evidence(report: Callable[[str], Path], name: str, evidence: str) -> None:
    path = report(name)
    whole = analyze_report(path, Options(evidence=evidence), window_rows=WHOLE)
    assert everything(analyze_report(path, Options(evidence=evidence), window_rows=700)) == everything(whole)


@pytest.mark.parametrize(
    "options",
    [
        Options(skip=1),
        Options(t_sys_ns=4500),
        Options(rules=(PhaseRule.parse("gemm=^cublasGemmEx$"), PhaseRule.parse("step=^decode"))),
        Options(rules=(PhaseRule.parse("any=."),)),
        Options(window=(0, 2**62)),
    ],
    ids=["skip", "t-sys", "nested rules", "all ranges", "window"],
)
def test_same_with_options(report: Callable[[str], Path], options: Options) -> None:
    path = report("llama-1b")
    whole = analyze_report(path, options, window_rows=WHOLE)
    assert everything(analyze_report(path, options, window_rows=500)) == everything(whole)


@pytest.mark.parametrize("name", ["multi", "vllm-tp2", "public-2gpu-training", "inject"])
def test_the_outline_of_launches_is_that_of_the_whole(report: Callable[[str], Path], name: str) -> None:
    outlines = []
    for rows in (100, WHOLE):
        with open_report(report(name)) as database:
            outlines.append(Reading(database, report(name), Options(), rows).outline(database))
    for field in dataclasses.fields(LaunchOutline):
        assert np.array_equal(*(getattr(outline, field.name) for outline in outlines))


CONSUMED = ["llama-1b", "graph-node", "multi", "public-2gpu-training", "inject", "gpt2-nophase"]


@pytest.mark.parametrize("name", CONSUMED)
def test_the_same_intervals_are_listed(report: Callable[[str], Path], name: str) -> None:
    windowed = analyze_report(report(name), intervals=True, window_rows=300)
    whole = analyze_report(report(name), intervals=True, window_rows=WHOLE)
    assert windowed.intervals is not None
    assert windowed.intervals.equals(whole.intervals)


def slices_of(path: Path, rows: int) -> dict[str, Any]:
    """Return what a trace shows, by the names of its tracks: slices without their arrows' numbers, counters."""
    result, spool = collect_report(path, None, TraceSpool, window_rows=rows)
    tracks: dict[int, str] = {}
    shown: dict[str, list[Any]] = {}
    for event in walk(result, spool):
        if isinstance(event, Track):
            tracks[event.key] = f"{tracks.get(event.parent or 0, '')}/{event.name}"
        elif isinstance(event, Slices):
            arrows = [column is not None and (column > 0).tolist() for column in (event.leaves, event.arrives)]
            texts = [[names[c] if c >= 0 else "" for c in codes.tolist()] for codes, names in event.texts.values()]
            numbers = [column.tolist() for column in event.numbers.values()]
            columns = [event.start.tolist(), event.end.tolist(), [event.names[c] for c in event.name.tolist()]]
            columns += [*texts, *numbers, *(flags for flags in arrows if flags)]
            shown.setdefault(tracks[event.track], []).extend(zip(*columns, strict=True))
        else:
            shown[tracks[event.track]] = list(zip(event.time.tolist(), event.value.tolist(), strict=True))
    return shown


@pytest.mark.parametrize("name", CONSUMED)
def test_a_trace_shows_the_same(report: Callable[[str], Path], name: str) -> None:
    assert slices_of(report(name), 300) == slices_of(report(name), WHOLE)


@pytest.mark.parametrize("name", CONSUMED)
def test_timelines_show_the_same(report: Callable[[str], Path], name: str) -> None:
    drawn = []
    for rows in (300, WHOLE):
        _, timelines = collect_report(
            report(name), None, lambda steps: TimelineCollector(steps, 20_000), window_rows=rows
        )
        names = ChartNames()
        drawn.append([spelt(line, names) for *_, line in timelines.lines(names)])
    assert drawn[0] == drawn[1]


def spelt(line: dict[str, Any], names: ChartNames) -> dict[str, Any]:
    """Return a timeline with its names spelt, whose numbers depend on the windows."""
    texts = [*names.codes, None]
    for key in ("n", "k"):
        column = line["host"][key]
        values = "all" if "all" in column else "value"
        line["host"][key] = column | {values: [texts[code] for code in column[values]]}
    for row in line["device"]:
        row["n"] = [texts[code] for code in row["n"]]
        row.pop("l")  # the launch of an operation may lie in an earlier window
    return line


def test_a_wrong_guess_of_what_blocks_is_read_again(report: Callable[[str], Path], pieces: list[int]) -> None:
    # its launches block by the median over the whole report, not by that of its beginning
    analyze_report(report("llama-3b-batch16"), window_rows=1000)
    assert len(pieces) == 2


def changed(path: Path, folder: Path, *statements: str) -> Path:
    """Return a copy of a report that some statements have changed."""
    target = folder / path.name
    if path != target:
        shutil.copy(path, target)
        target.chmod(0o644)
    with closing(sqlite3.connect(target)) as database, database:
        for statement in statements:
            database.execute(statement)
    return target


def stretched() -> list[str]:
    """Return the statements that make a report a hundred times as long: further than windows look ahead."""
    tables = (RUNTIME, KERNEL, "CUPTI_ACTIVITY_KIND_MEMCPY", "CUPTI_ACTIVITY_KIND_MEMSET", "NVTX_EVENTS", "OSRT_API")
    return [f"UPDATE {one} SET start = start * 100, end = end * 100" for one in (*tables, "PROFILER_OVERHEAD")]


def in_order(table: str, order: str) -> tuple[str, ...]:
    """Return the statements that put the rows of a table in another order."""
    return (
        f'CREATE TABLE other AS SELECT * FROM "{table}" ORDER BY {order}',
        f'DELETE FROM "{table}"',
        f'INSERT INTO "{table}" SELECT * FROM other',
        "DROP TABLE other",
    )


@pytest.mark.parametrize("table", [RUNTIME, KERNEL, "NVTX_EVENTS"])
def test_rows_out_of_order_are_sorted(
    report: Callable[[str], Path], tmp_path: Path, table: str, pieces: list[int]
) -> None:
    (tmp_path / "mixed").mkdir()
    ordered = changed(report("llama-1b"), tmp_path, *stretched())
    path = changed(ordered, tmp_path / "mixed", *in_order(table, "start DESC"))
    windowed = analyze_report(path, window_rows=300)
    assert pieces[-1] > 2
    assert everything(windowed) == everything(analyze_report(path, window_rows=WHOLE))
    assert windowed.to_dict()["phases"] == analyze_report(ordered).to_dict()["phases"]


def test_samples_whose_ids_fall_with_time(report: Callable[[str], Path], tmp_path: Path, pieces: list[int]) -> None:
    fall = (f"UPDATE {table} SET id = 100000000 - id" for table in ("COMPOSITE_EVENTS", "SAMPLING_CALLCHAINS"))
    path = changed(report("inject"), tmp_path, *fall, *in_order("COMPOSITE_EVENTS", "start DESC"))
    windowed = analyze_report(path, window_rows=3000)
    assert len(pieces) > 1
    assert windowed.sample_rows
    assert everything(windowed) == everything(analyze_report(path, window_rows=WHOLE))
    assert windowed.sample_rows == analyze_report(report("inject")).sample_rows


def test_disorder_of_long_tables_is_seen_without_reading_them(report: Callable[[str], Path], tmp_path: Path) -> None:
    with open_report(report("inject")) as database:
        assert unsorted_tables(database) == frozenset()
    path = changed(report("inject"), tmp_path, *in_order("NVTX_EVENTS", "end % 1000"))
    with open_report(path) as database:
        assert unsorted_tables(database) == {"NVTX_EVENTS"}


def test_work_long_after_its_launch(report: Callable[[str], Path], tmp_path: Path, pieces: list[int]) -> None:
    # the kernel of a launch in the first step runs at the very end, further away than windows look
    late = f"(SELECT rowid FROM {KERNEL} ORDER BY start LIMIT 1 OFFSET 5)"
    moved = f"UPDATE {KERNEL} SET start = start + 60000000000, end = end + 60000000000 WHERE rowid = {late}"
    path = changed(report("llama-1b"), tmp_path, *stretched(), moved, *in_order(KERNEL, "start"))
    windowed = analyze_report(path, window_rows=300)
    assert len(pieces) > 1
    assert everything(windowed) == everything(analyze_report(path, window_rows=WHOLE))


def test_device_work_that_lags_is_looked_for(report: Callable[[str], Path], tmp_path: Path) -> None:
    # as behind a full queue, from the first window on: further away than the nearest look
    tables = (KERNEL, "CUPTI_ACTIVITY_KIND_MEMCPY", "CUPTI_ACTIVITY_KIND_MEMSET")
    late = (f"UPDATE {table} SET start = start + 60000000, end = end + 60000000" for table in tables)
    path = changed(report("llama-1b"), tmp_path, *late)
    windowed = analyze_report(path, window_rows=300)
    assert everything(windowed) == everything(analyze_report(path, window_rows=WHOLE))


def test_rules_of_the_users_about_operators(report: Callable[[str], Path], tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[engine]]\nname = "own"\n[[engine.mark]]\ntext = "^aten::linear"\nphase = "linear"\n')
    options = Options(phase_rules=rules)
    whole = analyze_report(report("llama-1b-aten"), options, window_rows=WHOLE)
    assert {entry.phase for entry in whole.entries} == {"linear"}
    assert everything(analyze_report(report("llama-1b-aten"), options, window_rows=500)) == everything(whole)


def test_damaged_marks_are_refused_with_one_line(report: Callable[[str], Path], tmp_path: Path) -> None:
    retyped = (
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = replace(sql, 'INTEGER', '') WHERE name = 'NVTX_EVENTS'",
    )
    path = changed(report("llama-1b"), tmp_path, *retyped)
    changed(path, tmp_path, "UPDATE NVTX_EVENTS SET start = 'x' WHERE coalesce(domainId, 0) = 0")
    for rows in (300, 10**9):
        with pytest.raises(TaxbreakError, match="damaged"):
            analyze_report(path, window_rows=rows)


def test_damaged_rows_are_counted_once(report: Callable[[str], Path], tmp_path: Path) -> None:
    broken = "UPDATE NVTX_EVENTS SET end = start - 1 WHERE rowid % 50 = 0 AND eventType = 59"
    path = changed(report("llama-1b"), tmp_path, broken)
    whole = analyze_report(path, window_rows=WHOLE)
    assert [warning.code for warning in whole.report.warnings].count("rows_left_out") == 1
    windowed = analyze_report(path, window_rows=300)
    assert everything(windowed) == everything(whole)


def test_a_thread_that_calls_cuda_and_launches_nothing(report: Callable[[str], Path], tmp_path: Path) -> None:
    # another thread of the process that asks for attributes now and then, in the middle of everything
    others = (
        f"INSERT INTO {RUNTIME} (start, end, eventClass, globalTid, correlationId, nameId, returnValue) "
        f"SELECT start + 10, end + 10, eventClass, globalTid + 1, correlationId + 10000000, nameId, 0 "
        f"FROM {RUNTIME} WHERE rowid % 40 = 0"
    )
    path = changed(report("llama-1b"), tmp_path, others, *in_order(RUNTIME, "start"))
    windowed = analyze_report(path, window_rows=400)
    assert everything(windowed) == everything(analyze_report(path, window_rows=WHOLE))


def test_large_reports_are_read_in_windows_by_default() -> None:
    assert analysis.analyze_report.__kwdefaults__["window_rows"] == analysis.WINDOW_ROWS
    assert analysis.WINDOW_ROWS < 1_000_000
