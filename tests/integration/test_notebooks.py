"""The example notebooks run, show no error, and are committed as executed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.reports import ROOT

nbformat = pytest.importorskip("nbformat", reason="notebooks need the extra: pip install 'taxbreak-nsys[notebook]'")
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))


def test_there_is_a_notebook_and_a_page_for_each_function() -> None:
    names = {"analyze", "compare", "whatif", "gate"}
    assert {path.stem for path in NOTEBOOKS} == names
    assert {path.stem for path in (ROOT / "docs" / "python").glob("*.md")} == names


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_is_committed_executed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    held = nbformat.read(path, as_version=4)
    run = nbformat.read(path, as_version=4)
    NotebookClient(
        run, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    for before, after in zip(held.cells, run.cells, strict=True):
        if before.cell_type == "code":
            assert before.execution_count is not None, "committed without having been run"
            assert [_kinds(each) for each in before.outputs] == [_kinds(each) for each in after.outputs]
            assert all(each.output_type != "stream" for each in after.outputs), "prints a warning"


def _kinds(output: dict[str, object]) -> tuple[object, list[str]]:
    data = output.get("data", {})
    assert isinstance(data, dict)
    return output["output_type"], sorted(data)
