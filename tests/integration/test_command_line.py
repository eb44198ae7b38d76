"""The command line as a whole: one set of options, help, choices, completion, mistyped words."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import html
import inspect
import io
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer.main

from taxbreak_nsys import analyze
from taxbreak_nsys.attribution.layers import EVIDENCES
from taxbreak_nsys.capture.nsys_command import EVIDENCES as CAPTURES
from taxbreak_nsys.cli.all_commands import app
from taxbreak_nsys.cli.option_groups import add_arguments, read_arguments
from taxbreak_nsys.cli.shared_options import AnalysisChoices
from taxbreak_nsys.model.choices import CaptureFor, LibraryEvidence, PhasesFrom, ReportFormat, TimeUnit
from taxbreak_nsys.options import Options
from taxbreak_nsys.output.units import UNITS
from taxbreak_nsys.phases import SOURCES
from tests.support import in_process
from tests.support.reports import ROOT

ROOT_GROUP: Any = typer.main.get_command(app)
ANALYSING = ("analyze", "html", "diff", "gate", "whatif", "trace", "plot", "batch", "library-map", "doctor")
SHARED = (
    *("--phase", "--phases", "--ignore-marks", "--engine", "--phase-rules", "--instances", "--by", "--start", "--end"),
    *("--skip", "--process", "--thread", "--evidence", "--t-sys", "--null-report", "--modules", "--reference"),
    *("--library-map", "--kernel-classes"),
)
HELP = runpy.run_path(str(ROOT / "docs" / "help_images.py"))


def commands(group: Any = ROOT_GROUP, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield (words, command) for every command, those of groups included."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


COMMANDS = dict(commands())


def complete(line: str) -> list[str]:
    """Return what the shell offers after a line."""
    words = line.split(" ")
    environment = os.environ | {
        "_TAXBREAK_NSYS_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1),
    }  # fmt: skip
    program = [sys.executable, "-m", "taxbreak_nsys"]
    return subprocess.run(program, env=environment, capture_output=True, text=True, check=True).stdout.split()


# one set of options


@pytest.mark.parametrize("name", ANALYSING)
def test_every_command_that_analyses_has_every_option(name: str) -> None:
    options = {opt for parameter in COMMANDS[name,].params for opt in parameter.opts}
    assert set(SHARED) <= options
    assert len(SHARED) == len(dataclasses.fields(AnalysisChoices))


@pytest.mark.parametrize("name", ANALYSING)
def test_an_option_is_the_same_in_every_command(name: str) -> None:
    shown = {p.opts[0]: (p.help, p.metavar, p.default) for p in COMMANDS["analyze",].params if p.opts[0] in SHARED}
    assert {p.opts[0]: (p.help, p.metavar, p.default) for p in COMMANDS[name,].params if p.opts[0] in SHARED} == shown


def test_no_command_takes_positional_parameters() -> None:
    for words, command in COMMANDS.items():
        function = inspect.unwrap(command.callback)
        kinds = {p.kind for p in inspect.signature(function).parameters.values()}
        assert kinds <= {inspect.Parameter.KEYWORD_ONLY}, words


@pytest.fixture
def given(report, tmp_path: Path) -> tuple[list[str], Options]:
    """Every option that goes together with the others, and what it means."""
    rules, modules, reference, learned = (tmp_path / name for name in ("e.toml", "m.tsv", "r.json", "l.json"))
    rules.write_text('[[engine]]\nname = "mine"\ntitle = "Mine"\n[[engine.mark]]\ntext = "^x"\nphase = "x"\n')
    modules.write_text("libmine\tlibrary\n")
    reference.write_text('{"decode": {"median_ms": 20}}')
    learned.write_text('{"schema": "taxbreak-library-map/1", "kernels": {}}')
    words: list[object] = ["--phases", "marks", "--phase-rules", rules, "--instances", "range", "--start", "1us"]
    words += ["--end", "1000s", "--skip", 1, "--process", 493, "--thread", 493, "--evidence", "ranges"]
    words += ["--t-sys", "5us", "--modules", modules, "--reference", reference, "--library-map", learned]
    options = Options(
        window=(1_000, 10**12), process=493, thread=493, t_sys_ns=5_000, evidence="ranges", skip=1, phases="marks",
        instances="range", phase_rules=rules, modules=modules, reference=str(reference), library_map=learned,
    )  # fmt: skip
    return [str(word) for word in words], options


def test_choices_become_the_options_of_the_analysis(given: tuple[list[str], Options]) -> None:
    words, options = given
    parser = argparse.ArgumentParser()
    add_arguments(AnalysisChoices, parser.add_argument)
    assert read_arguments(AnalysisChoices, parser.parse_args(words)).options() == options
    assert read_arguments(AnalysisChoices, parser.parse_args([])).options() == Options()
    several = read_arguments(AnalysisChoices, parser.parse_args(["--phase", "a=x", "--phase", "b=y", "--by", "batch"]))
    assert [rule.label for rule in several.options().rules] == ["a", "b"]
    assert several.options().by_batch
    assert "decode[batch=64]" in parser.format_help().replace("\n", " ")
    with pytest.raises(SystemExit):
        parser.parse_args(["--evidence", "guess"])


def test_every_command_hands_the_options_on(
    given: tuple[list[str], Options], report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, options = given
    path = report("llama-1b")
    asked: list[Options] = []
    from taxbreak_nsys.capture import environment_checks
    from taxbreak_nsys.pipeline import analysis

    def noted(function: Any) -> Any:
        def call(report: Path, options: Options | None = None, *more: Any, **named: Any) -> Any:
            asked.append(options or Options())
            return function(report, options, *more, **named)

        return call

    for function in ("analyze_report", "collect_report", "measure_report"):
        monkeypatch.setattr(analysis, function, noted(getattr(analysis, function)))
    monkeypatch.setattr(environment_checks, "analyze_report", analysis.analyze_report)
    calls: dict[str, list[object]] = {
        "analyze": [path], "html": [path, "-o", tmp_path / "a.html"], "diff": [path, path],
        "gate": [path, "--rule", "decode.hdbi > 0"], "whatif": [path], "trace": [path, "-o", tmp_path / "a.pftrace"],
        "plot": [path, "-o", tmp_path / "a.svg"], "library-map": [path], "doctor": [path],
    }  # fmt: skip
    assert {*calls, "batch"} == set(ANALYSING)
    for name, arguments in calls.items():
        done = in_process.run(name, *arguments, *words)
        assert done.returncode == 0, (name, done.stderr)
        # which tables of details a command needs is its own matter
        assert {replace(each, tables=frozenset()) for each in asked} == {options}, name
        asked.clear()


def test_a_batch_analyses_with_the_options(given: tuple[list[str], Options], report, tmp_path: Path) -> None:
    path, store = report("llama-1b"), tmp_path / "s.db"
    done = in_process.run("batch", path, "--store", store, *given[0], "-f", "jsonl", "-q")
    assert done.returncode == 0, done.stderr
    stored = {row["Phase"]: row for row in map(json.loads, done.stdout.splitlines())}
    shown = {
        row["Phase"]: row for row in csv.DictReader(io.StringIO(in_process.run(path, *given[0], "-f", "csv").stdout))
    }
    assert set(stored) == set(shown) == {"prefill", "decode"}
    for label, row in stored.items():
        for title in ("Instances", "delta_kt (ns)", "delta_ft (ns)"):
            assert row[title] == int(shown[label][title])


def test_instances_of_the_python_api() -> None:
    from taxbreak_nsys import TaxbreakError

    with pytest.raises(TaxbreakError, match="not one of range, cycle"):
        analyze("x.sqlite", instances="step")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"phases": "decode"}, "must map labels to regular expressions"),
        ({"evidence": "guess"}, "'guess': not one of ranges, "),
        ({"tables": "gaps"}, "must be a collection of names"),
        ({"tables": ("gap",)}, "'gap': not one of gaps, "),
        ({"phase_source": "guess"}, "not one of best, marks, auto, all"),
    ],
)
def test_a_wrong_choice_of_the_python_api_is_a_value_error(report, wrong: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        analyze(report("null-kernel"), **wrong)


def test_the_package_lists_its_public_names() -> None:
    import taxbreak_nsys

    assert sorted(dir(taxbreak_nsys)) == sorted(taxbreak_nsys.__all__)
    assert all(getattr(taxbreak_nsys, name) for name in dir(taxbreak_nsys))


# choices and completion


def test_choices_are_those_of_the_code_that_acts_on_them() -> None:
    assert tuple(PhasesFrom) == SOURCES
    assert tuple(LibraryEvidence) == EVIDENCES
    assert tuple(CAPTURES) == tuple(CaptureFor)
    assert tuple(UNITS) == tuple(TimeUnit)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("taxbreak-nsys ana", ["analyze"]),
        ("taxbreak-nsys x.sqlite -f ", list(ReportFormat)),
        ("taxbreak-nsys gate x.sqlite -f ", ["table", "csv", "json", "markdown"]),
        ("taxbreak-nsys analyze x.sqlite -r taxbreak_k", ["taxbreak_kern_sum"]),
        ("taxbreak-nsys html x.sqlite --evidence s", ["samples", "subtractive"]),
        ("taxbreak-nsys whatif --phases ", ["best", "marks", "auto", "all"]),
        ("taxbreak-nsys plot --instances ", ["range", "cycle"]),
        ("taxbreak-nsys batch --engine v", ["vllm"]),
        ("taxbreak-nsys diff --timeunit m", ["msec"]),
        ("taxbreak-nsys store q", ["query"]),
        ("taxbreak-nsys capture --evidence l", ["launch-chains", "light"]),
    ],
)
def test_the_shell_completes(line: str, offered: list[str]) -> None:
    assert complete(line) == offered


# help


@pytest.mark.parametrize("columns", HELP["WIDTHS"])
def test_help_holds_at_a_width_and_cuts_nothing(columns: int) -> None:
    shown = HELP["help_text"](columns=columns)
    assert max(map(len, shown.splitlines())) <= columns
    words = re.sub(r"[│╭╮╰╯─\s]+", " ", shown)
    for (name, *_), command in COMMANDS.items():
        if len(_) == 0:
            assert f" {name} {command.help.splitlines()[0]}" in words, name
    assert "…" not in shown
    assert all(f"─ {panel} ─" in shown for panel in ("Analyse", "Pictures", "Capture", "Many reports"))


@pytest.mark.parametrize("columns", HELP["WIDTHS"])
def test_pictures_of_the_help_are_of_this_program(columns: int) -> None:
    picture = (HELP["FOLDER"] / f"help-{columns}.svg").read_text(encoding="utf-8")
    drawn = "".join(html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", picture)).split()
    shown = f"{HELP['help_text'](columns=columns)} {HELP['help_text']('analyze', columns=columns)}".split()
    assert "".join(shown) in "".join(drawn), "run docs/help_images.py"


@pytest.mark.parametrize("words", list(COMMANDS), ids=" ".join)
def test_help_of_a_command_shows_its_panels_and_every_bracket(words: tuple[str, ...]) -> None:
    command = COMMANDS[words]
    assert command.help
    assert "\n" not in command.help.split("\n\n")[0], "the summary is one paragraph"
    done = in_process.run(*words, "--help")
    assert done.returncode == 0
    joined = re.sub(r"[│\s]+", "", done.stdout)
    for parameter in command.params:
        told = (parameter.help or "").replace("\\[", "[")
        for bracket in re.findall(r"\S*\[\S*", told):
            assert bracket in joined, parameter.opts
    if words[0] in ANALYSING:
        assert all(f"─ {panel} ─" in done.stdout for panel in ("Phases", "Attribution"))


def test_every_option_says_what_it_does() -> None:
    for words, command in COMMANDS.items():
        for parameter in command.params:
            assert parameter.help, (words, parameter.opts)


def test_fields_of_a_group_are_options() -> None:
    for name, hint in get_type_hints(AnalysisChoices, include_extras=True).items():
        option = get_args(hint)[1]
        assert option.default == f"--{name.replace('_', '-')}"
        assert option.rich_help_panel in ("Phases", "Attribution")


# wrong calls


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["analze", "x.sqlite"], "'analze': no such command and no such file; did you mean 'analyze'?"),
        (["stor"], "did you mean 'store'?"),
        (["librarymap", "x"], "did you mean 'library-map'?"),
        (["nonsense"], "'taxbreak-nsys --help' lists the commands"),
        (["missing.sqlite"], "missing.sqlite: no such file"),
        (["folder/run"], "folder/run: no such file"),
        (["store", "qury"], "Did you mean 'query'"),
        (["x.sqlite", "--evidnce", "none"], "--evidence"),
        (["x.sqlite", "-f", "xml"], "'xml' is not one of 'table', 'csv', 'json', 'jsonl', 'parquet'"),
        (["x.sqlite", "--skip", "-1"], "--skip"),
        (["x.sqlite", "--top", "0"], "--top"),
        (["gate"], "Missing argument 'REPORT'"),
        (["capture", "--evidence", "guess", "--", "true"], "not one of 'ranges', 'samples'"),
    ],
)
def test_a_wrong_call_is_one_line(words: list[str], said: str) -> None:
    done = in_process.run(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("taxbreak-nsys: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_named_like_no_command_is_a_report(report, tmp_path: Path) -> None:
    copy = tmp_path / "analyse"
    copy.write_bytes(report("null-kernel").read_bytes())
    assert in_process.run("analyse", "-f", "jsonl", cwd=tmp_path).returncode == 0
