"""`taxbreak-nsys whatif` as a user meets it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.support import in_process
from tests.support.simulated_program import Launch, Python, Simulation, Step, Synchronise


def run(*words: object, **where: Path) -> in_process.Done:
    return in_process.run("whatif", *words, **where)


def test_ranking_prediction_and_sweep_in_text(report) -> None:
    path = report("inject")
    ranked = run(path)
    assert ranked.returncode == 0, ranked.stderr
    assert "framework time" in ranked.stdout
    assert "unchanged, 0.0 % off the measured wall" in ranked.stdout.replace("+0.0", "0.0")
    asked = run(path, "--framework", "0.5", "--kernels", "0.8")
    assert "what if: framework x 0.5, kernels x 0.8" in asked.stdout
    drawn = run(path, "--sweep")
    assert "####" in drawn.stdout
    assert "evice-bound" in drawn.stdout
    assert max(map(len, (ranked.stdout + asked.stdout + drawn.stdout).splitlines())) <= max(80, len(str(path)) + 40)


def test_a_negative_saving_is_explained(tmp_path: Path) -> None:
    """Prefill's kernels hide the host's work of decode; faster, they hide less of it, and decode seems to lose."""
    prefill, decode = (Launch(900), Launch(900)), (Python(1500), Launch(5), Synchronise())
    program = (Step("prefill_0", prefill), Step("decode_0", decode))
    path = Simulation().run(program).write(tmp_path / "hidden.sqlite")
    said = "A negative saving: earlier phases end sooner and hide less"
    for words in ((), ("--kernels", "0.5")):
        text = run(path, *words).stdout
        before, after = text.split("decode (process")
        assert said in after
        assert said not in before
    ranked = json.loads(run(path, "-f", "json").stdout)["points"]
    by_lever = {(p["phase"], p["lever"]): p["saved_share"] for p in ranked if p["factor"] == 0.5}
    assert by_lever["decode", "kernels"] < -0.1
    assert by_lever["prefill", "kernels"] > 0.4
    assert said in run(path, "-f", "markdown").stdout
    # slower kernels make it longer: nothing to explain
    assert said not in run(path, "--kernels", "2").stdout


def test_a_group_of_ranks_is_named_as_in_the_report(report) -> None:
    text = run(report("vllm-tp2"), "--framework", "0.5").stdout
    assert "decode (2 ranks, tensor parallel)" in text
    assert "all its threads" not in text


def test_machine_formats(report, tmp_path: Path) -> None:
    path = report("graph-graph")
    data = json.loads(run(path, "--graphs", "-f", "json").stdout)
    assert data["schema"] == "taxbreak-whatif/2"
    by_phase = {phase["phase"]: phase for phase in data["phases"]}
    assert by_phase["decode_graph"]["predicted_wall_ns"] is None
    assert "--cuda-graph-trace=node" in by_phase["decode_graph"]["reason"]
    assert by_phase["decode_eager"]["predicted_wall_ns"] < by_phase["decode_eager"]["wall_ns"]
    assert by_phase["decode_eager"]["unchanged_error"] == 0
    target = tmp_path / "sweep.csv"
    assert run(path, "--sweep", "-f", "csv", "-o", target).returncode == 0
    rows = list(csv.DictReader(io.StringIO(target.read_text())))
    assert {row["Lever"] for row in rows} >= {"kernels", "cpu", "launch"}
    assert run(path, "--sweep", "-f", "csv", "-o", target).returncode == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--framework", "-1"), "--framework -1"),
        (("--framework", "fast"), "--framework 'fast': not a number"),
        (("--kernels", "nan"), "--kernels nan"),
        (("--cpu", "0"), "--cpu 0"),
        (("--framework-minus", "soon"), "not a time"),
        (("--framework-minus", "5us", "--before", "("), "not a regular expression"),
        (("--framework-minus", "5us", "--before", "no such kernel"), "finds no kernel"),
        (("--before", "gemm"), "give both"),
        (("--graph-launch", "5us"), "give both"),
        (("--graphs", "--graph-launch", "-5us"), "must not be negative"),
        (("--sweep", "--cpu", "2"), "--sweep"),
        (("-f", "yaml"), "'--format': 'yaml' is not one of 'table', 'csv', 'json'"),
    ],
)
def test_errors_are_one_line_and_exit_2(report, words: tuple[str, ...], said: str) -> None:
    done = run(report("null-kernel"), *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
