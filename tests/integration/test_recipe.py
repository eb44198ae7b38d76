"""The nsys recipe under a real nsys: the command line's integers, in all its modes, and what it leaves out."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from taxbreak_nsys import TaxbreakError, analyze
from taxbreak_nsys.cli.all_commands import app
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.output.result_tables import result_table
from taxbreak_nsys.pipeline.analysis import Options, analyze_report
from taxbreak_nsys.recipe.detail_stats import RANK_DETAILS, RANK_TABLES
from taxbreak_nsys.recipe.multi_rank import Rank, all_table, analyze_rank, file_names, in_rank_order, rank_table
from tests.support.real_nsys import capture_without_gpu, environment, lay_out, need_nsys
from tests.support.reports import ROOT, SAMPLES

RANKS = {
    "rank0": "llama-1b",
    "rank2": "llama-1b-aten",
    "rank10": "multi",
}
RECIPES = ROOT / "recipes"


@pytest.fixture(scope="session")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .nsys-rep that a real nsys wrote; it holds no CUDA rows."""
    return capture_without_gpu(tmp_path_factory.mktemp("seed"))


@pytest.fixture
def reports(seed: Path, tmp_path: Path) -> Path:
    return lay_out(seed, {name: SAMPLES / f"{sample}.sqlite" for name, sample in RANKS.items()}, tmp_path / "in")


def run_recipe(*arguments: str | Path, recipes: Path = RECIPES, check: bool = True) -> subprocess.CompletedProcess[str]:
    nsys = need_nsys()
    if "recipe" not in nsys.commands:
        pytest.skip(f"nsys {nsys.version_text} has no recipes")
    command = ["nsys", "recipe", *map(str, arguments)]
    env = environment(NSYS_RECIPE_PATH=str(recipes), NSYS_CONCURRENT_MAX_WORKERS="2", NSYS_DASK_N_WORKERS="1")
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=check, env=env,
    )  # fmt: skip


def flat(phase: dict[str, Any]) -> dict[str, Any]:
    """A phase of the command line's JSON under the titles of the recipe's table."""
    taxbreak, launches, device = phase["taxbreak"], phase["launches"], phase["device"]
    exposed = phase["exposed_ns"] or dict.fromkeys(STATES)
    return {
        "Phase": phase["phase"],
        "PID": None if phase["process"] is None else str(phase["process"]),
        "TID": None if phase["thread"] is None else str(phase["thread"]),
        "Instances": phase["instances"],
        "Wall (ns)": phase["wall_ns"],
        "Wall Med (ns)": phase["wall_median_ns"],
        "HDBI": taxbreak["hdbi"],
        "Device Active (ns)": device["active_ns"],
        "Kernel Sum (ns)": device["kernel_sum_ns"],
        "Device Idle (ns)": device["idle_ns"],
        "delta_ft (ns)": taxbreak["delta_ft_ns"],
        "delta_ct (ns)": taxbreak["delta_ct_ns"],
        "delta_kt (ns)": taxbreak["delta_kt_ns"],
        "Launch Excess (ns)": taxbreak["launch_excess_ns"],
        "T_Orchestration (ns)": taxbreak["t_orchestration_ns"],
        "Evidence": taxbreak["evidence"],
        "Kernel Launches": launches["kernel"],
        "Graph Launches": launches["graph"],
        "Memory Launches": launches["memory"],
        "Unmeasured Graph Launches": launches["unmeasured_graph"],
        "Kernels": phase["kernels"],
        **{f"{state} (ns)": phase["states_ns"][state] for state in STATES},
        **{f"{state} Exposed (ns)": exposed[state] for state in STATES},
    }


@pytest.mark.parametrize("mode", ["none", "concurrent", "dask-futures"])
def test_recipe_gives_the_command_lines_figures(reports: Path, tmp_path: Path, mode: str) -> None:
    out = tmp_path / "out"
    run_recipe("taxbreak_layers", "--input", reports, "--output", out, "--mode", mode, "--csv")
    table = pq.read_table(out / "rank_stats.parquet")
    rows = table.to_pylist()
    for number, (name, sample) in enumerate(RANKS.items()):
        shown = CliRunner().invoke(app, [str(SAMPLES / f"{sample}.sqlite"), "-f", "json"])
        expected = [flat(phase) for phase in json.loads(shown.stdout)["reports"][0]["phases"]]
        mine = [row for row in rows if row["File"] == name]
        assert {row["Rank"] for row in mine} == {number}
        assert [{title: row[title] for title in expected[0]} for row in mine] == expected
    assert len(rows) == sum(len(analyze(SAMPLES / f"{sample}.sqlite").entries) for sample in RANKS.values())
    written = {path.name for path in out.iterdir()}
    assert written == {
        "rank_stats.parquet", "rank_stats.csv", "all_stats.parquet", "all_stats.csv", "files.parquet",
        "taxbreak_layers.ipynb", "out.nsys-analysis",
        *(f"{name}_{which}_stats.{suffix}" for name in RANK_TABLES for which in ("rank", "all")
          for suffix in ("parquet", "csv")),
    }  # fmt: skip
    analysis = json.loads((out / "out.nsys-analysis").read_text())
    assert analysis["RecipeName"] == "taxbreak_layers"
    assert analysis["Outputs"] == {"taxbreak_layers.ipynb": "Notebook"}
    assert {path.name for path in reports.iterdir()} == {f"{n}.{s}" for n in RANKS for s in ("nsys-rep", "sqlite")}


def test_tables_of_details_over_ranks(reports: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_recipe("taxbreak_layers", "--input", reports, "--output", out)
    for name, (report, keys, time) in RANK_TABLES.items():
        rows = pq.read_table(out / f"{name}_rank_stats.parquet").to_pylist()
        totals: dict[tuple[str, ...], dict[int, int]] = {}
        for number, (file, sample) in enumerate(RANKS.items()):
            result = analyze_report(SAMPLES / f"{sample}.sqlite", Options(tables=RANK_DETAILS))
            expected = result_table(result, report).to_pylist()
            mine = [row for row in rows if row["File"] == file]
            assert {row["Rank"] for row in mine} <= {number}
            assert [{title: row[title] for title in row if title not in ("File", "Rank")} for row in mine] == expected
            for row in expected:
                ranks = totals.setdefault(tuple(row[key] for key in keys), {})
                ranks[number] = ranks.get(number, 0) + row[time]
        over = pq.read_table(out / f"{name}_all_stats.parquet").to_pylist()
        assert {tuple(row[key] for key in keys) for row in over} == set(totals)
        for row in over:
            times = list(totals[tuple(row[key] for key in keys)].values())
            assert (row["Ranks"], row[time]) == (len(times), sum(times))
            assert (row["Min (ns)"], row["Max (ns)"]) == (min(times), max(times))
            assert row["Avg (ns)"] == pytest.approx(sum(times) / len(times))
        assert [row[time] for row in over] == sorted((row[time] for row in over), reverse=True)


def test_broken_ranks_are_named_and_left_out(reports: Path, seed: Path, tmp_path: Path) -> None:
    shutil.copy(seed, reports / "no_cuda.nsys-rep")
    shutil.copy(seed, reports / "torn.nsys-rep")
    (reports / "torn.sqlite").write_bytes((reports / "rank0.sqlite").read_bytes()[:50_000])
    (reports / "empty.nsys-rep").touch()
    done = run_recipe("taxbreak_layers", "--input", reports, "--output", tmp_path / "out")
    errors = [line for line in done.stdout.splitlines() if "Left out" in line]
    assert len(errors) == 3
    for name, line in zip(("empty", "no_cuda", "torn"), errors, strict=True):
        assert name in line
    assert "Traceback" not in done.stdout
    files = pq.read_table(tmp_path / "out" / "files.parquet").to_pylist()
    assert [row["Rank"] for row in files if row["Error"] is None] == [0, 1, 2]
    assert len([row for row in files if row["Error"]]) == 3
    assert len(pd.read_parquet(tmp_path / "out" / "rank_stats.parquet")["File"].unique()) == len(RANKS)


def test_nothing_is_written_where_no_rank_is_left(seed: Path, tmp_path: Path) -> None:
    done = run_recipe("taxbreak_layers", "--input", seed, "--output", tmp_path / "out", check=False)
    assert done.returncode == 1
    assert "holds no CUDA API calls" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (tmp_path / "out").exists()


def test_output_folder_is_kept_unless_forced(reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").touch()
    arguments = ("taxbreak_layers", "--input", reports / "rank0.nsys-rep", "--output", out, "--mode", "none")
    run_recipe(*arguments)
    assert [path.name for path in out.iterdir()] == ["mine"]
    run_recipe(*arguments, "--force-overwrite")
    assert (out / "rank_stats.parquet").exists()
    assert not (out / "mine").exists()


def test_options_of_the_analysis_are_taken(reports: Path, tmp_path: Path) -> None:
    run_recipe(
        "taxbreak_layers", "--input", reports / "rank0.nsys-rep", "--output", tmp_path / "out", "--mode", "none",
        "--phase", "step=^decode", "--t-sys", "5us", "--evidence", "none", "--skip", "1",
    )  # fmt: skip
    (row,) = pq.read_table(tmp_path / "out" / "rank_stats.parquet").to_pylist()
    assert row["Phase"] == "step"
    assert row["Instances"] == 2
    assert row["delta_ct (ns)"] is None
    assert row["delta_kt (ns)"] == 5000 * (row["Kernel Launches"] + row["Graph Launches"])
    bad = run_recipe("taxbreak_layers", "--input", reports, "--output", tmp_path / "x", "--t-sys", "soon", check=False)
    assert "--t-sys 'soon': not a time" in bad.stdout
    assert bad.returncode == 1


def test_diff_of_two_outputs(reports: Path, seed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # two graph reports of one workload: in the first, the graph's device time was not measured
    for name, sample in (("first", "graph-graph"), ("second", "graph-node")):
        lay_out(seed, {"rank": SAMPLES / f"{sample}.sqlite"}, tmp_path / f"{name}-in")
        run_recipe("taxbreak_layers", "--input", tmp_path / f"{name}-in", "--output", name, "--mode", "none")
    run_recipe("diff", "--input", "first", "second", "--mode", "none")
    (out,) = tmp_path.glob("*diff*")
    diff = pd.read_parquet(out / "rank_stats.parquet")
    one, two = (analyze(SAMPLES / f"graph-{mode}.sqlite") for mode in ("graph", "node"))
    for phase in ("decode_eager", "decode_graph"):
        assert diff.loc[phase, "Wall (ns)"] == one.phase(phase).wall_ns - two.phase(phase).wall_ns
    assert pd.isna(diff.loc["decode_graph", "HDBI"])
    overall = pd.read_parquet(out / "all_stats.parquet")
    expected = one.phase("decode_eager").taxbreak.hdbi - two.phase("decode_eager").taxbreak.hdbi
    assert overall.loc["decode_eager: HDBI", "Avg"] == pytest.approx(expected)


def test_notebook_runs_and_draws_its_charts(reports: Path, seed: Path, tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    preprocessors = pytest.importorskip("nbconvert.preprocessors")
    shutil.copy(seed, reports / "no_cuda.nsys-rep")
    shutil.copy(SAMPLES / "graph-graph.sqlite", reports / "rank2.sqlite")
    out = tmp_path / "out"
    run_recipe("taxbreak_layers", "--input", reports, "--output", out)
    notebook = nbformat.read(out / "taxbreak_layers.ipynb", as_version=4)
    preprocessors.ExecutePreprocessor(timeout=120).preprocess(notebook, {"metadata": {"path": str(out)}})
    titles = []
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        assert output["output_type"] != "error"
        assert output.get("name") != "stderr", output
        chart = output.get("data", {}).get("application/vnd.plotly.v1+json")
        if chart:
            titles.append(chart["layout"]["title"]["text"])
            assert all(len(trace["x"]) for trace in chart["data"])
    assert [title.split(" (")[0] for title in titles] == [
        "Layers by phase", "HDBI by rank", "Exposed time by phase", "Exposed time by rank",
    ]  # fmt: skip


def rank_of(sample: str, path: str) -> Rank:
    rank = analyze_rank(str(SAMPLES / f"{sample}.sqlite"), Options())
    return Rank(path, rank.table, rank.error)


def test_aggregates_over_ranks() -> None:
    samples = ("llama-1b", "llama-1b-aten", "multi")
    rows = all_table(rank_table([rank_of(s, f"r{i}") for i, s in enumerate(samples)])).to_pylist()
    entries = [analyze(SAMPLES / f"{sample}.sqlite").phase("decode") for sample in samples]
    by_metric = {row["Metric"]: row for row in rows if row["Phase"] == "decode"}
    walls = [entry.wall_ns for entry in entries]
    wall = by_metric["Wall (ns)"]
    assert wall["Ranks"] == 3
    assert wall["Avg"] == pytest.approx(statistics.mean(walls))
    assert wall["StdDev"] == pytest.approx(statistics.stdev(walls))
    assert (wall["Min"], wall["Max"]) == (min(walls), max(walls))
    assert wall["Min File"] == f"r{walls.index(min(walls))}"
    assert wall["Max File"] == f"r{walls.index(max(walls))}"
    # multi has no evidence for the library layer: its delta_ft holds both, and is no part of this mean
    split = [entry.taxbreak for entry in entries if entry.taxbreak.delta_ct_ns is not None]
    assert len(split) == 2
    for metric, values in (
        ("delta_ct (ns)", [layers.delta_ct_ns for layers in split]),
        ("delta_ft (ns)", [layers.delta_ft_ns for layers in split]),
    ):
        assert by_metric[metric]["Ranks"] == 2
        assert by_metric[metric]["Avg"] == pytest.approx(statistics.mean(values))


def test_one_rank_has_no_deviation() -> None:
    rows = all_table(rank_table([rank_of("llama-1b", "r")])).to_pylist()
    assert {row["StdDev"] for row in rows} == {None}


def test_names_tell_ranks_apart() -> None:
    assert file_names(["/a/rank0.nsys-rep", "/a/rank1.nsys-rep"]) == ["rank0", "rank1"]
    assert file_names(["/run/0/rep.nsys-rep", "/run/1/rep.nsys-rep"]) == ["0/rep", "1/rep"]
    assert len(set(file_names(["/a/x.nsys-rep", "/a/x.qdrep"]))) == 2
    ranks = [Rank(f"r{n}.nsys-rep", None, "broken") for n in (10, 2, 1)]
    assert [rank.path for rank in in_rank_order(ranks)] == ["r1.nsys-rep", "r2.nsys-rep", "r10.nsys-rep"]
    with pytest.raises(TaxbreakError, match="none of the 3 reports"):
        rank_table(ranks)


def test_export_beside_the_report_is_used_only_if_it_is_not_older(tmp_path: Path) -> None:
    report, export = tmp_path / "rep.nsys-rep", tmp_path / "rep.sqlite"
    report.write_bytes(b"not a report")
    shutil.copy(SAMPLES / "llama-1b.sqlite", export)
    stamp = report.stat().st_mtime
    os.utime(export, (stamp + 1, stamp + 1))
    # the verdict's command names the file that was asked for
    measured, exported = (
        [(entry.phase, entry.states_ns, entry.taxbreak) for entry in analyze(path).entries] for path in (report, export)
    )
    assert measured == exported
    os.utime(export, (stamp - 1, stamp - 1))
    with pytest.raises(TaxbreakError, match="nsys"):
        analyze(report)


def test_install_links_and_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, folder = CliRunner(), tmp_path / "my recipes"
    shown = run.invoke(app, ["recipe", "install", str(folder)])
    assert shown.exit_code == 0
    assert shown.stdout == f"export NSYS_RECIPE_PATH='{folder}'\n"
    assert (folder / "taxbreak_layers").resolve() == RECIPES / "taxbreak_layers"
    assert run.invoke(app, ["recipe", "install", str(folder)]).exit_code == 0
    copied = run.invoke(app, ["recipe", "install", str(folder), "--copy"])
    assert isinstance(copied.exception, TaxbreakError)
    assert run.invoke(app, ["recipe", "install", str(folder), "--copy", "--force-overwrite"]).exit_code == 0
    assert not (folder / "taxbreak_layers").is_symlink()
    assert (folder / "taxbreak_layers" / "metadata.json").is_file()
    assert (RECIPES / "taxbreak_layers" / "metadata.json").is_file()
    foreign = tmp_path / "other" / "taxbreak_layers"
    foreign.mkdir(parents=True)
    refused = run.invoke(app, ["recipe", "install", str(foreign.parent), "--force-overwrite"])
    assert "not a copy of the recipe" in str(refused.exception)
    monkeypatch.setenv("NSYS_RECIPE_PATH", str(tmp_path / "set"))
    assert str(tmp_path / "set") in run.invoke(app, ["recipe", "install"]).stdout
    assert run.invoke(app, ["recipe", "path"]).stdout.strip() == str(RECIPES / "taxbreak_layers")


def test_installed_copy_runs(reports: Path, tmp_path: Path) -> None:
    folder = tmp_path / "recipes"
    assert CliRunner().invoke(app, ["recipe", "install", str(folder), "--copy"]).exit_code == 0
    run_recipe(
        "taxbreak_layers", "--input", reports / "rank0.nsys-rep", "--output", tmp_path / "out", recipes=folder,
    )  # fmt: skip
    assert (tmp_path / "out" / "taxbreak_layers.ipynb").exists()
