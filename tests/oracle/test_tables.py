"""Tables of gaps, ranges and kernel classes: they add up to their phase, and are those of a slow twin."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections import defaultdict
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from taxbreak_nsys import Result
from taxbreak_nsys.model.detail_rows import DETAIL_TABLES
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.options import Options
from taxbreak_nsys.output import formats
from taxbreak_nsys.output.result_tables import result_table
from taxbreak_nsys.pipeline.analysis import analyze_report
from taxbreak_nsys.result import Phase
from tests.oracle.brute_tables import BruteTables
from tests.support.in_process import run
from tests.support.program import COMMAND
from tests.support.reports import find_report

ALL_TABLES = Options(tables=frozenset(DETAIL_TABLES))
TWINNED = ("llama-1b-aten", "vllm-eager", "jax", "vllm-sampled", "inject", "graph-node", "gpt2-nophase")


@cache
def with_tables(path: Path) -> Result:
    return analyze_report(path, ALL_TABLES)


@cache
def twin(path: Path) -> BruteTables:
    """The twin of a report, from the intervals as the program lists them."""
    done = run(path, "-r", "taxbreak_trace", "-f", "json", "--evidence", "none")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["reports"][0]["taxbreak_trace"]
    titles = {
        "start_ns": "Start (ns)", "duration_ns": "Duration (ns)", "state": "State", "phase": "Phase",
        "instance": "Instance", "process": "PID", "thread": "TID",
    }  # fmt: skip
    return BruteTables(str(path), [{title: row[key] for key, title in titles.items()} for row in rows])


def rows_of(rows: tuple[dict[str, Any], ...] | None, entry: Phase) -> list[dict[str, Any]]:
    key = (entry.phase, entry.process, entry.thread)
    return [row for row in rows or () if (row["phase"], row["process"], row["thread"]) == key]


def lone(result: Result) -> list[Phase]:
    return [entry for entry in result.entries if not entry.combined]


def test_gaps_add_up_to_the_idle_time(any_report: Path) -> None:
    result = with_tables(any_report)
    trace = result_table(result, "taxbreak_gap_trace").to_pylist()
    for entry in lone(result):
        gaps = rows_of(result.details.gaps, entry)
        mine = [g for g in trace if (g["Phase"], g["PID"], g["TID"]) == (entry.phase, entry.process, entry.thread)]
        if entry.device.idle_ns is None:
            assert not gaps
            assert not mine
            continue
        assert sum(row["total_ns"] for row in gaps) == entry.device.idle_ns
        assert sum(gap["Duration (ns)"] for gap in mine) == entry.device.idle_ns
        assert len(mine) == sum(row["instances"] for row in gaps)
        assert sum(row["share"] for row in gaps) == pytest.approx(1 if gaps else 0)


def test_ranges_add_up_to_the_phase(any_report: Path) -> None:
    result = with_tables(any_report)
    for entry in lone(result):
        rows = rows_of(result.details.ranges, entry)
        outermost = [row for row in rows if row["depth"] <= 1]
        launches = entry.launches
        assert sum(row["self_ns"] for row in rows) == entry.wall_ns
        assert sum(row["total_ns"] for row in outermost) == entry.wall_ns
        assert {name: sum(row[f"state_{name}"] for row in outermost) for name in STATES} == entry.states_ns
        assert sum(row["self_launches"] for row in rows) == launches.kernel + launches.graph + launches.memory
        assert sum(row["self_kernels"] for row in rows) == sum(row["kernels"] for row in outermost) == entry.kernels
        if entry.exposed_ns is None:
            assert {row["exposed_ns"] for row in rows} == {None}
        else:
            assert sum(row["self_exposed_ns"] for row in rows) == entry.device.idle_ns
            assert sum(row["self_device_ns"] for row in rows) == entry.device.kernel_sum_ns


def test_classes_add_up_to_the_phase(any_report: Path) -> None:
    result = with_tables(any_report)
    for entry in lone(result):
        rows = rows_of(result.details.classes, entry)
        launches, states = entry.launches, entry.states_ns
        assert sum(row["launches"] for row in rows) == launches.kernel + launches.graph + launches.memory
        assert sum(row["launch_ns"] for row in rows) == states["launch"] + states["memop"]
        if entry.exposed_ns is None:
            assert {row["exposed_launch_ns"] for row in rows} <= {None}
            continue
        exposed = entry.exposed_ns["launch"] + entry.exposed_ns["memop"]
        assert sum(row["exposed_launch_ns"] for row in rows) == exposed
        assert sum(row["device_ns"] for row in rows if row["class"] != "memory") == entry.device.kernel_sum_ns


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_depth_keeps_the_sum(report, depth: int) -> None:
    result = analyze_report(report("llama-1b-aten"), Options(tables=frozenset({"ranges"}), tree_depth=depth))
    for entry in lone(result):
        rows = rows_of(result.details.ranges, entry)
        assert max(row["depth"] for row in rows) == depth
        assert sum(row["self_ns"] for row in rows) == entry.wall_ns
        assert sum(row["self_kernels"] for row in rows) == entry.kernels


@pytest.mark.parametrize("name", ["inject", "llama-1b-aten", "vllm-mixed", "jax", "olmoe", "public-2gpu-training"])
def test_windows_make_the_same_tables(report, name: str) -> None:
    whole = with_tables(report(name))
    in_windows = analyze_report(report(name), ALL_TABLES, window_rows=2000)
    for table in ("gaps", "gap_summary", "ranges", "classes", "fusion"):
        assert getattr(in_windows.details, table) == getattr(whole.details, table)
    assert result_table(in_windows, "taxbreak_gap_trace") == result_table(whole, "taxbreak_gap_trace")


@pytest.mark.parametrize("name", ["taxbreak_gap_trace", "taxbreak_trace", "taxbreak_kern_sum"])
def test_a_parquet_file_in_many_parts_has_every_row(report, name: str, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(formats, "ROW_GROUP", 500)
    path, options = report("inject"), Options(tables=frozenset({"gap_trace"}))
    results = [analyze_report(path, options, intervals=True, window_rows=2000) for _ in range(2)]
    for several in (results[:1], results):
        formats.write_parquet(several, name, tmp_path / "rows.parquet")
        expected = formats.joined(several, name)
        assert pq.read_table(tmp_path / "rows.parquet").equals(expected, check_metadata=True)


@pytest.mark.parametrize("name", TWINNED)
def test_gaps_are_those_of_the_twin(report, name: str) -> None:
    result = analyze_report(report(name), Options(tables=frozenset({"gaps"}), evidence="none"))
    ours: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
    for row in result.details.gaps or ():
        key = (row["phase"], row["process"], row["thread"], row["state"], row["name"])
        ours[key][0] += row["instances"]
        ours[key][1] += row["total_ns"]
    expected = {key: [len(lengths), sum(lengths)] for key, lengths in twin(report(name)).gaps().items()}
    assert dict(ours) == expected


@pytest.mark.parametrize("name", TWINNED)
def test_ranges_are_those_of_the_twin(report, name: str) -> None:
    result = analyze_report(report(name), Options(tables=frozenset({"ranges"}), evidence="none"))
    keys = ("self_ns", "self_exposed_ns", "self_launches", "self_kernels", "self_device_ns")
    ours = {
        (row["phase"], row["process"], row["thread"], row["path"]): {key: row[key] for key in keys if row[key]}
        for row in result.details.ranges or ()
    }
    expected = {
        key: {name: value for name, value in row.items() if value}
        for key, row in twin(report(name)).range_rows().items()
    }
    assert {key: row for key, row in ours.items() if row} == {key: row for key, row in expected.items() if row}


@pytest.mark.parametrize("name", TWINNED)
def test_classes_are_those_of_the_twin(report, name: str) -> None:
    result = analyze_report(report(name), Options(tables=frozenset({"classes"}), evidence="none"))
    keys = ("operations", "device_ns", "launches", "launch_ns", "exposed_launch_ns")
    ours = {
        (row["phase"], row["process"], row["thread"], row["class"]): {key: row[key] for key in keys if row[key]}
        for row in result.details.classes or ()
    }
    expected = {
        key: {name: value for name, value in row.items() if value}
        for key, row in twin(report(name)).class_rows().items()
    }
    assert ours == expected


@pytest.mark.parametrize("name", ["llama-1b-aten", "vllm-eager"])
def test_fusion_candidates_are_those_of_the_twin(report, name: str) -> None:
    result = analyze_report(report(name), Options(tables=frozenset({"fusion"}), evidence="none"))
    ours = {
        (row["phase"], row["process"], row["thread"], row["kernels"], row["pattern"]): [
            row["instances"], row["saved_ns"], row["path_ns"],
        ]
        for row in result.details.fusion or ()
    }  # fmt: skip
    expected = {
        (*key[:3], len(key[3]), " + ".join(folded_names(key[3]))): sums
        for key, sums in twin(report(name)).fusion().items()
    }
    assert ours
    assert ours == expected


def folded_names(names: tuple[str, ...]) -> list[str]:
    counts = [(name, len(list(same))) for name, same in groupby(names)]
    return [f"{count} x {name}" if count > 1 else name for name, count in counts]


def test_gap_sentence_names_the_kernels(report) -> None:
    done = run(report("llama-1b-aten"), "-r", "taxbreak_gap_sum")
    text = " ".join(done.stdout.split())
    result = with_tables(find_report("llama-1b-aten"))
    for row in result.details.gap_summary or ():
        assert f"{100 * row['share']:.1f} % of the device's idle time" in text
        assert f"is {row['instances']:,} gaps of" in text
        assert row["kernel"] in text
        assert f"`{row['state']}`" in text


def test_gaps_in_markdown_begin_with_the_sentence(report) -> None:
    text = run(report("vllm-sampled"), "-r", "taxbreak_gap_sum", "-f", "markdown").stdout
    sentences = [line for line in text.splitlines() if line.startswith("- ")]
    result = with_tables(find_report("vllm-sampled"))
    assert len(sentences) == len(result.details.gap_summary or ()) == 2
    for line, row in zip(sentences, result.details.gap_summary or (), strict=True):
        assert line.startswith(f"- {row['phase']}: {100 * row['share']:.1f} % of the device's idle time")
        assert f" while the host is in `{row['state']}`, " in line
    ids = {str(value) for entry in result.entries for value in (entry.process, entry.thread) if value is not None}
    cells = [line.split(" | ")[4:6] for line in text.splitlines() if line.startswith("| `")]
    assert {cell for pair in cells for cell in pair} == ids


@pytest.mark.parametrize(("columns", "titles"), [(80, ["State", "Before"]), (120, ["State", "Range", "Before"])])
def test_gaps_on_a_terminal_show_the_end_of_the_range(report, columns: int, titles: list[str]) -> None:
    shown = on_a_terminal(columns, str(report("llama-1b-aten")), "-r", "taxbreak_gap_sum", "--top", "20")
    lines = shown.splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("Phase "))
    assert lines[head].split()[-len(titles) :] == titles
    assert all(len(line) <= columns for line in lines)
    rows = lines[head + 1 : head + 21]
    if "Range" in titles:
        at = lines[head].index("Range")
        assert any(row[at:].startswith("\N{HORIZONTAL ELLIPSIS}") and "aten::mm " in row for row in rows)


def on_a_terminal(columns: int, *arguments: str) -> str:
    """Return what the program writes on a terminal of so many columns."""
    controller, terminal = pty.openpty()
    # Without LINES, rich takes a dumb terminal to be 80 columns wide.
    size = {"COLUMNS": str(columns), "LINES": "50"}
    environment = os.environ | size | {"NO_COLOR": "1", "TERM": "dumb"}
    process = subprocess.Popen([*COMMAND, *arguments], stdout=terminal, stderr=subprocess.DEVNULL, env=environment)
    os.close(terminal)
    written = b""
    try:
        while chunk := os.read(controller, 65536):
            written += chunk
    except OSError:
        pass  # Linux ends the reading side of a terminal with EIO
    os.close(controller)
    assert process.wait(60) == 0
    return written.decode().replace("\r\n", "\n")


def test_tables_that_nobody_asked_for_say_so(analysed) -> None:
    from taxbreak_nsys.errors import TaxbreakError

    with pytest.raises(TaxbreakError, match=r"analysed without the table 'gaps'"):
        result_table(analysed("llama-1b"), "taxbreak_gap_sum")


def test_own_classes_in_the_table(report, tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text('[[class]]\nname = "kv_cache"\nkernels = ["reshape_and_cache*"]\n')
    done = run(report("vllm-eager"), "-r", "taxbreak_class_sum", "-f", "csv", "--kernel-classes", own)
    assert done.returncode == 0
    assert '"kv_cache"' in done.stdout
    missing = run(report("vllm-eager"), "-r", "taxbreak_class_sum", "--kernel-classes", tmp_path / "none.toml")
    assert missing.returncode == 2
    assert "none.toml: cannot be read" in missing.stderr
