"""Writes docs/json.md from the JSON schema in the package: `python docs/json_page.py`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from taxbreak_nsys.model.metric_names import METRICS, PER_STEP
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.result import schema_path

PAGE = Path(__file__).with_name("json.md")

HEAD = """# JSON output

This page is generated from the schema `{name}` in the package by `docs/json_page.py`; a test holds that they agree.

- `-f json` writes one document, however many reports there are: `schema`, `tool_version`, and the list `reports`.
- `-f jsonl` writes one line per report: the same object with `schema` and `tool_version` in front.
  `Result.to_dict()` and `Result.to_json()` of the Python API give that object.
- With `-r` (other than `taxbreak_sum`) an object holds `report` and the rows of each listing under its name.

Keys are in snake_case with the unit in the name. Times are integer nanoseconds. What was not measured is null, never 0,
and a reason stands beside it. Fields may be added without a new `schema`; readers must ignore those they do not know.
The schema (JSON Schema 2020-12) is at `importlib.resources.files("taxbreak_nsys") / "data" / "{name}"`.

```
taxbreak-nsys run.sqlite -f json | jq '.reports[0].phases[] | [.phase, .taxbreak.hdbi]'
taxbreak-nsys *.sqlite -f jsonl | jq -r '[.report.path, .phases[0].wall_median_ns] | @tsv'
```
"""

NAMES = f"""## Names of metrics

A metric has one name in all outputs. Gate rules, trends and results stores use the short name; its path in the JSON
object of a phase is the column of `Result.phases` as well, and rules and trends accept it, too. A sum over the steps of
a phase also exists per step: `{PER_STEP}` behind either name, as `wall_ns{PER_STEP}`.

| short name | path in a phase | column of `taxbreak_sum` | per step |
| --- | --- | --- | --- |
"""


def page() -> str:
    """Return the page."""
    schema = json.loads(schema_path().read_text(encoding="utf-8"))
    parts = [HEAD.format(name=schema_path().name)]
    for name, definition in [("document", schema), *schema["$defs"].items()]:
        if name != "line":
            parts.append("\n".join(_table(name, definition)) + "\n")
    rows = [f"| `{m.name}` | `{m.path}` | {m.title or '-'} | {'yes' if m.summed else 'no'} |" for m in METRICS]
    first = next(i for i, metric in enumerate(METRICS) if metric.name == f"{STATES[0]}_ns")
    kept = [*rows[:first], rows[first], rows[first + len(STATES)]]
    states = ", ".join(f"`{state}`" for state in STATES[1:])
    parts.append(NAMES + "\n".join(kept) + f"\n\nThe last two lines stand for the other states as well: {states}.\n")
    return "\n".join(parts)


def _table(name: str, definition: dict[str, Any]) -> Iterator[str]:
    yield f"## `{name}`\n"
    yield f"{definition['description']}\n"
    yield "| field | type | meaning |"
    yield "| --- | --- | --- |"
    for key, field in definition["properties"].items():
        yield f"| `{key}` | {_type(field)} | {field['description'].replace('|', chr(92) + '|')} |"


def _type(field: dict[str, Any]) -> str:
    """Return a field's type in words."""
    if "const" in field:
        return f"`{field['const']}`"
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name})"
    if "anyOf" in field:
        return " or ".join(_type(choice) for choice in field["anyOf"])
    kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
    words = []
    for kind in kinds:
        inner = (
            field.get("items") if kind == "array" else field.get("additionalProperties") if kind == "object" else None
        )
        words.append(f"{kind} of {_type(inner)}" if inner else kind)
    return " or ".join(words)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
