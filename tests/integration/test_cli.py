"""The installed program: what it prints, writes and refuses."""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from taxbreak_nsys import analyze
from taxbreak_nsys.output.result_tables import REPORTS
from taxbreak_nsys.output.step_lines import shown_entries
from taxbreak_nsys.read.nsys_export import export_to, is_arrow_folder

PROGRAM = Path(sys.executable).with_name("taxbreak-nsys")


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROGRAM), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "80"} | environment,
        check=False,
    )


def refused(*arguments: object, **environment: str) -> str:
    """Run what must fail: one line on stderr, exit code 2; returns the line."""
    done = run(*arguments, **environment)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_table_holds_at_80_columns_without_colour(any_report: Path) -> None:
    done = run(any_report)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    result = analyze(any_report)
    shown = shown_entries(result, ranks=False)
    for entry in shown:
        assert f"{entry.phase} (" in done.stdout
        if entry.taxbreak.hdbi is not None:
            assert f"HDBI {entry.taxbreak.hdbi:.3f}" in done.stdout
    assert done.stdout.count("erdict: ") == len(shown)
    assert done.stdout.count("Warning:") == done.stdout.count("Remedy:") == len(result.report.warnings)


@pytest.mark.parametrize("name", ["vllm-graph", "vllm-tp2"])
def test_tables_of_engines_cut_no_number_at_80_columns(report, name: str) -> None:
    shown = run(report(name), "--ranks").stdout
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "…" not in shown
    assert shown.count("Between") == sum(entry.between_ns is not None for entry in analyze(report(name)).entries)
    assert "rank process" in shown or name == "vllm-graph"


def test_json_is_one_document_with_a_list_however_many_reports_there_are(report) -> None:
    paths = [report("llama-1b"), report("null-kernel")]
    single, both = (json.loads(run(*chosen, "-f", "json").stdout) for chosen in (paths[:1], paths))
    for document, expected in ((single, paths[:1]), (both, paths)):
        assert list(document) == ["schema", "tool_version", "reports"]
        assert document["schema"] == "taxbreak/2"
        assert [one["report"]["path"] for one in document["reports"]] == [str(path) for path in expected]
    assert single["reports"][0] == both["reports"][0]
    head = {"schema": single["schema"], "tool_version": single["tool_version"]}
    assert head | single["reports"][0] == analyze(paths[0]).to_dict()


def test_json_lines_are_the_objects_of_the_api(report) -> None:
    paths = [report("llama-1b"), report("null-kernel")]
    lines = run(*paths, "-f", "jsonl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [json.loads(analyze(path).to_json()) for path in paths]
    assert run(paths[0], "-f", "jsonl").stdout.splitlines() == lines[:1]


def test_rows_of_a_listing_are_json_under_its_name(report) -> None:
    path = report("llama-1b")
    done = run(path, "-r", "taxbreak_kern_sum", "-r", "taxbreak_api_sum", "--top", 2, "-f", "json")
    (one,) = json.loads(done.stdout)["reports"]
    assert list(one) == ["report", "taxbreak_kern_sum", "taxbreak_api_sum"]
    result = analyze(path)
    for row, known in zip(one["taxbreak_kern_sum"], result.kernel_rows[:2], strict=True):
        # the names of the default report's `kernels`, not the titles of the table
        assert {key: row[key] for key in known if key != "device_share"} == {
            key: value for key, value in known.items() if key != "device_share"
        }
    rows = json.loads(run(path, "-r", "taxbreak_trace", "-f", "jsonl").stdout)["taxbreak_trace"]
    assert len(rows) == len(analyze(path, intervals=True).intervals)
    assert list(rows[0])[:7] == ["start_ns", "duration_ns", "state", "phase", "instance", "process", "thread"]


def test_rows_are_sorted_and_cut(report) -> None:
    path = report("llama-1b")
    rows = list(csv.DictReader(io.StringIO(run(path, "-r", "taxbreak_kern_sum", "-f", "csv").stdout)))
    chosen = run(path, "-r", "taxbreak_kern_sum", "-f", "csv", "--sort", "delta_ft", "--top", 5).stdout
    by_column = sorted((int(row["delta_ft (ns)"]) for row in rows if row["delta_ft (ns)"]), reverse=True)
    assert [int(row["delta_ft (ns)"]) for row in csv.DictReader(io.StringIO(chosen))] == by_column[:5]
    assert "nearest columns are: Instances" in refused(path, "-r", "taxbreak_kern_sum", "--sort", "instanes")
    assert "name one with -r" in refused(path, "--top", 5)
    assert f"more rows; --top {len(rows)} shows" in run(path, "-r", "taxbreak_kern_sum").stdout
    assert "more rows" not in run(path, "-r", "taxbreak_kern_sum", "--top", 2).stdout


def test_names_of_kernels_are_whole_in_a_pipe(report) -> None:
    path = report("llama-1b")
    longest = max((row["name"] for row in analyze(path).kernel_rows), key=len)
    assert len(longest) > 120
    assert longest in run(path, "-r", "taxbreak_kern_sum", "--top", 1000).stdout


@pytest.mark.parametrize("name", list(REPORTS))
def test_every_report_in_every_format(report, tmp_path: Path, name: str) -> None:
    # the one has operator ranges, the other samples
    path = report(
        "inject" if name in ("taxbreak_sample_sum", "taxbreak_symbol_sum", "taxbreak_call_sum") else "llama-1b-aten"
    )
    assert run(path, "-r", name).returncode == 0
    rows = list(csv.DictReader(io.StringIO(run(path, "-r", name, "-f", "csv").stdout)))
    target = tmp_path / "out.parquet"
    assert run(path, "-r", name, "-f", "parquet", "-o", target).returncode == 0
    table = pq.read_table(target)
    assert rows
    assert len(table) == len(rows)
    assert table.column_names == list(rows[0])
    for title in table.column_names:
        if title.endswith("(ns)"):
            assert str(table.schema.field(title).type) == "int64"


def test_trace_rows_add_up_to_the_states(report, tmp_path: Path) -> None:
    path, target = report("inject"), tmp_path / "trace.parquet"
    run(path, "-r", "taxbreak_trace", "-f", "parquet", "-o", target)
    frame = pq.read_table(target).to_pandas()
    sums = frame.groupby(["Phase", "State"])[["Duration (ns)", "Exposed (ns)"]].sum()
    for entry in analyze(path).entries:
        for state, ns in entry.states_ns.items():
            if ns:
                assert sums.loc[(entry.phase, state), "Duration (ns)"] == ns
                assert sums.loc[(entry.phase, state), "Exposed (ns)"] == entry.exposed_ns[state]


def test_several_reports_of_one_run_go_to_named_files(report, tmp_path: Path) -> None:
    done = run(
        report("llama-1b"), "-r", "taxbreak_sum", "-r", "taxbreak_api_sum", "-f", "csv", "-o", tmp_path / "x.csv"
    )
    assert done.returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"x_taxbreak_sum.csv", "x_taxbreak_api_sum.csv"}


def test_existing_file_is_kept_unless_forced(report, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("mine")
    assert "--force-overwrite" in refused(report("llama-1b"), "-f", "json", "-o", target)
    assert target.read_text() == "mine"
    assert run(report("llama-1b"), "-f", "json", "-o", target, "--force-overwrite").returncode == 0
    assert json.loads(target.read_text())["reports"][0]["phases"]
    assert list(tmp_path.iterdir()) == [target]


def test_time_unit_scales_and_renames(report) -> None:
    ns = next(csv.DictReader(io.StringIO(run(report("llama-1b"), "-f", "csv").stdout)))
    ms = next(csv.DictReader(io.StringIO(run(report("llama-1b"), "-f", "csv", "--timeunit", "msec").stdout)))
    assert float(ms["Wall (ms)"]) == int(ns["Wall (ns)"]) / 1e6


def test_quiet_and_notes(report, tmp_path: Path) -> None:
    assert "wrote" in run(report("llama-1b"), "-f", "csv", "-o", tmp_path / "a.csv").stderr
    assert run(report("llama-1b"), "-f", "csv", "-o", tmp_path / "b.csv", "-q").stderr == ""


def test_refuses_what_is_no_report(tmp_path: Path, report) -> None:
    assert "no such file" in refused(tmp_path / "none.sqlite")
    text = tmp_path / "text.sqlite"
    text.write_text("hello")
    assert "not an SQLite file" in refused(text)
    empty = tmp_path / "empty.sqlite"
    empty.touch()
    assert "empty" in refused(empty)
    assert "folder" in refused(tmp_path)
    cut = tmp_path / "cut.sqlite"
    cut.write_bytes(report("llama-1b").read_bytes()[:200_000])
    assert "cut short (200000 of 1040384 bytes" in refused(cut)


def changed(source: Path, target: Path, *statements: str) -> Path:
    target.write_bytes(source.read_bytes())
    with sqlite3.connect(target) as database:
        for statement in statements:
            database.execute(statement)
    return target


def test_refuses_reports_without_what_is_needed(tmp_path: Path, report) -> None:
    source = report("null-kernel")
    no_api = changed(source, tmp_path / "1.sqlite", "DROP TABLE CUPTI_ACTIVITY_KIND_RUNTIME")
    assert "no CUDA API calls" in refused(no_api)
    no_kernels = changed(source, tmp_path / "2.sqlite", "DELETE FROM CUPTI_ACTIVITY_KIND_KERNEL")
    assert "no CUDA launch" in refused(no_kernels)
    no_column = changed(
        source, tmp_path / "3.sqlite", "ALTER TABLE CUPTI_ACTIVITY_KIND_RUNTIME RENAME COLUMN globalTid TO x"
    )
    assert "globalTid" in refused(no_column)
    other = tmp_path / "4.sqlite"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE cats(name)")
    assert "not an Nsight Systems export" in refused(other)


def test_degrades_without_enriching_tables(tmp_path: Path, report) -> None:
    bare = changed(
        report("llama-1b"), tmp_path / "bare.sqlite",
        "DROP TABLE NVTX_EVENTS", "DROP TABLE OSRT_API", "DROP TABLE PROFILER_OVERHEAD",
    )  # fmt: skip
    # nothing is marked any more: the steps are found in the launches
    entry = analyze(bare).phase("decode")
    assert entry.instances == 3
    assert entry.taxbreak.evidence == "none"
    assert entry.taxbreak.delta_ct_ns is None
    assert entry.taxbreak.hdbi is not None
    codes = {warning.code for warning in analyze(bare).report.warnings}
    assert {"phases_found", "no_library_evidence"} <= codes
    assert analyze(bare, phase_source="all").phase("all").taxbreak.hdbi is not None


def test_refuses_bad_choices(report) -> None:
    path = report("llama-1b")
    assert "LABEL=REGEX" in refused(path, "--phase", "decode")
    assert "not a regular expression" in refused(path, "--phase", "x=(")
    assert "no NVTX range" in refused(path, "--phase", "x=nothing-like-it")
    assert "not one of 'best', 'marks', 'auto', 'all'" in refused(path, "--phases", "guess")
    assert "leave out --phases marks" in refused(path, "--ignore-marks", "--phases", "marks")
    assert "leave out --phases" in refused(path, "--phase", "x=y", "--ignore-marks")
    assert "not one of vllm" in refused(path, "--engine", "nonesuch")
    assert "no NVTX range" in refused(path, "--engine", "vllm")
    assert "needs the marks" in refused(path, "--engine", "vllm", "--phases", "auto")
    assert "cannot be read" in refused(path, "--phase-rules", "/nonexistent.toml")
    assert "--by batch" in refused(path, "--by", "batch")
    assert "not one of 'batch'" in refused(path, "--by", "size")
    assert "not a time" in refused(path, "--start", "soon")
    assert "not before" in refused(path, "--start", "2s", "--end", "1s")
    assert "not one of 'taxbreak_sum', " in refused(path, "-r", "taxbreak_nothing")
    assert "--format" in refused(path, "-f", "xml")
    assert "needs -o" in refused(path, "-f", "parquet")
    assert "exclude each other" in refused(path, "--t-sys", "4us", "--null-report", path)


def test_one_bad_report_does_not_cost_the_others(report, tmp_path: Path) -> None:
    done = run(tmp_path / "none.sqlite", report("llama-1b"))
    assert done.returncode == 2
    assert "no such file" in done.stderr
    assert "Verdict:" in done.stdout


def test_nsys_rep_without_nsys_says_how_to_export(tmp_path: Path) -> None:
    rep = tmp_path / "run.nsys-rep"
    rep.write_bytes(b"x")
    line = refused(rep, PATH="/nonexistent", TAXBREAK_CACHE_DIR=str(tmp_path / "cache"))
    assert "nsys export -t sqlite run.nsys-rep" in line


def test_nsys_rep_is_exported_into_the_cache_once(tmp_path: Path, report) -> None:
    # a stand-in for nsys that "exports" a sample: what is tested is where the file goes, and how often
    tools = tmp_path / "bin"
    tools.mkdir()
    nsys = tools / "nsys"
    nsys.write_text(
        "#!/bin/sh\nfor a; do case $a in --output=*) echo ran >> $LOG; cp $SAMPLE ${a#--output=};; esac; done\n"
    )
    nsys.chmod(0o755)
    folder = tmp_path / "reports"
    folder.mkdir()
    rep = folder / "run.nsys-rep"
    rep.write_bytes(b"not parsed by the stand-in")
    environment = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "LOG": str(tmp_path / "log"),
        "SAMPLE": str(report("llama-1b")),
        "TAXBREAK_CACHE_DIR": str(tmp_path / "cache"),
    }
    for _ in range(2):
        done = run(rep, "-f", "json", **environment)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["reports"][0]["report"]["path"] == str(rep)
    assert (tmp_path / "log").read_text() == "ran\n"
    assert list(folder.iterdir()) == [rep]
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_two_processes_may_export_one_nsys_rep_at_once(tmp_path: Path) -> None:
    # the stand-in for nsys lets another process finish the same export just before its own is complete
    target, nsys = tmp_path / "key.arrowdir", tmp_path / "nsys"
    nsys.write_text(
        "#!/bin/sh\nfor a; do case $a in --output=*)\n"
        f"  for d in ${{a#--output=}} {target}; do mkdir $d; echo x > $d/StringIds.arrow; done;; esac; done\n"
    )
    nsys.chmod(0o755)
    rep = tmp_path / "run.nsys-rep"
    rep.write_bytes(b"not parsed by the stand-in")
    export_to(str(nsys), rep, target)
    assert is_arrow_folder(target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key.arrowdir", "nsys", "run.nsys-rep"]


def test_help_and_version() -> None:
    assert "analyze" in run("--help").stdout
    assert run("--version").stdout.startswith("taxbreak-nsys ")
    assert "REPORT" in run("analyze", "--help").stdout


def test_every_query_runs_by_hand(report) -> None:
    """Each file in sql/ is plain SQL for a full schema: it runs in SQLite's own shell where the tables exist."""
    from taxbreak_nsys.read.schema import Layout, stand_ins
    from taxbreak_nsys.read.sql_files import data_folder

    with sqlite3.connect(f"file:{report('inject')}?mode=ro&immutable=1", uri=True) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        schema = {t: frozenset(row[1].lower() for row in database.execute(f'PRAGMA table_info("{t}")')) for t in tables}
        for statement in stand_ins(Layout(schema, {}, None, True)):
            database.execute(statement)
        # in_order_of_time.sql is put around other queries
        files = sorted(set(data_folder("sql").glob("*.sql")) - {data_folder("sql") / "in_order_of_time.sql"})
        assert files
        for file in files:
            assert file.read_text().startswith("--"), file
            # the name of a table is put in before SQLite sees the query
            query = file.read_text().rstrip().rstrip(";").replace('":table"', "CUPTI_ACTIVITY_KIND_KERNEL")
            # as in the shell, a parameter that is not set is NULL
            database.execute(query, defaultdict(lambda: None)).fetchone()


@pytest.mark.parametrize("name", ["taxbreak_op_sum", "taxbreak_sample_sum", "taxbreak_symbol_sum"])
def test_an_empty_listing_says_what_would_fill_it(report, name: str) -> None:
    shown = run(report("llama-1b"), "-r", name).stdout
    assert "no rows: the report has no" in shown
    assert "capture with" in shown
