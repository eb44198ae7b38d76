"""From captures to JSON: analyse each, keep what the document needs."""

from __future__ import annotations

import json
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

Record = dict[str, Any]
Ints = list[int]

KEPT = ("instances", "wall_ns", "wall_median_ns", "kernels", "launches", "states_ns", "device", "taxbreak", "corrected")
FIGURES = {
    "framework": ("python", "dispatch", "runtime"),
    "library": ("library",),
    "launch": ("launch",),
    "os_wait": ("os_wait",),
}
"""What injected steps are compared by: figure to the host states that it is the sum of."""

COLUMN = {"framework": "spin", "blocked": "asleep", "native": "before", "library": "inside"}
"""Which column of inject.py's own measurements says what a kind of step was given."""


def extract(captures: Path, folder: Path) -> None:
    """Analyse every capture of a folder and write what the document needs to another, a file a capture."""
    folder.mkdir(parents=True, exist_ok=True)
    reports = sorted(captures.glob("*.sqlite"))
    with ProcessPoolExecutor() as pool:
        for report, text in zip(reports, pool.map(_text_of, reports), strict=True):
            (folder / f"{report.stem}.json").write_text(text)
            print(f"{folder.name}/{report.stem}", file=sys.stderr)


def _text_of(report: Path) -> str:
    return as_text(record_of(report, beside(report, "times")))


def as_text(record: Record) -> str:
    """Return JSON that is indented, but with each list of numbers on one line."""
    text = json.dumps(record, indent=1)
    return re.sub(r"\[[-\d.,\s]+\]", lambda found: "".join(found[0].split()), text) + "\n"


def beside(report: Path, what: str) -> Path | None:
    """Return NAME.times.json (or .truth.json) of a capture, or that of the name before a dash."""
    stem = report.stem
    while stem:
        found = report.with_name(f"{stem}.{what}.json")
        if found.exists():
            return found
        stem = stem.rpartition("-")[0]
    return None


def record_of(report: Path, times: Path | None) -> Record:
    """Return what the document needs of one capture, with each kind of evidence that it has."""
    from taxbreak_nsys import analyze

    # inject.py is there for one evidence a capture; the shim's own ranges would decide otherwise
    injected = report.stem.startswith("inject")
    wanted = {"inject-samples": "samples", "inject-operators": "subtractive"}.get(report.stem)
    best = analyze(report, reference=times, evidence=wanted)
    record: Record = {
        "report": {key: value for key, value in best.to_dict()["report"].items() if key not in ("path", "warnings")},
        "t_sys_ns": best.t_sys_ns,
        "t_sys_source": best.t_sys_source,
        "reference_ms": {
            label: entry["median_ms"] for label, entry in (json.loads(times.read_text()) if times else {}).items()
        },
        "evidence": {"best": _phases(best)},
    }
    truth = report.with_name(f"{report.stem}.truth.json")
    if injected and truth.exists():
        record["injected"] = injected_of(best, json.loads(truth.read_text()), pairs=wanted is None)
        bare = report.with_name("inject-bare.truth.json")
        if bare.exists():
            record["injected"]["bare_added_ns"] = bare_added(json.loads(bare.read_text()))
    elif not injected:
        record["evidence"] |= _other_evidence(report, times, record["evidence"]["best"])
    if report.stem.startswith("graph-node"):
        record["whatif_graphs"] = graphs_of(best)
    return record


def _phases(result: Any) -> Record:
    """Return the entries by phase, with the samples' own totals."""
    phases: Record = {}
    for entry in result.to_dict()["phases"]:
        kept = {key: entry.get(key) for key in KEPT}
        if entry.get("samples"):
            wanted = ("count", "period_ns", "profiler_ns", "profiler_share", "off_cpu_ns", "library_missed_ns")
            kept["samples"] = {key: entry["samples"].get(key) for key in wanted}
        phases[entry["phase"]] = kept
    return phases


def _other_evidence(report: Path, times: Path | None, best: Record) -> Record:
    """Return the phases under each weaker evidence that the report has as well."""
    from taxbreak_nsys import TaxbreakError, analyze

    found: Record = {}
    for evidence in ("ranges", "samples", "subtractive"):
        if all(entry["taxbreak"]["evidence"] == evidence for entry in best.values()):
            found[evidence] = best
            continue
        try:
            phases = _phases(analyze(report, reference=times, evidence=evidence))
        except TaxbreakError:
            continue
        if all(entry["taxbreak"]["evidence"] == evidence for entry in phases.values()):
            found[evidence] = phases
    return found


def graphs_of(result: Any) -> list[Record]:
    """Return what `whatif --graphs` predicts for each phase that launches kernels one by one."""
    from taxbreak_nsys.replay.prediction import Replay
    from taxbreak_nsys.replay.scenarios import Scenario

    eager = {entry.phase for entry in result.entries if entry.launches.kernel and not entry.launches.graph}
    predictions = Replay(result).predict(Scenario(graphs=True))
    return [prediction.to_dict() for prediction in predictions if prediction.phase in eager]


# ----------------------------------------------------------------------------------------------- injection


def in_order(result: Any) -> tuple[list[str], dict[str, Ints]]:
    """Return the label of each step in order of time, and its figures, ns."""
    import numpy as np

    from taxbreak_nsys.model.name_rules import STATES

    instances, states = result.instances, result.step_sums.states
    order = np.argsort(instances.start, kind="stable")
    at = {name: number for number, name in enumerate(STATES)}
    figures = {
        figure: states[order][:, [at[name] for name in names]].sum(axis=1).tolist() for figure, names in FIGURES.items()
    }
    return [instances.labels[code] for code in instances.label[order]], figures


def injected_of(result: Any, truth: Record, *, pairs: bool) -> Record:
    """Return what inject.py's steps were given; with `pairs`, also what each has more than those around it.

    Raises ValueError where the report's steps are not those that inject.py ran: a capture cut short.
    """
    labels, figures = in_order(result)
    rows = truth["steps"]
    if labels != [row[0] for row in rows]:
        raise ValueError(f"{len(labels)} steps in the report, {len(rows)} in inject.py's own measurements")
    spent = {name: [row[at] for row in rows] for at, name in enumerate(truth["columns"]) if at}
    return {
        "products": truth["products"],
        "steps": len(labels),
        "calls_a_product": sorted({row[-1] / truth["products"] for row in rows if row[0].endswith(")")}),
        "given_ns": _given(labels, spent),
        # where samples decide, a step alone has too few of them to say anything
        "pairs": _pairs(labels, figures, spent) if pairs else None,
        "apart": _apart(labels, figures, spent) if pairs else None,
    }


def _given(labels: list[str], spent: dict[str, Ints]) -> Record:
    """Return what all steps of a label were given together, ns, and how many they are."""
    given: Record = {}
    for at, label in enumerate(labels):
        entry = given.setdefault(label, {"steps": 0, **dict.fromkeys(COLUMN.values(), 0)})
        entry["steps"] += 1
        for column in COLUMN.values():
            entry[column] += spent[column][at]
    return given


def _pairs(labels: list[str], figures: dict[str, Ints], spent: dict[str, Ints]) -> Record:
    """Return the differences to the mean of the base before and the base after."""

    def more(values: Ints, at: int) -> int:
        return round(values[at] - (values[at - 1] + values[at + 1]) / 2)

    pairs: Record = {}
    for at, label in enumerate(labels):
        name, bracket, repeat = label.rpartition(" (")
        if not bracket or name == "base":
            continue
        entry = pairs.setdefault(name, {key: [] for key in ("repeat", "added", *figures)})
        entry["repeat"].append(int(repeat.rstrip(")")))
        kind = name.split()[0]
        entry["added"].append(more(spent[COLUMN[kind]], at))
        if kind == "blocked":
            entry.setdefault("call", []).append(more(spent["nap"], at))
        for figure, values in figures.items():
            entry[figure].append(more(values, at))
    return pairs


def _apart(labels: list[str], figures: dict[str, Ints], spent: dict[str, Ints]) -> Record:
    """Return the differences between a product with the cost inside its phase and the one before, with it outside."""
    pairs: Record = {}
    for at, label in enumerate(labels):
        name, _, place = label.rpartition(" ")
        if place != "inside":
            continue
        entry = pairs.setdefault(name, {})
        kind = name.split()[0]
        columns = {"added": spent[COLUMN[kind]], **figures} | ({"call": spent["nap"]} if kind == "blocked" else {})
        for key, values in columns.items():
            entry.setdefault(key, []).append(values[at] - values[at - 1])
    return pairs


def bare_added(truth: Record) -> Record:
    """Return what a product was given without a profiler, by kind and size: the median over the steps, ns."""
    rows: dict[str, list[float]] = {}
    base: dict[str, list[float]] = {}
    for label, *values in truth["steps"]:
        spent = dict(zip(truth["columns"][1:], values, strict=True))
        name, bracket, _ = label.rpartition(" (")
        if name == "base":
            for column, value in spent.items():
                base.setdefault(column, []).append(value / truth["products"])
        elif bracket:
            rows.setdefault(name, []).append(spent[COLUMN[name.split()[0]]] / truth["products"])
    return {name: median(values) - median(base[COLUMN[name.split()[0]]]) for name, values in rows.items()}
