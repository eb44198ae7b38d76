"""`doctor`: what it says of a machine and of reports whose making is known."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from taxbreak_nsys.cli.all_commands import app
from taxbreak_nsys.nsys import machine
from taxbreak_nsys.nsys.nsys_program import Nsys

FITNESS = {
    # report: the evidence that its capture was made for (sample_reports/README.md)
    "llama-1b": {"evidence ranges"},
    "llama-1b-aten": {"evidence subtractive"},
    "inject": {"evidence ranges", "evidence samples", "evidence subtractive"},
    "graph-node": set(),
    "llama-1b-sampled": {"evidence samples"},
    "gpt2-backtrace": {"evidence samples", "launch chains"},
}
JUDGED = {"evidence ranges", "evidence samples", "evidence subtractive", "launch chains"}


def doctor(*arguments: str) -> tuple[dict[str, list[dict[str, Any]]], int]:
    done = CliRunner().invoke(app, ["doctor", "-f", "json", *arguments])
    assert done.stdout, done.exception
    return json.loads(done.stdout), done.exit_code


@pytest.mark.parametrize("name", list(FITNESS))
def test_fitness_for_each_evidence(report, name: str) -> None:
    path = str(report(name))
    groups, status = doctor(path)
    assert status == 0
    judged = {f["subject"]: f for f in groups[path] if f["subject"] in JUDGED}
    assert set(judged) == JUDGED
    assert {subject for subject, finding in judged.items() if finding["state"] == "ok"} == FITNESS[name]
    for finding in judged.values():
        assert (finding["state"] == "missing") == ("taxbreak-nsys capture --evidence" in (finding["remedy"] or ""))


def test_unmeasured_graphs_are_said_with_the_flag(report) -> None:
    path = str(report("graph-graph"))
    (finding,) = [f for f in doctor(path)[0][path] if f["subject"] == "unmeasured_graphs"]
    assert "--cuda-graph-trace=node" in finding["remedy"]


def test_a_report_that_cannot_be_analysed_is_a_finding(report, tmp_path: Path) -> None:
    torn = tmp_path / "torn.sqlite"
    torn.write_bytes(report("llama-1b").read_bytes()[:40_000])
    good = str(report("llama-1b"))
    groups, status = doctor(str(torn), str(tmp_path / "none.sqlite"), good)
    assert status == 1
    assert [f["state"] for f in groups[str(torn)]] == ["problem"]
    assert "no such file" in groups[str(tmp_path / "none.sqlite")][0]["message"]
    assert len(groups[good]) > 1


def test_table_names_every_finding(report) -> None:
    path = str(report("llama-1b"))
    shown = CliRunner().invoke(app, ["doctor", path]).stdout
    for finding in doctor(path)[0][path]:
        assert finding["subject"] in shown
        assert (finding["remedy"] or "") in shown


def test_machine_without_nsys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    groups, status = doctor()
    assert status == 1
    nsys = next(f for f in groups["machine"] if f["subject"] == "nsys")
    assert nsys["state"] == "problem"
    assert "install" in nsys["remedy"]


def fake(tmp_path: Path, says: str) -> Nsys:
    program = tmp_path / "nsys"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{says}\nEND\n")
    program.chmod(0o755)
    return Nsys(program)


def test_sampling_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    level = tmp_path / "perf_event_paranoid"
    monkeypatch.setattr(machine, "PARANOID_FILE", level)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    line = "CPU Profiling Environment (process-tree): "
    level.write_text("4\n")
    assert machine.sampling_problem(fake(tmp_path, line + "OK")) is None
    assert "perf_event_paranoid=2" in (machine.sampling_problem(fake(tmp_path, line + "Fail")) or "")
    assert "perf_event_paranoid is 4" in (machine.sampling_problem(None) or "")
    level.write_text("2\n")
    assert "container" in (machine.sampling_problem(fake(tmp_path, line + "Fail")) or "")
    assert machine.sampling_problem(None) is None


def test_recipe_of_the_wrong_python_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tests.support.reports import ROOT

    program = tmp_path / "nsys"
    program.write_text(
        "#!/bin/sh\nif [ \"$1\" = --version ]; then echo version 2023.4.4.54; else printf '\\trecipe  Run\\n'; fi\n"
    )
    (tmp_path / "python3").write_text("#!/bin/sh\nexit 1\n")
    for path in (program, tmp_path / "python3"):
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("NSYS_RECIPE_PATH", raising=False)

    def said() -> dict[str, Any]:
        return next(f for f in doctor()[0]["machine"] if f["subject"] == "nsys recipe")

    assert "recipe install" in said()["remedy"]
    monkeypatch.setenv("NSYS_RECIPE_PATH", str(ROOT / "recipes"))
    assert said()["state"] == "problem"
    assert str(tmp_path / "python3") in said()["message"]
