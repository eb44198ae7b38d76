"""The validation: from captures to docs/data/*.json, and from those to docs/validation.md.

    python docs/validation.py extract CAPTURES MACHINE     # analyse what examples/capture_all.sh wrote
    python docs/validation.py render                       # write docs/validation.md from docs/data

Every number in the document is computed by `render` from the JSON beside it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
STATES_OF = {"framework": "python", "library": "library", "blocked": "os_wait"}
SIZES = (10, 30, 100)
PRODUCTS = 200

Record = dict[str, Any]


# ---------------------------------------------------------------------------------------------- extract


def extract(captures: Path, machine: str) -> None:
    """Analyse every capture of a folder and keep what the document needs, a file a capture."""
    folder = DATA / machine
    folder.mkdir(parents=True, exist_ok=True)
    for report in sorted(captures.glob("*.sqlite")):
        record = record_of(report, times_beside(report))
        (folder / f"{report.stem}.json").write_text(json.dumps(record, indent=1) + "\n")
        print(f"{machine}/{report.stem}", file=sys.stderr)


def times_beside(report: Path) -> Path | None:
    """Return the un-profiled times of the same workload: NAME.times.json, or that of the name before a dash."""
    stem = report.stem
    while stem:
        found = report.with_name(f"{stem}.times.json")
        if found.exists():
            return found
        stem = stem.rpartition("-")[0]
    return None


def record_of(report: Path, times: Path | None) -> Record:
    """Return what the document needs of one capture, with each kind of evidence that it has."""
    from taxbreak_nsys import TaxbreakError, analyze

    best = analyze(report, reference=times)
    record: Record = {
        "report": {key: value for key, value in best.to_dict()["report"].items() if key not in ("path", "warnings")},
        "t_sys_ns": best.t_sys_ns,
        "t_sys_source": best.t_sys_source,
        "reference_ms": {
            label: entry["median_ms"] for label, entry in (json.loads(times.read_text()) if times else {}).items()
        },
        "steps": steps_of(best),
        "products": products_of(best) if report.stem.startswith("inject") else None,
        "evidence": {},
    }
    for evidence in ("best", "ranges", "samples", "subtractive", "none"):
        try:
            result = best if evidence == "best" else analyze(report, reference=times, evidence=evidence)
        except TaxbreakError as error:
            print(f"{report.stem}: {evidence}: {error}", file=sys.stderr)
            continue
        phases = {entry["phase"]: entry for entry in result.to_dict()["phases"]}
        if evidence == "best" or all(entry["taxbreak"]["evidence"] == evidence for entry in phases.values()):
            keep = ("instances", "wall_ns", "wall_median_ns", "kernels", "launches", "states_ns", "device", "taxbreak")
            record["evidence"][evidence] = {
                label: {key: entry.get(key) for key in (*keep, "corrected", "samples")}
                for label, entry in phases.items()
            }
    return record


def steps_of(result: Any) -> Record:
    """Return, by phase, each step's wall, states and device time in ns."""
    from taxbreak_nsys.words import STATES

    columns, steps = result.columns, result.columns.steps
    found: Record = {}
    for code, label in enumerate(columns.instances.labels):
        mine = columns.instances.label == code
        found[label] = {
            "wall_ns": steps.wall[mine].tolist(),
            "active_ns": steps.active[mine].tolist(),
            "kernels": steps.kernels[mine].tolist(),
        } | {name: steps.states[mine, index].tolist() for index, name in enumerate(STATES)}
    return found


def products_of(result: Any) -> Record:
    """Return, by phase, the medians over all products of the host time that led to a product's launch, ns."""
    import numpy as np
    from taxbreak_nsys.breakdown import host_time_before

    columns = result.columns
    framework, library = host_time_before(columns)
    instance = columns.launch_instance
    found: Record = {}
    for code, label in enumerate(columns.instances.labels):
        held = (instance >= 0) & (columns.mediation.reason > 0)
        held[held] = columns.instances.label[instance[held]] == code
        if not held.any():
            continue
        found[label] = {
            "products": int(held.sum()),
            "framework_ns": float(np.median(framework[held])),
            "library_ns": float(np.median(library[held])),
        }
    return found


# ----------------------------------------------------------------------------------------------- render


def load() -> dict[str, dict[str, Record]]:
    """Return the records: machine to capture to record."""
    return {
        folder.name: {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}
        for folder in sorted(DATA.iterdir())
        if folder.is_dir()
    }


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""
    lines = [list(head), *[[str(cell) for cell in row] for row in rows]]
    body = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([body[0], "|" + " --- |" * len(lines[0]), *body[1:]])


def ms(ns: float | None, digits: int = 2) -> str:
    """Return nanoseconds as milliseconds."""
    return "not measured" if ns is None else f"{ns / 1e6:.{digits}f}"


def added(record: Record, label: str, state: str) -> list[float]:
    """Return what a phase's steps have more of a state than the base's, repeat by repeat, ns."""
    steps = record["steps"]
    return [a - b for a, b in zip(steps[label][state], steps["base"][state], strict=True)]


def per_product(record: Record) -> str:
    """Cost added to each product against the median over all products, with the library's ranges as evidence."""
    rows = []
    base = record["products"]["base"]
    for target in ("framework", "library"):
        other = "library" if target == "framework" else "framework"
        for size in SIZES:
            entry = record["products"][f"{target} {size} us"]
            found = (entry[f"{target}_ns"] - base[f"{target}_ns"]) / 1000
            leaked = (entry[f"{other}_ns"] - base[f"{other}_ns"]) / 1000
            rows.append(
                (
                    f"{target} {size} us", entry["products"], f"{found:.2f}", f"{100 * (found / size - 1):+.1f} %",
                    f"{leaked:+.2f}", f"{100 * leaked / size:+.1f} %",
                )
            )  # fmt: skip
    head = ("phase", "products", "found, us a product", "off by", "in the other layer, us", "of what was added")
    return table(head, rows)


def injection(record: Record) -> str:
    """Cost added to a step against cost found, with the library's ranges as evidence.

    What was really added is the un-profiled wall of the phase less that of the base: a sleep lasts longer than
    asked for.
    """
    rows = []
    for layer, state in STATES_OF.items():
        for size in SIZES:
            label = f"{layer} {size} us"
            if label not in record["steps"]:
                continue
            bare = record["reference_ms"]
            cost = (bare[label] - bare["base"]) * 1e6
            found = added(record, label, state)
            others = {
                other: median(added(record, label, other))
                for other in record["steps"]["base"]
                if other not in (state, "wall_ns", "active_ns", "kernels")
            }
            worst = max(others, key=lambda name: abs(others[name]))
            rows.append(
                (
                    label, ms(cost), ms(median(found)), f"{ms(min(found))} to {ms(max(found))}",
                    f"{100 * (median(found) / cost - 1):+.1f} %", f"{worst} {100 * others[worst] / cost:+.1f} %",
                )
            )  # fmt: skip
    head = (
        "phase",
        "added un-profiled, ms a step",
        "found (median of 5)",
        "range",
        "off by",
        "largest change elsewhere",
    )
    return table(head, rows)


def injection_by_evidence(records: dict[str, Record]) -> str:
    """Cost found by each evidence, from the phases' layers: framework and library, ms a step."""
    rows = []
    captures = {"ranges": "inject", "samples": "inject-samples", "subtractive": "inject-operators"}
    for evidence, capture in captures.items():
        phases = records.get(capture, {}).get("evidence", {}).get(evidence)
        if not phases:
            continue

        def layer(label: str, key: str, phases: Record = phases) -> float:
            return phases[label]["taxbreak"][key] / phases[label]["instances"]

        for size in SIZES:
            cost = size * PRODUCTS * 1000
            for target in ("framework", "library"):
                label = f"{target} {size} us"
                framework = layer(label, "delta_ft_ns") - layer("base", "delta_ft_ns")
                library = layer(label, "delta_ct_ns") - layer("base", "delta_ct_ns")
                right, wrong = (framework, library) if target == "framework" else (library, framework)
                off, leaked = 100 * (right / cost - 1), 100 * wrong / cost
                rows.append(
                    (evidence, label, ms(cost), ms(framework), ms(library), f"{off:+.1f} %", f"{leaked:+.1f} %")
                )
    head = ("evidence", "phase", "added, ms", "delta_ft more by", "delta_ct more by", "off by", "in the other layer")
    return table(head, rows)


def models(records: dict[str, Record]) -> str:
    """Dense against mixture of experts."""
    rows = []
    for name, record in records.items():
        if not name.startswith(("llama", "olmoe", "qwen")):
            continue
        for label, entry in record["evidence"]["best"].items():
            layers, count = entry["taxbreak"], entry["instances"]
            if layers["hdbi"] is None:
                bare = record["reference_ms"].get(label)
                rows.append((name, label, "capture cut short", f"un-profiled {bare:.1f}", *["-"] * 6))
                continue
            corrected = (entry["corrected"] or {}).get("hdbi")
            rows.append(
                (
                    name, label, f"{entry['kernels'] / count:,.0f}", ms(entry["wall_median_ns"], 1),
                    *(ms((layers[key] or 0) / count, 1) for key in ("delta_ft_ns", "delta_ct_ns", "delta_kt_ns")),
                    ms((layers["t_device_active_ns"] or 0) / count, 1), f"{layers['hdbi']:.3f}",
                    f"{corrected:.3f}" if corrected is not None else "no reference",
                )
            )  # fmt: skip
    head = ("model", "phase", "kernels a step", "wall, ms", "delta_ft", "delta_ct", "delta_kt", "device", "HDBI",
            "HDBI corrected")  # fmt: skip
    return table(head, rows)


def sweep(record: Record) -> str:
    """HDBI over batch and prompt."""
    rows = []
    for label, entry in record["evidence"]["best"].items():
        phase, batch, prompt = label.rstrip(".").split()
        hdbi, corrected = entry["taxbreak"]["hdbi"], (entry["corrected"] or {}).get("hdbi")
        idle = (entry["device"]["idle_ns"] or 0) / entry["wall_ns"]
        rows.append((phase, int(batch[1:]), int(prompt[1:]), hdbi, corrected, idle, entry["wall_median_ns"]))
    shown = [
        (phase, batch, prompt, f"{hdbi:.3f}", f"{corrected:.3f}" if corrected is not None else "-", f"{100 * idle:.0f}",
         ms(wall, 1))
        for phase, batch, prompt, hdbi, corrected, idle, wall in sorted(rows)
    ]  # fmt: skip
    return table(("phase", "batch", "prompt", "HDBI captured", "corrected", "device idle, %", "wall, ms"), shown)


SETTINGS = {
    "settings-light": "cuda, nvtx",
    "settings-os": "and osrt from 1 us on",
    "settings-os-all": "and osrt without a threshold",
    "settings-ranges": "osrt and cuBLAS ranges",
    "settings-samples": "cuda, nvtx, samples at 8 kHz",
    "settings-operators": "osrt and operator ranges",
    "settings-operators-ranges": "osrt, operator ranges, cuBLAS ranges",
}


def settings(records: dict[str, Record]) -> str:
    """Captured against un-profiled wall, by trace settings."""
    rows = []
    for name, what in SETTINGS.items():
        if name not in records:
            continue
        entry = records[name]["evidence"]["best"]["decode"]
        bare = records[name]["reference_ms"]["decode"]
        corrected = entry["corrected"] or {}
        rows.append(
            (
                what, ms(entry["wall_median_ns"]), f"{bare:.2f}", f"{entry['wall_median_ns'] / 1e6 / bare:.2f}",
                f"{entry['taxbreak']['hdbi']:.3f}",
                f"{corrected['hdbi']:.3f}" if corrected.get("hdbi") is not None else "-",
            )
        )  # fmt: skip
    return table(("traced", "wall, ms", "un-profiled, ms", "dilation", "HDBI captured", "HDBI corrected"), rows)


def subtraction(records: dict[str, Record]) -> str:
    """The paper's Eq. 5 against cuBLAS' own ranges on one capture that has both."""
    record = records.get("settings-operators-ranges")
    if record is None:
        return "Not run."
    rows = []
    for label, entry in record["evidence"]["ranges"].items():
        ranges = entry["taxbreak"]["delta_ct_ns"]
        alone = record["evidence"].get("subtractive", {}).get(label)
        if alone is None:
            continue
        # what the ranges hold is in the `library` state whatever the evidence: the subtraction's own share is the rest
        moved = alone["taxbreak"]["delta_ct_ns"] - alone["states_ns"]["library"]
        count = entry["instances"]
        rows.append((label, ms(ranges / count), ms(moved / count), f"{moved / ranges:.2f}"))
    other = records.get("settings-operators")
    if other:
        for label, entry in other["evidence"]["best"].items():
            count = entry["instances"]
            ranges = record["evidence"]["ranges"][label]["taxbreak"]["delta_ct_ns"] / count
            found = entry["taxbreak"]["delta_ct_ns"] / count
            rows.append((f"{label}, operator ranges alone", ms(ranges), ms(found), f"{found / ranges:.2f}"))
    return table(("phase", "cuBLAS' ranges, ms a step", "the subtraction, ms a step", "ratio"), rows)


def graphs(records: dict[str, Record]) -> str:
    """The decode step eagerly and as a graph."""
    rows = []
    for name in ("graph-node", "graph-graph"):
        if name not in records:
            continue
        for label, entry in records[name]["evidence"]["best"].items():
            hdbi = entry["taxbreak"]["hdbi"]
            rows.append(
                (
                    name, label, ms(entry["wall_median_ns"]), f"{records[name]['reference_ms'][label]:.2f}",
                    entry["launches"]["kernel"] // entry["instances"], entry["launches"]["graph"] // entry["instances"],
                    f"{hdbi:.3f}" if hdbi is not None else "null: " + entry["taxbreak"]["hdbi_reason"],
                )
            )  # fmt: skip
    head = ("capture", "phase", "wall, ms", "un-profiled, ms", "kernel launches", "graph launches", "HDBI")
    return table(head, rows)


def machines(everything: dict[str, dict[str, Record]]) -> str:
    """The same captures on every machine."""
    rows = []
    for machine, records in everything.items():
        for name in ("null", "inject", "llama-3.2-1b", "llama-3.2-3b", "graph-node"):
            if name not in records:
                continue
            record = records[name]
            for label, entry in record["evidence"]["best"].items():
                if name == "inject" and label != "base":
                    continue
                bare = record["reference_ms"].get(label)
                hdbi = entry["taxbreak"]["hdbi"]
                rows.append(
                    (
                        name, label, machine, ms(entry["wall_median_ns"]), f"{bare:.2f}" if bare else "-",
                        ms((entry["taxbreak"]["t_device_active_ns"] or 0) / entry["instances"]),
                        record["t_sys_ns"], f"{hdbi:.3f}" if hdbi is not None else "null",
                    )
                )  # fmt: skip
    head = ("workload", "phase", "machine", "wall, ms", "un-profiled, ms", "device, ms a step", "T_sys, ns", "HDBI")
    return table(head, sorted(rows, key=lambda row: (row[0], row[1], row[2])))


def render() -> None:
    """Write docs/validation.md: the text of validation.in.md, each {{name}} replaced by its table."""
    everything = load()
    main = everything["h100"]
    parts: dict[str, Callable[[], str]] = {
        "per_product": lambda: per_product(main["inject"]),
        "per_product_h200": lambda: per_product(everything["h200"]["inject"]),
        "injection": lambda: injection(main["inject"]),
        "injection_by_evidence": lambda: injection_by_evidence(main),
        "models": lambda: models(main),
        "sweep": lambda: sweep(main["sweep"]),
        "settings": lambda: settings(main),
        "subtraction": lambda: subtraction(main),
        "graphs": lambda: graphs(main),
        "machines": lambda: machines(everything),
        "capture": lambda: re.sub(r"^#+ ", "#### ", (DATA / "capture-h100.md").read_text(), flags=re.MULTILINE),
    }
    text = (HERE / "validation.in.md").read_text()
    for name, part in parts.items():
        text = text.replace("{{" + name + "}}", part())
    (HERE / "validation.md").write_text(text)


def main() -> None:
    """Run one of the two commands."""
    if len(sys.argv) == 4 and sys.argv[1] == "extract":
        extract(Path(sys.argv[2]), sys.argv[3])
    elif sys.argv[1:] == ["render"]:
        render()
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
