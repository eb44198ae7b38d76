"""`capture`: the right options for every evidence and every nsys, and what it does when something fails."""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from taxbreak_nsys import TaxbreakError
from taxbreak_nsys.capture.engine_presets import ENGINE_PRESETS
from taxbreak_nsys.capture.nsys_command import EVIDENCES
from taxbreak_nsys.cli.all_commands import app
from taxbreak_nsys.model.choices import CaptureEngine
from taxbreak_nsys.nsys.nsys_program import Nsys
from taxbreak_nsys.phases.engine_marks import load_engines
from tests.support.fake_nsys import REACHES_RANGE, read_options
from tests.support.real_nsys import need_nsys
from tests.support.report_builder import build
from tests.support.reports import ROOT, SAMPLES

LISTS = ROOT / "tests" / "support" / "nsys_options"
VERSIONS = ("2022.4", "2023.4", "2026")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put an nsys with the options of a version on PATH."""

    def put(version: str, export: Path = SAMPLES / "llama-1b.sqlite") -> None:
        program = tmp_path / "bin" / "nsys"
        program.parent.mkdir(exist_ok=True)
        stand_in = ROOT / "tests" / "support" / "fake_nsys.py"
        parts = [sys.executable, stand_in, LISTS / f"{version}.txt", export]
        program.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, parts))} "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")
        monkeypatch.chdir(tmp_path)

    return put


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["capture", *arguments])


def dry_run(*arguments: str) -> tuple[dict[str, str], list[str], str]:
    """Return the options of the printed command, the program's part of it, and the notes."""
    done = run("--dry-run", *arguments)
    assert done.exit_code == 0, done.output
    words = shlex.split(done.stdout)
    assert words[:2] == ["nsys", "profile"]
    options = [word for word in words[2:] if word.startswith("--")]
    return dict(o.split("=", 1) for o in options), words[2 + len(options) :], done.stderr


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("evidence", "range_"),
    [*((evidence, None) for evidence in EVIDENCES), ("light", "cudaProfilerApi"), ("ranges", "nvtx:decode@*")],
)
def test_only_options_that_the_version_has(install, version: str, evidence: str, range_: str | None) -> None:
    install(version)
    chosen = ["-c", range_] if range_ else []
    options, program, _ = dry_run("--evidence", evidence, *chosen, "--", "python", "app.py", "-o", "x")
    _, known = read_options(LISTS / f"{version}.txt")
    assert set(options) <= set(known)
    assert set(options["--trace"].split(",")) <= set(known["--trace"])
    assert {"cuda", "nvtx"} <= set(options["--trace"].split(","))
    assert options["--cuda-graph-trace"] in known["--cuda-graph-trace"]
    assert program == ["python", "app.py", "-o", "x"]


def test_what_each_evidence_needs_is_there(install) -> None:
    install("2023.4")
    ranges, _, notes = dry_run("--evidence", "ranges", "--", "true")
    assert ranges["--env-var"] == "CUBLAS_NVTX_LEVEL=2,CUBLASLT_NVTX_LEVEL=2"
    assert "cublas-verbose" in ranges["--trace"].split(",")
    assert (ranges["--sample"], ranges["--cuda-graph-trace"]) == ("none", "node")
    assert notes == ""
    samples, _, _ = dry_run("--evidence", "samples", "--", "true")
    assert samples["--sampling-period"] == "125000"
    assert (samples["--sample"], samples["--backtrace"]) == ("process-tree", "fp")
    chains, _, _ = dry_run("--evidence", "launch-chains", "--", "true")
    assert chains["--cudabacktrace"] == "kernel:0"
    assert chains["--sample"] == "process-tree"
    light, _, _ = dry_run("--evidence", "light", "--", "true")
    assert light["--trace"] == "cuda,nvtx"
    assert "--env-var" not in light


def test_operator_ranges_are_switched_on_where_nsys_can(install) -> None:
    install("2026")
    options, _, notes = dry_run("--evidence", "operators", "--", "true")
    assert options["--pytorch"] == "autograd-nvtx"
    assert notes == ""
    for version in ("2022.4", "2023.4"):
        install(version)
        options, _, notes = dry_run("--evidence", "operators", "--", "true")
        assert "--pytorch" not in options
        assert "emit_nvtx()" in notes
        assert version in notes


def test_whole_graphs_only_where_the_export_has_a_row_for_them(install) -> None:
    for version, mode in (("2022.4", "node"), ("2023.4", "node"), ("2026", "graph")):
        install(version)
        assert dry_run("--evidence", "light", "--", "true")[0]["--cuda-graph-trace"] == mode
        assert dry_run("--evidence", "ranges", "--", "true")[0]["--cuda-graph-trace"] == "node"


def test_what_a_version_lacks_is_left_out_and_named(install, tmp_path: Path) -> None:
    lines = (LISTS / "2022.4.txt").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("--cuda-graph-trace", "--capture-range-end"))]
    (tmp_path / "older.txt").write_text("\n".join(kept).replace(" cublas-verbose", "").replace(" osrt", ""))
    install("2022.4")
    program = tmp_path / "bin" / "nsys"
    program.write_text(program.read_text().replace(str(LISTS / "2022.4.txt"), str(tmp_path / "older.txt")))
    options, _, notes = dry_run("-c", "cudaProfilerApi", "--", "true")
    assert options["--trace"] == "cuda,nvtx,cublas,cudnn"
    assert "--cuda-graph-trace" not in options
    for name in ("--cuda-graph-trace", "--capture-range-end", "osrt"):
        assert name in notes


def test_capture_range_by_nvtx_sees_plain_strings(install) -> None:
    install("2023.4")
    options, _, _ = dry_run("-c", "nvtx:decode@gen", "--", "true")
    assert options["--capture-range"] == "nvtx"
    assert options["--nvtx-capture"] == "decode@gen"
    assert options["--capture-range-end"] == "stop"
    assert "NSYS_NVTX_PROFILER_REGISTER_ONLY=0" in options["--env-var"]


def test_further_options_come_last(install) -> None:
    install("2023.4")
    done = run("--dry-run", "--nsys=--cuda-graph-trace=graph", "--nsys=--wait=all", "--", "app", "--trace=x")
    assert shlex.split(done.stdout)[-4:] == ["--cuda-graph-trace=graph", "--wait=all", "app", "--trace=x"]


def test_captures_exports_and_analyses(install, tmp_path: Path) -> None:
    install("2023.4")
    done = run("-o", "my.run", "--", sys.executable, "-c", "pass")
    assert done.exit_code == 0, done.output
    assert "HDBI 0.059" in done.stdout
    assert (tmp_path / "my.run.nsys-rep").read_bytes() == b"a report"
    assert (tmp_path / "my.run.sqlite").read_bytes() == (SAMPLES / "llama-1b.sqlite").read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {"bin", "my.run.nsys-rep", "my.run.sqlite"}
    again = run("-o", "my.run", "--", "true")
    assert "--force-overwrite" in str(again.exception)
    assert run("-o", "my.run", "--force-overwrite", "--phase", "step=decode", "--", "true").exit_code == 0


def test_status_of_the_program_is_passed_on(install, tmp_path: Path) -> None:
    install("2023.4")
    done = run("--", sys.executable, "-c", "raise SystemExit(5)")
    assert done.exit_code == 5
    assert "status 5" in done.stderr
    assert "HDBI" in done.stdout


def test_no_report_is_an_error_that_says_why(install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("2023.4")
    done = run("-c", "cudaProfilerApi", "--", "true")
    assert isinstance(done.exception, TaxbreakError)
    assert "never reached the capture range" in str(done.exception)
    monkeypatch.setenv(REACHES_RANGE, "1")
    assert run("-c", "cudaProfilerApi", "-o", "reached", "--", "true").exit_code == 0
    (tmp_path / "reached.sqlite").unlink()
    done = run("--nsys=--no-such-option=1", "--", "true")
    assert "ended with status 1" in str(done.exception)
    assert not list(tmp_path.glob("*.sqlite"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-c", "nvtx", "--", "true"], "nvtx:RANGE"),
        (["-o", "run%p", "--", "true"], "plain name"),
        (["-o", "missing/run", "--", "true"], "does not exist"),
    ],
)
def test_wrong_use_is_one_line(install, arguments: list[str], message: str) -> None:
    install("2023.4")
    done = run(*arguments)
    assert isinstance(done.exception, TaxbreakError)
    assert message in str(done.exception)


def test_without_nsys_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run("--", "true")
    assert isinstance(done.exception, TaxbreakError)
    assert "nsys is not on PATH; install" in str(done.exception)


def test_option_list_of_2023_4_is_that_of_the_real_one() -> None:
    nsys = need_nsys()
    if nsys.version is None or nsys.version[:2] != (2023, 4):
        pytest.skip(f"nsys here is {nsys.release}")
    facts, options = read_options(LISTS / "2023.4.txt")
    assert nsys.profile_options == set(options)
    assert nsys.option_values("--trace") == set(options["--trace"])
    assert nsys.commands == set(facts["commands"].split())


EXPECTED = {
    "ranges": {"CAPTURE_EVENT_TYPE": {"NvtxEvents", "OSRuntime"}, "OS_RUNTIME_OPTIONS:DURATION_THRESHOLD_NS": {"1000"}},
    "samples": {"LINUX_PERF_OPTIONS:SAMPLING_PERIOD": {"125000"}, "LINUX_PERF_OPTIONS:SAMPLES_PER_BACKTRACE": {"1"}},
    "operators": {"CAPTURE_EVENT_TYPE": {"NvtxEvents", "OSRuntime"}},
    "launch-chains": {
        "PROCESS_0:CUDA_BACKTRACE_OPTIONS:COLLECT_KERNEL_BACKTRACES": {"true"},
        "PROCESS_0:CUDA_BACKTRACE_OPTIONS:KERNEL_BACKTRACES_THRESHOLD_NS": {"0"},
    },
    "light": {"CAPTURE_EVENT_TYPE": {"NvtxEvents"}},
}


@pytest.mark.parametrize("evidence", list(EVIDENCES))
def test_a_real_nsys_does_what_was_asked(evidence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nsys = need_nsys()
    if nsys.version is None or nsys.version[:2] != (2023, 4):
        pytest.skip(f"what is checked is how nsys 2023.4 describes its capture; here is {nsys.release}")
    monkeypatch.chdir(tmp_path)
    # no GPU is needed to see whether nsys took the options; without CUDA rows the analysis refuses the report
    program = "import json, os; json.dump(dict(os.environ), open('environment.json', 'w'))"
    done = run("--evidence", evidence, "-o", "rep", "--", sys.executable, "-c", program)
    if not (tmp_path / "rep.sqlite").exists():
        pytest.skip(f"nsys cannot capture here: {done.exception}")
    assert "the program made no CUDA calls" in str(done.exception)
    facts: dict[str, set[str]] = {}
    with sqlite3.connect(f"file:{tmp_path / 'rep.sqlite'}?mode=ro", uri=True) as database:
        for name, value in database.execute("SELECT name, value FROM META_DATA_CAPTURE"):
            facts.setdefault(name, set()).add(value)
    expected = EXPECTED[evidence] | {"PROCESS_0:CUDA_GRAPH_TRACE_OPTIONS:MODE": {"Node"}}
    assert {name: facts.get(name, set()) & values for name, values in expected.items()} == expected
    environment = json.loads((tmp_path / "environment.json").read_text())
    levels = {name: environment.get(name) for name in ("CUBLAS_NVTX_LEVEL", "CUBLASLT_NVTX_LEVEL")}
    assert set(levels.values()) == ({"2"} if evidence == "ranges" else {None})
    sampled = "LINUX_PERF_OPTIONS:COLLECT_IP_BACKTRACE_SAMPLES"
    assert facts.get(sampled, {"false"}) == ({"true"} if evidence in ("samples", "launch-chains") else {"false"})
    assert ("OSRuntime" in facts["CAPTURE_EVENT_TYPE"]) == (evidence != "light")


def test_help_that_cannot_be_read_leaves_the_options_as_wished(tmp_path: Path) -> None:
    from taxbreak_nsys.capture.nsys_command import plan

    silent = tmp_path / "nsys"
    silent.write_text("#!/bin/sh\n")
    silent.chmod(0o755)
    made = plan(Nsys(silent), "operators", Path("rep"), ["true"])
    assert "--pytorch=autograd-nvtx" in made.command
    assert any("cannot be read" in note for note in made.notes)


@pytest.mark.parametrize("engine", list(CaptureEngine))
@pytest.mark.parametrize("version", VERSIONS)
def test_engines_have_presets(install, engine: CaptureEngine, version: str) -> None:
    install(version)
    options, _, _ = dry_run("--engine", engine, "--evidence", "light", "--", "serve")
    _, known = read_options(LISTS / f"{version}.txt")
    assert set(options) <= set(known)
    assert options["--cuda-graph-trace"] == "node"
    variables = dict(pair.split("=") for pair in options.get("--env-var", "").split(",") if pair)
    assert variables == ENGINE_PRESETS[engine].environment
    if "--trace-fork-before-exec" in known and engine != CaptureEngine.XLA:
        assert options["--trace-fork-before-exec"] == "true"


def test_presets_are_of_engines_whose_marks_are_known() -> None:
    assert set(ENGINE_PRESETS) == set(CaptureEngine) <= {engine.name for engine in load_engines()}


def test_a_capture_without_cuda_names_what_to_change(install, tmp_path: Path) -> None:
    export = build(tmp_path / "export.sqlite", steps=["decode_0"])
    with sqlite3.connect(export) as database:
        database.execute("DROP TABLE CUPTI_ACTIVITY_KIND_RUNTIME")
    database.close()
    install("2023.4", export)
    message = str(run("-o", "a", "--", "true").exception)
    assert "made no CUDA calls, or its children were not traced: add --nsys=--trace-fork-before-exec=true" in message
    assert "nsys profile -t" not in message, "the options that capture has set are no advice"
    message = str(run("-o", "b", "--engine", "vllm", "--", "true").exception)
    assert "the program and its children made no CUDA calls" in message
    assert "add --nsys" not in message
