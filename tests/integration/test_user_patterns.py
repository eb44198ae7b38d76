"""A pattern of the user's that backtracks without end is one line that names it."""

from __future__ import annotations

import pickle
import sqlite3
import time
from pathlib import Path

import pytest

from taxbreak_nsys import TaxbreakError
from taxbreak_nsys.model.user_pattern import UserPattern
from tests.support.program import one_line, run_program
from tests.support.report_builder import VARIATIONS, VERSIONS, build

ENDLESS = "(a+)+$"
TEXT = "a" * 4096 + "!"


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A report with a range and a kernel of a long name."""
    path = tmp_path / "r.sqlite"
    build(path, VERSIONS[-1], VARIATIONS[0])
    with sqlite3.connect(path) as database:
        database.execute("UPDATE StringIds SET value = ? || id || '!' WHERE value NOT LIKE 'cuda%'", (TEXT,))
        database.execute("UPDATE NVTX_EVENTS SET text = ? || rowid || '!' WHERE text IS NOT NULL", (TEXT,))
    return path


@pytest.mark.parametrize("option", ["--phase", "--phase-rules", "--before", "--tag-from"])
def test_endless_search_is_refused(option: str, report: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(f"[[engine]]\nname = 'own'\n[[engine.mark]]\ntext = '{ENDLESS}'\n")
    deep = tmp_path / ("a" * 200) / ("a" * 200) / "b.sqlite"
    deep.parent.mkdir(parents=True)
    deep.write_bytes(report.read_bytes())
    arguments: dict[str, tuple[str | Path, ...]] = {
        "--phase": ("analyze", report, "--phase", f"x={ENDLESS}"),
        "--phase-rules": ("analyze", report, "--phase-rules", rules),
        "--before": ("whatif", report, "--framework-minus", "1us", "--before", ENDLESS),
        "--tag-from": ("batch", deep, "--store", tmp_path / "s.db", "--tag-from", "(?P<k>(a|aa)+)$"),
    }
    began = time.monotonic()
    said = one_line(run_program(*arguments[option]))
    assert time.monotonic() - began < 20
    assert "takes more than" in said
    assert (str(rules) if option == "--phase-rules" else option) in said


@pytest.mark.parametrize("text", ["(", "a{2", "[", "\\"])
def test_no_pattern_is_refused(text: str) -> None:
    import re

    try:
        re.compile(text)
    except re.error:
        with pytest.raises(TaxbreakError, match=r"^--phase x: not a regular expression"):
            UserPattern.parse(text, "--phase x")


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("^decode_", "decode_12"), (r"(?P<n>\d+)$", "step 12"), ("(?i)PREFILL", "prefill"), (r"\bmm\b", "aten::mm"),
        (r"(?<!a)b", "ab b"), ("é", "café"), (r"^(?:a|b)*c", "ababc"), ("x", "y"), ("", "y"),
    ],
)  # fmt: skip
def test_patterns_mean_what_they_mean_to_python(pattern: str, text: str) -> None:
    import re
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = re.search(pattern, text)
    found = UserPattern.parse(pattern, "--phase").search(text)
    assert (found and (found.span(), found.groupdict())) == (expected and (expected.span(), expected.groupdict()))


def test_patterns_travel_to_workers() -> None:
    pattern = UserPattern.parse("^(?P<n>x)", "--phase")
    copy = pickle.loads(pickle.dumps(pattern))
    assert copy == pattern
    assert copy.search("xy")["n"] == "x"
