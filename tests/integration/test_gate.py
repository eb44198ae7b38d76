"""Rules: the language, what becomes of them, and the exit code that a build sees."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxbreak_nsys import TaxbreakError, analyze
from taxbreak_nsys.gating.judging import Judgement, exit_code, judge_rule
from taxbreak_nsys.gating.metric_sources import find_rules
from taxbreak_nsys.gating.metrics import PhaseMetrics, phase_metrics
from taxbreak_nsys.gating.rules import parse_rule
from taxbreak_nsys.gating.sides import read_baseline_side
from taxbreak_nsys.output.formats import results_json, results_jsonl
from tests.support import in_process

NOW = {
    "decode": PhaseMetrics(
        {"hdbi": 0.25, "taxbreak.hdbi": 0.25, "wall_ns": 10_000_000, "kernels": 678, "none": 0, "graph_ns": None},
        "no device rows",
    ),
    "my phase": PhaseMetrics({"hdbi": 0.5}, ""),
    "for": PhaseMetrics({"hdbi": 1}, ""),
    "größe": PhaseMetrics({"hdbi": 1}, ""),
}
THEN = {"decode": PhaseMetrics({"hdbi": 0.2, "wall_ns": 8_000_000}, "")}


def verdict(text: str, baseline: dict[str, PhaseMetrics] | None = None) -> Judgement:
    return judge_rule(parse_rule(text), NOW, baseline)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("decode.hdbi >= 0.2", "held"),
        ("decode.hdbi >= 25 %", "held"),
        ("decode.hdbi > .25", "broken"),
        ("decode.wall_ns <= 10ms", "held"),
        ("decode.wall_ns < 10000us", "broken"),
        ("decode.wall_ns == 0.01s", "held"),
        ("decode.kernels != 678", "broken"),
        ("decode.wall_ns / decode.kernels <= 15 us", "held"),
        ("0.2 <= decode.hdbi", "held"),
        ("2 + 3 * 4 == 14", "held"),
        ("(2 + 3) * 4 == 20", "held"),
        ("10 - 3 - 2 == 5", "held"),
        ("12 / 3 / 2 == 2", "held"),
        ("--1 == 1", "held"),
        ("-(1 + 1) == 0 - 2", "held"),
        ("1e3 == 1000", "held"),
        ("'my phase'.hdbi == 0.5", "held"),
        ('"my phase".hdbi == 50%', "held"),
        ("for.hdbi == 1", "held"),
        ("größe.hdbi == 1", "held"),
        ("decode . hdbi\n>= 0.2", "held"),
        ("decode.taxbreak.hdbi >= 0.2", "held"),
        (" + ".join(["1"] * 150) + " == 150", "held"),
    ],
)
def test_rules_mean_what_they_say(text: str, expected: str) -> None:
    assert verdict(text).verdict == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("decode.hdbi >= baseline", "held"),
        ("decode.wall_ns <= 1.05 * baseline", "broken"),
        ("decode.wall_ns <= 1.3 * baseline", "held"),
        ("decode.wall_ns - baseline.decode.wall_ns <= 2ms", "held"),
        ("decode.wall_ns / baseline.decode.wall_ns < 1.2", "broken"),
        ("baseline . 'decode'.hdbi < decode.hdbi", "held"),
    ],
)
def test_rules_against_a_baseline(text: str, expected: str) -> None:
    assert verdict(text, THEN).verdict == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("decode.hdbi / decode.none > 1", "division by zero"),
        ("decode.hdbi > 1 / (2 - 2)", "division by zero"),
        ("decode.graph_ns > 1", "not measured in the report: no device rows"),
        ("decode.hdbo > 1", "no metric 'hdbo'; nearest: hdbi"),
        ("decode.hdbi.real > 1", "no metric 'hdbi.real'"),
        ("decode.__class__.__init__ > 1", "no metric '__class__.__init__'"),
        ("decod.hdbi > 1", "no phase 'decod'; nearest: decode"),
        ("decode.hdbi > baseline", "--baseline"),
        ("decode.hdbi > baseline.decode.hdbi", "--baseline"),
    ],
)
def test_what_cannot_be_judged_says_why(text: str, reason: str) -> None:
    judged = verdict(text)
    assert judged.verdict == "not judged"
    assert reason in judged.reason


def test_baseline_without_the_figure() -> None:
    assert "the baseline has no phase 'my phase'" in verdict("'my phase'.hdbi > baseline", THEN).reason


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not understood"),
        ("decode.hdbi", "expected a comparison"),
        ("decode.hdbi >=", "not understood"),
        ("decode.hdbi >= 0.2 0.3", "not understood"),
        ("decode >= 1", "expected a number or a metric such as decode.hdbi, got 'decode'"),
        ("decode.hdbi >= (1", "not understood"),
        ("decode.hdbi = 1", "not understood"),
        ("0 < decode.hdbi < 1", "expected one comparison"),
        ("decode.hdbi in baseline", "expected one comparison"),
        ("__import__('os').system('true') > 1", "got"),
        ("decode.hdbi() > 1", "got \"'decode'.hdbi()\""),
        ("decode['hdbi'] > 1", "got"),
        ("(lambda: 1)() > 1", "got"),
        ("[decode.hdbi][0] > 1", "got"),
        ("f'{decode}' > 1", "got"),
        ("(a := 1) > 0", "got"),
        ("True > 0", "got 'True'"),
        ("1j > 0", "got '1j'"),
        ("'decode' > 0", "got"),
        ("decode.hdbi ** 9 > 1", "got"),
        ("decode.hdbi % 2 > 1", "got"),
        ("not decode.hdbi > 1", "expected a comparison"),
        ("decode.hdbi > 1 and 1 > 0", "expected a comparison"),
        ("decode.hdbi + decode.wall_ns > baseline", "names 2"),
        ("1 > baseline", "names 0"),
        ("-" * 300 + "1 > 0", "nested deeper"),
        ("(" * 300 + "1" + ")" * 300 + " > 0", "not understood"),
        ("1 > " + "0" * 1000, "the longest"),
    ],
)
def test_what_is_no_rule_is_one_line(text: str, said: str) -> None:
    with pytest.raises(TaxbreakError) as caught:
        parse_rule(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_a_rule_or_one_error(text: str) -> None:
    try:
        said = verdict(text, THEN).verdict
    except TaxbreakError as error:
        said = str(error)
    assert said in ("held", "broken", "not judged") or (said.startswith("rule ") and "\n" not in said)


numbers = st.integers(0, 1000)
expressions = st.recursive(
    numbers.map(str),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(" ".join), inner.map(lambda text: f"({text})")
    ),
    max_leaves=12,
)


@given(expressions, numbers)
def test_arithmetic_as_everyone_knows_it(text: str, limit: int) -> None:
    judged = verdict(f"{text} >= {limit}")
    # the text is digits, signs and brackets of our own making: Python is the judge of what it comes to
    assert judged.value == eval(text)
    assert judged.verdict == ("held" if judged.value >= limit else "broken")


def test_exit_codes() -> None:
    def of(*verdicts: str) -> int:
        return exit_code([Judgement("", None, None, verdict) for verdict in verdicts])

    assert of("held", "held") == 0
    assert of("held", "broken", "not judged") == 1
    assert of("held", "not judged") == 2


def test_every_figure_of_the_json_has_its_name(any_report: Path, analysed) -> None:
    result = analysed(any_report.stem)
    for entry in result.entries:
        figures = phase_metrics(result)[entry.phase].values
        chosen = result.phase(entry.phase)
        assert figures["hdbi"] == chosen.taxbreak.hdbi
        assert figures["python_ns"] == chosen.states_ns["python"]
        assert figures["delta_ct_ns"] == chosen.taxbreak.delta_ct_ns
        assert figures["wall_ns_per_step"] == pytest.approx(chosen.wall_ns / chosen.instances)
        assert figures["kernels_per_step"] == pytest.approx(chosen.kernels / chosen.instances)
        assert "instances_per_step" not in figures
        assert (figures["exposed_python_ns"] is None) == (chosen.exposed_ns is None)


def test_a_baseline_is_what_the_program_wrote(analysed, tmp_path: Path) -> None:
    result = analysed("llama-1b")
    path = tmp_path / "base.json"
    for text in (result.to_json(), results_json([result], ["taxbreak_sum"]), results_jsonl([result], ["taxbreak_sum"])):
        path.write_text(text)
        assert read_baseline_side(path).metrics == phase_metrics(result)
    path.write_text(results_json([result, result], ["taxbreak_sum"]))
    assert read_baseline_side(path).metrics == phase_metrics(result)  # the median of two that are the same
    for text in (
        "",
        "[]",
        "[" * 100_000,
        '{"schema": "other"}',
        '{"schema": "taxbreak/1", "phases": []}',
        '{"schema": "taxbreak/2", "phases": [{}]}',
        '{"schema": "taxbreak/2"}',
        '{"schema": "taxbreak/2", "reports": []}',
        '{"schema": "taxbreak/2", "reports": [1]}',
    ):
        path.write_text(text)
        with pytest.raises(TaxbreakError, match=r"base\.json: the baseline"):
            read_baseline_side(path)
    with pytest.raises(TaxbreakError, match="cannot be read"):
        read_baseline_side(tmp_path / "missing.json")


def test_where_rules_come_from(tmp_path: Path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text('[tool.taxbreak-nsys.gate]\nrules = ["decode.hdbi > 0"]\nbaseline = "base.json"\n')
    rules, baseline = find_rules([], None, tmp_path)
    assert [rule.text for rule in rules] == ["decode.hdbi > 0"]
    assert baseline == tmp_path / "base.json"
    # what is given on the command line stands alone
    assert [rule.text for rule in find_rules(["1 > 0"], None, tmp_path)[0]] == ["1 > 0"]
    plain = tmp_path / "rules.toml"
    plain.write_text('rules = ["2 > 0"]\n')
    assert [rule.text for rule in find_rules(["1 > 0"], plain, tmp_path)[0]] == ["1 > 0", "2 > 0"]
    for text, said in (
        ("rules = 3", "a list of strings"),
        ("rules = [", "not TOML"),
        ("", "no rules"),
        ("a = " + "[" * 20_000, "nested too deeply"),
    ):
        plain.write_text(text)
        with pytest.raises(TaxbreakError, match=said):
            find_rules([], plain, tmp_path)


def run(*words: object, **where: Path) -> in_process.Done:
    return in_process.run("gate", *words, **where)


def test_the_command(report, tmp_path: Path) -> None:
    path, junit = report("graph-graph"), tmp_path / "gate.xml"
    rules = ["decode_eager.hdbi >= 0.9", "decode_eager.kernels_per_step == 224", "decode_graph.hdbi > 0"]
    given = [word for rule in rules for word in ("--rule", rule)]
    done = run(path, *given, "--junit", junit, "--github")
    assert done.returncode == 1, done.stderr
    suite = ElementTree.parse(junit).getroot()[0]
    assert [[child.tag for child in case] for case in suite] == [["failure"], [], ["error"]]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    annotations = [line for line in done.stdout.splitlines() if line.startswith("::error")]
    assert len(annotations) == 2
    assert "--cuda-graph-trace=node" in annotations[1]
    only_unknown = run(path, "--rule", "decode_eager.hdbi2 > 0", "-f", "json")
    assert only_unknown.returncode == 2
    assert "nearest: hdbi" in json.loads(only_unknown.stdout)["rules"][0]["reason"]
    (tmp_path / "pyproject.toml").write_text('[tool.taxbreak-nsys.gate]\nrules = ["decode_eager.hdbi > 0"]\n')
    held = run(path, cwd=tmp_path)
    assert held.returncode == 0
    assert "held" in held.stdout
    against_itself = run(path, "--baseline", path, "--rule", "decode_eager.wall_ns <= baseline")
    assert against_itself.returncode == 0
    wrong = run(path, "--rule", "decode_eager.hdbi => 1")
    assert wrong.returncode == 2
    assert len(wrong.stderr.splitlines()) == 1


def test_baseline_is_the_newest_other_capture_of_a_store(report, tmp_path: Path) -> None:
    store, written = tmp_path / "taxbreak.db", tmp_path / "before.json"
    before, now = report("llama-1b"), report("llama-1b-aten")
    program = Path(sys.executable).with_name("taxbreak-nsys")
    batch = [program, "batch", before, now, "--store", store, "--tag", "model=llama"]
    subprocess.run([str(word) for word in batch], check=True, capture_output=True)
    written.write_text(analyze(before).to_json())

    def judged(baseline: object) -> in_process.Done:
        rule = "decode.wall_ns_per_step <= 0.9 * baseline"
        # one has library ranges, the other operator ranges
        return run(now, "--rule", rule, "--baseline", baseline, "-f", "json", "-q", "--allow-different")

    # the report itself is in the store too, and is not its own baseline
    by_store = judged(f"{store}#model=llama")
    assert by_store.returncode in (0, 1), by_store.stderr
    assert json.loads(by_store.stdout) == json.loads(judged(written).stdout)
    assert "holds no other report with model=gpt" in judged(f"{store}#model=gpt").stderr
    assert "KEY=VALUE" in judged(f"{store}#model").stderr
    assert "no such store" in judged(tmp_path / "none.db").stderr
