"""Baselines of a gate: written by the program, folders of repeats, rules that allow for noise, GitHub's summary."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.gating.noise_rules import parse_noise_rule
from tests.support.report_builder import build
from tests.support.reports import ROOT, find_report

NOISE = "decode.wall_ns is not worse"


def report(folder: Path, name: str, slower: float = 1.0, seed: int = 1, steps: int = 9) -> Path:
    """Write a report of decode steps of 100 us and some noise, times `slower`; what is added is Python time."""
    dice = random.Random(seed)
    labels = [f"decode_{number}" for number in range(steps)]
    longer = {label: round((100 + dice.randint(0, 5)) * slower) - 100 for label in labels}
    return build(folder / f"{name}.sqlite", steps=labels, longer=longer)


def gate(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "taxbreak_nsys", "gate", *arguments], cwd=folder, capture_output=True, text=True,
        check=False, env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )  # fmt: skip


def judged(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [rule["verdict"] for rule in json.loads(done.stdout)["rules"]]


def test_the_first_run_writes_the_baseline_and_later_ones_are_judged_by_it(tmp_path: Path) -> None:
    report(tmp_path, "main")
    report(tmp_path, "same", seed=2)
    report(tmp_path, "slow", slower=1.3, seed=3)
    rules = ("--rule", NOISE, "--rule", "decode.wall_ns_per_step <= 1.1 * baseline", "--rule", "decode.kernels > 0")
    first = gate(tmp_path, "main.sqlite", *rules, "--baseline", "base.json", "--update-baseline", "-f", "json")
    assert (first.returncode, judged(first)) == (0, ["no baseline yet", "no baseline yet", "held"])
    assert "wrote base.json" in first.stderr
    before = (tmp_path / "base.json").read_bytes()
    same = gate(tmp_path, "same.sqlite", *rules, "--baseline", "base.json", "-f", "json")
    assert (same.returncode, judged(same)) == (0, ["held"] * 3)
    slow = gate(tmp_path, "slow.sqlite", *rules, "--baseline", "base.json", "-f", "json")
    assert (slow.returncode, judged(slow)) == (1, ["broken", "broken", "held"])
    assert (tmp_path / "base.json").read_bytes() == before
    for tolerance, verdict in (("20", "broken"), ("45", "held")):
        text = f"{NOISE} by {tolerance} %"
        done = gate(tmp_path, "slow.sqlite", "--rule", text, "--baseline", "base.json", "-f", "json")
        assert judged(done) == [verdict]
    # judged by the old baseline, then written
    again = gate(tmp_path, "slow.sqlite", "--rule", NOISE, "--baseline", "base.json", "--update-baseline", "-f", "json")
    assert (again.returncode, judged(again)) == (1, ["broken"])
    assert judged(gate(tmp_path, "slow.sqlite", "--rule", NOISE, "--baseline", "base.json", "-f", "json")) == ["held"]


def test_a_folder_of_repeats_is_one_side(tmp_path: Path) -> None:
    for side, slower in (("before", 1.0), ("after", 1.3)):
        (tmp_path / side).mkdir()
        for number, factor in enumerate((1.0, 1.02, 1.04)):
            report(tmp_path / side, f"rank{number}", slower=slower * factor, seed=number)
    done = gate(tmp_path, "after", "--rule", NOISE, "--rule", "decode.wall_median_ns > 1.2 * baseline",
                "--baseline", "before", "-f", "json")  # fmt: skip
    answer = json.loads(done.stdout)
    assert len(answer["reports"]) == 3
    assert judged(done) == ["broken", "held"]
    single = gate(tmp_path, "before/rank1.sqlite", "--rule", "decode.wall_median_ns == baseline", "--baseline",
                  "before", "-f", "json")  # fmt: skip
    assert judged(single) == ["held"], "the median of three reports is the second of them"


def test_noise_rules_say_why_they_cannot_be_judged(tmp_path: Path) -> None:
    report(tmp_path, "main")
    report(tmp_path, "other", steps=1)
    for arguments, reason in (
        (("--rule", NOISE), "there is none"),
        (("--rule", "missing.wall_ns is not worse", "--baseline", "main.sqlite"), "no phase 'missing'"),
        (("--rule", NOISE, "--baseline", "other.sqlite"), "one step"),
        (("--rule", NOISE, "--baseline", "plain.json"), "no single steps"),
    ):
        plain = subprocess.run([sys.executable, "-m", "taxbreak_nsys", "main.sqlite", "-f", "json", "-o", "plain.json",
                                "--force-overwrite"], cwd=tmp_path, check=False)  # fmt: skip
        assert plain.returncode == 0
        done = gate(tmp_path, "main.sqlite", *arguments, "-f", "json")
        assert done.returncode == 2
        assert reason in json.loads(done.stdout)["rules"][0]["reason"]


def test_noise_rules_are_read() -> None:
    rule = parse_noise_rule(" 'my phase'.wall_ns is not worse by 2.5 % ")
    assert rule is not None
    assert (rule.phase, rule.metric, rule.tolerance) == ("my phase", "wall_ns", 0.025)
    assert parse_noise_rule("decode.hdbi >= 0.2") is None
    with pytest.raises(TaxbreakError, match="no worse side"):
        parse_noise_rule("decode.kernels is not worse")
    per_step = parse_noise_rule("decode.wall_ns_per_step is not worse")
    assert per_step is not None
    assert per_step.metric == "wall_ns"
    assert per_step.text == "decode.wall_ns_per_step is not worse"
    with pytest.raises(TaxbreakError, match="no worse side"):
        parse_noise_rule("decode.kernels_per_step is not worse")


@pytest.mark.parametrize("target", ["run.sqlite", "store.db", None])
def test_update_baseline_needs_a_json_file(tmp_path: Path, target: str | None) -> None:
    report(tmp_path, "main")
    named = () if target is None else ("--baseline", target)
    done = gate(tmp_path, "main.sqlite", "--rule", NOISE, "--update-baseline", *named)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_github_gets_annotations_and_a_summary(tmp_path: Path) -> None:
    report(tmp_path, "main")
    summary = tmp_path / "summary.md"
    summary.write_text("earlier step\n")
    done = gate(tmp_path, "main.sqlite", "--rule", "decode.kernels > 0", "--rule", "decode.kernels < 0", "--github",
                GITHUB_STEP_SUMMARY=str(summary))  # fmt: skip
    assert done.returncode == 1
    assert sum(line.startswith("::error ") for line in done.stdout.splitlines()) == 1
    text = summary.read_text()
    assert text.startswith("earlier step\n")
    assert "✅ held" in text
    assert "❌ broken" in text
    assert "1 of 2 rules hold" in text


def test_graphs_traced_another_way_are_not_judged(tmp_path: Path) -> None:
    """The baseline keeps how graphs were traced: a launch call without traced nodes is no faster program."""
    by_node, whole = (str(find_report(name)) for name in ("graph-node", "graph-graph"))
    rule_options = ("--rule", "decode_graph.launch_ns is not worse by 5 %", "--baseline", "b.json")
    assert gate(tmp_path, by_node, *rule_options, "--update-baseline").returncode == 0
    assert judged(gate(tmp_path, by_node, *rule_options, "-f", "json")) == ["held"]
    done = gate(tmp_path, whole, *rule_options, "--allow-different", "-f", "json")
    (rule,) = json.loads(done.stdout)["rules"]
    assert (done.returncode, rule["verdict"]) == (2, "not judged")
    assert rule["reason"] == "captured differently, so host times cannot be compared: tracing of CUDA graphs"
