"""The pytest plugin: assertions about a report's metrics read well and fail with the table."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.reports import ROOT

REPORT = ROOT / "sample_reports" / "llama-1b.sqlite"
GRAPHS = ROOT / "sample_reports" / "graph-graph.sqlite"


def run(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run a test with this body in a session of its own, which has the plugin as the package is installed."""
    (folder / "test_it.py").write_text(f"def test_it(taxbreak):\n    {body}\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
    )  # fmt: skip


def test_a_rule_that_holds_passes(tmp_path: Path) -> None:
    body = f"r = taxbreak({str(REPORT)!r}); assert 0 < r.decode.hdbi < 1; assert r['prefill'].kernels == 678"
    assert run(tmp_path, body).returncode == 0


def test_a_rule_that_is_broken_fails_with_the_table(tmp_path: Path) -> None:
    done = run(tmp_path, f"assert taxbreak({str(REPORT)!r}).decode.hdbi > 0.3")
    assert done.returncode == 1
    assert "assert decode.hdbi > 0.3" in done.stdout
    assert "decode.hdbi is 0.059" in done.stdout
    assert "framework (delta_ft)" in done.stdout


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (f"taxbreak({str(REPORT)!r}).decod.hdbi", "no phase 'decod'; the phases are: prefill, decode"),
        (f"taxbreak({str(REPORT)!r}).decode.hdb", "no metric 'hdb'; nearest: hdbi"),
        (f"taxbreak({str(GRAPHS)!r}).decode_graph.hdbi", "decode_graph.hdbi is not measured: "),
        ("taxbreak('none.sqlite')", "none.sqlite: no such file"),
    ],
)
def test_what_cannot_be_checked_is_one_line(tmp_path: Path, expression: str, message: str) -> None:
    done = run(tmp_path, f"assert {expression} > 0")
    assert done.returncode == 1
    assert message in done.stdout


def test_the_plugin_is_light() -> None:
    code = (
        "import sys, taxbreak_nsys.pytest_plugin; print([m for m in ('numpy', 'pyarrow', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
