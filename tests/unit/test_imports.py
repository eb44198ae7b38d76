"""Imports run one way through the package: from a report's columns to the command line, never back."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "taxbreak_nsys"

STAGES = (
    *("errors", "arrays", "model", "read", "phases", "options", "measure", "result", "totals", "attribution"),
    *("replay", "verdict", "diagnostics", "pipeline", "output", "comparison", "store", "gating", "nsys", "scrub"),
    *("capture", "batch", "recipe", "notebook", "api", "pytest_plugin", "agent", "cli"),
)
"""Folders and top-level modules in the order of the data's way: each imports only from those before it."""

APART = {"__init__", "__main__", "phase_marker"}
"""Doors to the package, and what runs inside the profiled program."""


def imports() -> Iterator[tuple[str, str, str]]:
    """Yield (file, its stage, stage that it imports), imports for type checkers alone included."""
    for file in sorted(PACKAGE.rglob("*.py")):
        stage = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in modules:
                parts = module.split(".")
                if parts[0] == "taxbreak_nsys" and len(parts) > 1:
                    yield str(file.relative_to(PACKAGE)), stage, parts[1]


def test_every_stage_has_its_place() -> None:
    present = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert present - APART == set(STAGES)


def test_imports_run_one_way() -> None:
    back = [
        f"{file}: {stage} imports {other}"
        for file, stage, other in imports()
        if stage not in APART and other != stage and STAGES.index(other) >= STAGES.index(stage)
    ]
    assert not back, "\n".join(back)


def test_top_of_the_package_is_small() -> None:
    assert len(list(PACKAGE.glob("*.py"))) < 10


def test_files_and_classes_have_names_of_their_own() -> None:
    files = Counter(p.name for p in PACKAGE.rglob("*.py") if p.name != "__init__.py")
    classes: Counter[str] = Counter()
    for file in PACKAGE.rglob("*.py"):
        body = ast.parse(file.read_text(encoding="utf-8")).body
        classes.update(node.name for node in body if isinstance(node, ast.ClassDef))
    assert not [name for names in (files, classes) for name, count in names.items() if count > 1]


def test_more_than_four_fields_are_named() -> None:
    trees = {file.name: ast.parse(file.read_text(encoding="utf-8")) for file in PACKAGE.rglob("*.py")}
    classes = {node.name for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    unnamed = [
        f"{name}:{node.lineno}: {node.func.id}"
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id in {*classes, "cls"} and len(node.args) > 4
    ]
    assert not unnamed, "\n".join(unnamed)


def test_no_module_is_much_over_300_lines() -> None:
    long = {p.name: len(p.read_text(encoding="utf-8").splitlines()) for p in PACKAGE.rglob("*.py")}
    assert not {name: lines for name, lines in long.items() if lines > 400}
