"""The outputs that the documentation shows are those of the program."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

DOCS = Path(__file__).resolve().parents[2] / "docs"


def _examples() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_examples", DOCS / "examples.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_outputs_shown_are_the_programs() -> None:
    examples = _examples()
    pages = examples.pages()
    assert DOCS / "reading.md" in pages
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert examples.with_examples(text) == text, f"{page.name} is out of date; run: make examples"
