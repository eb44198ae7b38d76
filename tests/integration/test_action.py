"""The GitHub Action: its script run as a runner runs it, and its inputs against the script."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.support.report_builder import build
from tests.support.reports import ROOT

yaml = pytest.importorskip("yaml", reason="PyYAML comes with mkdocs, of the extra dev")
ACTION = ROOT / "action"


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A folder with a report in it, as a job has after its capture."""
    build(tmp_path / "run.sqlite", steps=[f"decode_{number}" for number in range(6)])
    return tmp_path


def run(job: Path, **inputs: str) -> tuple[int, str, dict[str, str], str]:
    """Run the script with some inputs; return exit code, printed text, outputs and step summary."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "GITHUB_ACTIONS": "true",
        "GITHUB_OUTPUT": str(job / "outputs"),
        "GITHUB_STEP_SUMMARY": str(job / "summary.md"),
        "TAXBREAK_COMMAND": f"{sys.executable} -m taxbreak_nsys",
    }
    for name in ("outputs", "summary.md"):
        (job / name).write_text("")
    given = {f"TAXBREAK_{name.upper()}": value for name, value in ({"report": "run.sqlite"} | inputs).items()}
    done = subprocess.run(
        [str(ACTION / "gate.sh")], cwd=job, env=environment | given, capture_output=True, text=True, check=False
    )
    outputs = dict(line.split("=", 1) for line in (job / "outputs").read_text().splitlines())
    return done.returncode, done.stdout + done.stderr, outputs, (job / "summary.md").read_text()


def test_every_input_reaches_the_script() -> None:
    action = yaml.safe_load((ACTION / "action.yml").read_text(encoding="utf-8"))
    (step,) = action["runs"]["steps"]
    script = (ACTION / "gate.sh").read_text(encoding="utf-8")
    used = {re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", value)[1]: name for name, value in step["env"].items()}
    assert set(used) == set(action["inputs"])
    assert all(name in script for name in used.values())
    assert "${{" not in step["run"], "an input in the script's text could run a command"


def test_rules_that_hold_and_that_are_broken(job: Path) -> None:
    code, _, outputs, summary = run(job, rules="decode.kernels > 0\n\n  decode.instances == 6\n")
    assert (code, outputs) == (0, {"exit-code": "0", "verdict": "held"})
    assert "2 of 2 rules hold" in summary
    suite = ElementTree.parse(job / "taxbreak-gate.xml").getroot()
    assert suite.attrib["tests"] == "2"
    code, printed, outputs, summary = run(job, rules="decode.kernels < 0")
    assert (code, outputs["verdict"]) == (1, "broken")
    assert "::error title=taxbreak-nsys gate::decode.kernels < 0: broken" in printed
    assert "❌ broken" in summary


def test_the_first_run_has_no_baseline(job: Path) -> None:
    rules = {"rules": "decode.wall_ns is not worse", "baseline": "perf.json"}
    code, printed, outputs, summary = run(job, **rules)  # a pull request before main has written one
    assert (code, outputs["verdict"]) == (0, "held")
    assert "no baseline yet" in printed
    assert "no baseline yet" in summary
    assert not (job / "perf.json").exists()
    code, printed, _, _ = run(job, update_baseline="true", **rules)
    assert code == 0
    assert "wrote perf.json" in printed
    code, _, _, summary = run(job, **rules)
    assert code == 0
    assert "✅ held" in summary


def test_inputs_cannot_become_commands(job: Path) -> None:
    hostile = "x; touch hacked $(touch hacked) `touch hacked`"
    for name in ("report", "rules", "baseline", "options"):
        code, _, outputs, _ = run(job, **{name: hostile})
        assert code == 2
        assert outputs["verdict"] == "not judged"
    assert not (job / "hacked").exists()


def test_a_missing_report_says_so(job: Path) -> None:
    code, printed, outputs, _ = run(job, report="none.sqlite", rules="decode.kernels > 0")
    assert (code, outputs["exit-code"]) == (2, "2")
    assert "none.sqlite: no such file" in printed
