"""Answers of bounded size: rows and phases that do not fit are cut from the end, and the answer counts them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

LONGEST_TEXT = 240
"""Longer texts (template kernels, hostile ranges) are cut, followed by the number of characters left out."""
DECIMALS = 5

_PHASE_KEYS_LEFT_OUT = frozenset({"in_os_ns", "steps"})


def as_text(data: Mapping[str, Any]) -> str:
    """Return compact JSON."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def bounded(data: dict[str, Any], key: str, most_bytes: int) -> str:
    """Return JSON of at most `most_bytes`; rows are cut from the end of the list `data[key]` until it fits.

    `left_out` then counts them. If the answer is too large even without rows, it is an `error` that says so.
    """
    data = _clipped(data)
    rows, already = data[key], data.get("left_out", 0)
    kept = len(rows)
    while True:
        shown = data | {key: rows[:kept]}
        if left_out := already + len(rows) - kept:
            shown["left_out"] = left_out
        text = as_text(shown)
        size = len(text.encode())
        if size <= most_bytes:
            return text
        if kept == 0:
            return as_text({"error": f"the answer needs {size} bytes and may have {most_bytes}; ask for less"})
        kept = min(kept - 1, kept * most_bytes // size)


def phase_answer(document: Mapping[str, Any], shown_path: Callable[[str], str]) -> dict[str, Any]:
    """Return the JSON of an analysis without details: no single threads if a phase has an entry for all of them."""
    report = document["reports"][0]
    facts = report["report"]
    phases = report["phases"]
    summed = {phase["phase"] for phase in phases if phase["thread"] is None}
    return {
        "report": shown_path(facts["path"]),
        "gpu": facts.get("gpu"),
        "nsys_version": facts.get("nsys_version"),
        "traced": facts.get("traced"),
        "warnings": facts["warnings"],
        "t_sys_ns": report["t_sys_ns"],
        "t_sys_source": report["t_sys_source"],
        "outside": report["outside"],
        "phases": [
            _phase(phase) for phase in phases if phase["thread"] is None or phase["phase"] not in summed
        ],
    }  # fmt: skip


def _phase(phase: Mapping[str, Any]) -> dict[str, Any]:
    shown = {key: value for key, value in phase.items() if key not in _PHASE_KEYS_LEFT_OUT}
    if shown.get("samples"):
        shown["samples"] = {key: value for key, value in shown["samples"].items() if key != "states"}
    return shown


def table_answer(rows: Sequence[Mapping[str, Any]], limit: int) -> dict[str, Any]:
    """Return the first `limit` rows as `columns` and `rows`; `left_out` counts the others, if there are any."""
    columns = list(rows[0]) if rows else []
    data: dict[str, Any] = {"columns": columns, "rows": [[row[name] for name in columns] for row in rows[:limit]]}
    if len(rows) > limit:
        data["left_out"] = len(rows) - limit
    return data


def lever_answer(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return per phase what halving and removing each lever's time would save, best lever first."""
    phases: dict[tuple[Any, ...], dict[str, Any]] = {}
    for point in document["points"]:
        key = (point["phase"], point["process"], point["thread"])
        phase = phases.setdefault(
            key,
            {name: point[name] for name in ("phase", "process", "thread", "instances", "wall_ns", "hdbi")}
            | {"levers": {}},
        )
        lever = phase["levers"].setdefault(point["lever"], {"lever": point["lever"]})
        share = "half_saves_share" if point["factor"] == 0.5 else "all_saves_share"
        lever[share] = point["saved_share"]
        if point["factor"] == 0.0:
            lever["all_predicted_wall_ns"] = point["predicted_wall_ns"]
            lever["all_predicted_hdbi"] = point["predicted_hdbi"]
    for change in document.get("changes", ()):
        key = (change["phase"], change["process"], change["thread"])
        if key in phases and change["reason"] is None:
            phases[key]["levers"][change["change"]] = {
                "lever": change["change"],
                "all_saves_share": change["saved_share"],
                "all_predicted_wall_ns": change["predicted_wall_ns"],
                "all_predicted_hdbi": change["predicted_hdbi"],
            }
    refused = [
        {name: row[name] for name in ("phase", "process", "thread", "instances", "wall_ns", "hdbi", "reason")}
        for row in document["not_predicted"]
    ]
    return [phase | {"levers": list(phase["levers"].values())} for phase in phases.values()] + refused


def comparison_answer(document: Mapping[str, Any], shown_path: Callable[[str], str], moved: int) -> dict[str, Any]:
    """Return a comparison with its changes as rows, and the first `moved` kernels and operators per phase."""
    return {
        "before": [shown_path(path) for path in document["before"]],
        "after": [shown_path(path) for path in document["after"]],
        "host_comparable": document["host_comparable"],
        "conditions": document["conditions"],
        "only_before": document["only_before"],
        "only_after": document["only_after"],
        "phases": [
            {key: value for key, value in phase.items() if key not in ("changes", "moved")}
            | {
                "changes": table_answer(phase["changes"], len(phase["changes"])),
                "moved": table_answer(phase["moved"], moved),
            }
            for phase in document["phases"]
        ],
    }


def _clipped(value: Any) -> Any:
    """Return data with long texts cut and floats rounded to `DECIMALS`: sixteen digits would only cost tokens."""
    if isinstance(value, float):
        return round(value, DECIMALS) if math.isfinite(value) else None
    if isinstance(value, str):
        rest = len(value) - LONGEST_TEXT
        return value if rest <= 0 else f"{value[:LONGEST_TEXT]}…(+{rest} characters)"
    if isinstance(value, dict):
        return {_clipped(key): _clipped(inner) for key, inner in value.items()}
    return [_clipped(inner) for inner in value] if isinstance(value, list) else value
