"""A folder of Arrow or Parquet files holds the same report as its SQLite export: each query, and the result."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from taxbreak_nsys import Result, TaxbreakError
from taxbreak_nsys.pipeline.analysis import analyze_report
from taxbreak_nsys.read.arrow_queries import ARROW_QUERIES
from taxbreak_nsys.read.database import Database, open_report
from taxbreak_nsys.read.nsys_export import export_to
from taxbreak_nsys.scrub.scrubbed_copy import write_clean
from tests.support.arrow_export import write_folder
from tests.support.program import one_line, run_program
from tests.support.real_nsys import need_nsys
from tests.support.reports import MORE

SMALL = ("api_threads", "nvtx_domains", "report_facts", "cuda_devices", "library_calls", "overheads", "diagnostics")
QUERIED = ("evidence_counts", "thread_names", "event_threads", "thread_events", "gives_away")
OTHER = (*QUERIED, "samples_by_time", "sample_frames_by_time")
OF_THREADS = ("thread_events", "os_calls", "samples", "context_switches", "samples_by_time", "sample_frames_by_time")
UNORDERED = (*SMALL, *OTHER)


def parameters_of(subject: str, threads: list[int]) -> list[dict[str, str]]:
    """Return the parameters that a query is asked with."""
    if subject.endswith("of_thread") or subject == "event_threads":
        return [{"thread": str(thread)} for thread in threads]
    if subject in OF_THREADS:
        return [{"threads": json.dumps(threads)}]
    if subject == "nvtx_ranges":
        return [{"all": every, "domains": left_out} for every in "01" for left_out in ("[]", "[1, 2]")]
    return [{}]


def rows_of(database: Database, subject: str, parameters: dict[str, str]) -> list[dict[str, Any]]:
    """Return a query's rows; in the file's order where the SQL gives them so."""
    if subject in SMALL or subject in QUERIED:
        table = database.query(subject, **parameters)
    else:
        table = pa.concat_tables(database.stream(subject, 1000, **parameters))
    rows = [dict(sorted(row.items())) for row in table.to_pylist()]
    return sorted(rows, key=str) if subject in UNORDERED else rows


def check_queries(sqlite: Path, folder: Path) -> None:
    with open_report(sqlite) as ours, open_report(folder) as theirs:
        threads = sorted(row["thread"] for row in ours.query("api_threads").to_pylist())
        for subject in (*ARROW_QUERIES, *SMALL, *OTHER):
            for parameters in parameters_of(subject, threads):
                if subject in ("report_facts", "gives_away") and "META_DATA_CAPTURE" not in theirs.schema:
                    continue  # nsys before 2024 leaves the settings out of its folders
                assert rows_of(theirs, subject, parameters) == rows_of(ours, subject, parameters), subject


def figures(result: Result) -> dict[str, Any]:
    """Return all figures of a result, without the name and the hash of its file; verdicts name it in a command."""
    data = result.to_dict()
    for entry in data["phases"]:
        entry["verdict"] = {key: value for key, value in entry["verdict"].items() if key != "command"}
    data["report"] = {key: value for key, value in data["report"].items() if key not in ("path", "fingerprint")}
    return data | {"api": result.api_rows, "samples": result.sample_rows, "symbols": result.symbol_rows}


@pytest.mark.parametrize("suffix", [".arrow", ".parquet"])
@pytest.mark.parametrize("name", ["llama-1b-aten", "gpt2-backtrace", "inject", "multi", "graph-graph", "vllm-tp2"])
def test_a_folder_holds_what_the_sqlite_file_holds(
    report: Callable[[str], Path], tmp_path: Path, name: str, suffix: str
) -> None:
    folder = write_folder(report(name), tmp_path / "export", suffix)
    check_queries(report(name), folder)
    assert figures(analyze_report(folder)) == figures(analyze_report(report(name)))
    assert figures(analyze_report(folder, window_rows=500)) == figures(analyze_report(report(name)))


def test_rows_out_of_order_are_sorted(report: Callable[[str], Path], tmp_path: Path) -> None:
    folder = write_folder(report("llama-1b"), tmp_path / "export", ".arrow")
    file = folder / "CUPTI_ACTIVITY_KIND_KERNEL.arrow"
    table = pa.ipc.open_stream(str(file)).read_all().combine_chunks()
    with pa.ipc.new_stream(str(tmp_path / "mixed"), table.schema) as writer:
        writer.write_table(table.take(pa.array(range(len(table) - 1, -1, -1))))
    (tmp_path / "mixed").replace(file)
    mixed = figures(analyze_report(folder, window_rows=500))
    assert mixed["phases"] == figures(analyze_report(report("llama-1b")))["phases"]


def test_a_damaged_folder_is_refused_with_one_line(report: Callable[[str], Path], tmp_path: Path) -> None:
    folder = write_folder(report("llama-1b"), tmp_path / "export", ".arrow")
    file = folder / "CUPTI_ACTIVITY_KIND_KERNEL.arrow"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(TaxbreakError, match="CUPTI_ACTIVITY_KIND_KERNEL is damaged"):
        analyze_report(folder)
    file.unlink()
    (folder / "CUPTI_ACTIVITY_KIND_RUNTIME.arrow").unlink()
    with pytest.raises(TaxbreakError, match="no CUDA API calls"):
        analyze_report(folder)


def test_missing_settings_are_said(report: Callable[[str], Path], tmp_path: Path) -> None:
    # as nsys 2023.4 writes its folders
    folder = write_folder(report("llama-1b"), tmp_path / "export", ".arrow")
    (folder / "META_DATA_CAPTURE.arrow").unlink()
    assert "settings_not_exported" in {warning.code for warning in analyze_report(folder).report.warnings}


def test_a_copy_is_made_from_the_sqlite_file(report: Callable[[str], Path], tmp_path: Path) -> None:
    folder = write_folder(report("llama-1b"), tmp_path / "export", ".arrow")
    with pytest.raises(TaxbreakError, match="is a folder of tables"):
        write_clean(folder, tmp_path / "copy.sqlite")


@pytest.mark.parametrize("kind", ["arrowdir", "parquetdir"])
def test_exports_of_nsys_are_the_same(tmp_path: Path, kind: str) -> None:
    nsys = need_nsys()
    captures = sorted(MORE.glob("*.nsys-rep")) if MORE else []
    if not captures:
        pytest.skip("no .nsys-rep with CUDA work; name a folder that has some in TAXBREAK_REPORTS")
    for capture in captures[:5]:
        sqlite, folder = tmp_path / f"{capture.stem}.sqlite", tmp_path / f"{capture.stem}.{kind}"
        try:
            export_to(str(nsys.program), capture, sqlite)
        except TaxbreakError:
            continue  # a newer nsys captured it
        command = [str(nsys.program), "export", f"--type={kind}", f"--output={folder}", str(capture)]
        subprocess.run(command, check=True, capture_output=True)
        check_queries(sqlite, folder)


def test_a_folder_holds_files_alone(report: Callable[[str], Path], tmp_path: Path) -> None:
    folder = write_folder(report("null-kernel"), tmp_path / "tables", ".arrow")
    odd = folder / "TARGET_INFO_ODD.arrow"
    for make in (lambda: os.mkfifo(odd), lambda: odd.symlink_to("/dev/zero"), odd.mkdir):
        make()
        line = one_line(run_program("analyze", folder, timeout=30))
        assert f"{folder}: {odd.name} in it is not a regular file" in line
        odd.rmdir() if odd.is_dir() else odd.unlink()
    odd.symlink_to("nowhere")
    assert "cannot be read" in one_line(run_program("analyze", folder))


def test_no_output_replaces_a_table_of_its_input(report: Callable[[str], Path], tmp_path: Path) -> None:
    folder = write_folder(report("null-kernel"), tmp_path / "tables", ".arrow")
    table = folder / "StringIds.arrow"
    before = table.read_bytes()
    line = one_line(run_program("analyze", folder, "-f", "json", "-o", table, "--force-overwrite"))
    assert "would be overwritten" in line
    assert table.read_bytes() == before
