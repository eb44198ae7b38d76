"""The host's call tree in the formats of flame graph viewers: speedscope JSON and collapsed stacks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.errors import TaxbreakError

if TYPE_CHECKING:
    from taxbreak_nsys.result import Result

SCHEMA = "https://www.speedscope.app/file-format-schema.json"

Row = Mapping[str, Any]


def stacks(result: Result, *, exposed: bool = False) -> Iterator[tuple[Row, list[str], int]]:
    """Yield each stack with self time: (row of its leaf, names from layer to leaf, self time in ns).

    With `exposed`, only the time in which the device was idle counts. Raises TaxbreakError if the analysis computed no
    call tree.
    """
    rows = result.details.call_tree
    if rows is None:
        raise TaxbreakError(f"{result.report.path}: analysed without the call tree; ask for it in Options.tables")
    names: list[list[str]] = []
    entry: tuple[Any, ...] | None = None
    for row in rows:
        key = (row["phase"], row["process"], row["thread"])
        if key != entry:
            names, entry = [], key
        caller = [row["layer"]] if row["parent"] is None else names[row["parent"]]
        names.append([*caller, frame_name(row)])
        ns = row["self_exposed_ns"] if exposed else row["self_ns"]
        if ns:
            yield row, names[-1], ns


def frame_name(row: Row) -> str:
    """Return a frame's name: the symbol, with its module if the symbol is only a placeholder such as `[unknown]`."""
    return f"{row['symbol']} ({row['module']})" if row["symbol"].startswith("[") and row["module"] else row["symbol"]


def collapsed_stacks(results: Sequence[Result]) -> str:
    """Return one line per stack, `phase;layer;caller;…;leaf ns`: the input format of flamegraph.pl."""
    lines = [
        ";".join(_without_separators(name) for name in (row["phase"], *names)) + f" {ns}"
        for result in results
        for row, names, ns in stacks(result)
    ]
    return "".join(f"{line}\n" for line in lines)


def _without_separators(name: str) -> str:
    return "".join(" " if c in ";\r\n" else c for c in name)


def speedscope(results: Sequence[Result]) -> str:
    """Return speedscope's JSON: two profiles per phase and thread, of all time and of exposed time; weights in ns."""
    frames: dict[tuple[str, str], int] = {}
    profiles = []
    for result in results:
        for exposed in (False, True):
            profiles += _profiles(result, frames, exposed=exposed, several=len(results) > 1)
    from taxbreak_nsys import __version__

    return json.dumps(
        {
            "$schema": SCHEMA,
            "name": ", ".join(result.report.path for result in results),
            "exporter": f"taxbreak-nsys {__version__}",
            "activeProfileIndex": 0,
            "shared": {"frames": [{"name": name} | ({"file": file} if file else {}) for name, file in frames]},
            "profiles": sorted(profiles, key=lambda profile: -profile["endValue"]),
        },
        ensure_ascii=False,
    )


def _profiles(
    result: Result, frames: dict[tuple[str, str], int], *, exposed: bool, several: bool
) -> list[dict[str, Any]]:
    profiles: dict[tuple[Any, ...], dict[str, Any]] = {}
    files: dict[str, str] = {frame_name(row): row["file"] for row in result.details.call_tree or ()}
    for row, names, ns in stacks(result, exposed=exposed):
        key = (row["phase"], row["process"], row["thread"])
        where = f"{result.report.path}: " if several else ""
        profile = profiles.setdefault(
            key,
            {
                "type": "sampled",
                "name": f"{where}{row['phase']} ({row['process']}/{row['thread']}){', exposed' if exposed else ''}",
                "unit": "nanoseconds",
                "startValue": 0,
                "endValue": 0,
                "samples": [],
                "weights": [],
            },
        )
        profile["samples"].append([frames.setdefault((name, files.get(name, "")), len(frames)) for name in names])
        profile["weights"].append(ns)
        profile["endValue"] += ns
    return list(profiles.values())
