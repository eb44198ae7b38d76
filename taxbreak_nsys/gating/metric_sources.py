"""Where rules come from: the command line, a TOML file, or pyproject.toml."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.gating.noise_rules import NoiseRule, parse_noise_rule
from taxbreak_nsys.gating.rules import Rule, parse_rule
from taxbreak_nsys.read.input_files import read_user_toml

PYPROJECT = "pyproject.toml"
TABLE = "tool.taxbreak-nsys.gate"


def find_rules(given: Sequence[str], file: Path | None, folder: Path) -> tuple[list[Rule | NoiseRule], Path | None]:
    """Return the rules, and the path of the baseline that the rules file names (None if it names none).

    The rules in `given` come first, then the rules in `file`; without either, the rules in pyproject.toml in `folder`
    apply. Raises TaxbreakError if there are no rules, or if a rule cannot be parsed.
    """
    texts, baseline = list(given), None
    if file is None and not texts and (folder / PYPROJECT).is_file():
        file = folder / PYPROJECT
    if file is not None:
        table = _table(file)
        listed = table.get("rules", [])
        if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
            raise TaxbreakError(f"{file}: 'rules' must be a list of strings")
        texts += listed
        named = table.get("baseline")
        if named is not None and not isinstance(named, str):
            raise TaxbreakError(f"{file}: 'baseline' must be the name of a file")
        baseline = file.parent / named if named else None
    if not texts:
        raise TaxbreakError(
            f"no rules: give --rule 'decode.hdbi >= 0.2', --rules FILE.toml, or rules in [{TABLE}] of {PYPROJECT}"
        )
    return [parse_any_rule(text) for text in texts], baseline


def parse_any_rule(text: str) -> Rule | NoiseRule:
    """Parse a rule of either kind; raises TaxbreakError with one line that says what is wrong."""
    return parse_noise_rule(text) or parse_rule(text)


def _table(file: Path) -> dict[str, Any]:
    """Return the table [tool.taxbreak-nsys.gate] if the file has it, else the file's top level."""
    data = read_user_toml(file, "--rules", "docs/gate.md")
    table: Any = data
    for name in TABLE.split("."):
        table = table.get(name) if isinstance(table, dict) else None
    if table is None and file.name == PYPROJECT:
        return {}
    rules_table = data if table is None else table
    if not isinstance(rules_table, dict):
        raise TaxbreakError(f"{file}: [{TABLE}] must be a table")
    return rules_table
