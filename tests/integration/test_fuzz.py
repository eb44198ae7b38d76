"""What fuzzing found stays mended, and a short campaign finds nothing new."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.reports import ROOT

sys.path.insert(0, str(ROOT))

from fuzz.mutations import Case, build_case
from fuzz.oracle import judge
from fuzz.seeds import NAMES, seed

CORPUS = sorted((ROOT / "fuzz" / "corpus").glob("*.jsonl"))
FOUND = [line for file in CORPUS for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", NAMES)
def test_seeds_give_figures(name: str, tmp_path: Path) -> None:
    path = tmp_path / "seed.sqlite"
    path.write_bytes(seed(name))
    assert judge(path, "", outputs=True) == ("figures", "")


@pytest.mark.parametrize("number", range(len(FOUND)))
def test_what_was_found(number: int, tmp_path: Path) -> None:
    case = Case.from_json(FOUND[number])
    path = tmp_path / "case.sqlite"
    path.write_bytes(build_case(case))
    outcome, what = judge(path, case.options, outputs=True)
    assert outcome != "finding", what


def test_a_short_campaign(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fuzz", "--cases", "60", "--seed", "11", "--findings", tmp_path / "found.jsonl"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout
    assert "60 cases from seed 11" in done.stdout
    assert "0 findings" in done.stdout
