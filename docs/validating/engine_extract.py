"""From captures of an engine to docs/data/engine: a small JSON file for each run, captured or bare."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from validating.engine_costs import costs_of, cycles_of_process
from validating.engine_truth import Truth, clock_offset, read_truth
from validating.extract import as_text

Record = dict[str, Any]

KEPT = (
    "instances",
    "wall_ns",
    "wall_median_ns",
    "range_ns",
    "between_ns",
    "kernels",
    "launches",
    "states_ns",
    "device",
    "taxbreak",
    "corrected",
    "verdict",
    "communication",
    "ranks",
    "steps",
)
"""What is kept of a phase of `to_dict()`."""
FORECASTS = {
    "graphs": ("--graphs",),
    "half": ("--framework", "0.5", "--library", "0.5", "--launch", "0.5", "--kernels", "0.5"),
}
"""Scenarios whose outcome was measured as well: CUDA graphs, a model of half the layers."""
STEADY = tuple(f"decode[batch={batch}]" for batch in (1, 5, 8, 32))
"""Labels of decode steps in which all requests run."""
SAMPLED = ("e-inj-samples", "g-inj-samples")
SPEED_RUN = "e-stolen30"
FORECAST_RUNS = {
    "e-light": ("graphs", "half"),
    "e-ranges": ("graphs",),
    "llama-e-light": ("graphs",),
    "l3b-e-light": ("graphs",),
    "olmoe-e-light": ("graphs",),
    "qwen-e-light": ("graphs",),
}


def extract_engine(captures: Path, folder: Path) -> None:
    """Write folder/NAME.json from CAPTURES/truth/NAME.json and, if there is one, CAPTURES/reports/NAME.sqlite."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((captures / "truth").glob("*.json")):
        report = captures / "reports" / f"{path.stem}.sqlite"
        record = loop_record(path, report) if "times" in json.loads(path.read_text()) else engine_record(path, report)
        (folder / path.name).write_text(as_text(record))
        print(f"engine/{path.stem}", file=sys.stderr)


def engine_record(path: Path, report: Path) -> Record:
    """Return what the document needs of a run of the engine."""
    truth = read_truth(path)
    batches = truth.arguments["batches"]
    settings = {setting_name(truth, batch, prompt): (batch, prompt) for prompt in truth.prompts for batch in batches}
    record: Record = {
        "arguments": truth.arguments,
        "bare_ns": {name: truth.cycles("bare", *setting) for name, setting in settings.items()},
        "captured_ns": {name: truth.cycles("captured", *setting) for name, setting in settings.items()},
    }
    if truth.arguments.get("stolen"):
        record["stolen_ns"] = {str(batch): truth.runs("stolen", batch) for batch in batches}
        record["alone_ns"] = {str(batch): truth.runs("bare", batch) for batch in batches}
    # a capture that came back without an event leaves nothing but the workload's own times
    record["captured_ns_without_report"] = not report.exists() and not path.stem.endswith("-bare")
    if not report.exists():
        return record
    record["counts"] = step_counts(report, truth)
    if any(process.costs for process in truth.processes):
        from taxbreak_nsys import analyze

        result = analyze(report, intervals=True)
        record["costs"] = costs_of(result, truth)
        if path.stem in SAMPLED:
            record["sampled"] = sampled(result, truth, report)
        return record | _facts(result)
    for prompt, window in windows(report, truth).items():
        bare = {batch: _median_ms(record["bare_ns"][setting_name(truth, batch, prompt)]) for batch in batches}
        references = {f"decode[batch={batch}]": ms for batch, ms in bare.items() if ms is not None}
        found = analysed(report, references, window=window)
        suffix = "" if prompt == truth.prompts[0] else f" p{prompt}"
        phases = {f"{label}{suffix}": entry for label, entry in found.pop("phases").items()}
        record |= found | {"phases": record.get("phases", {}) | phases}
    record["cycles"] = step_differences(report, truth)
    if truth.arguments.get("stolen"):
        record["speeds"] = stolen_forecasts(report, truth)
    record["forecasts"] = {name: forecasts(report, truth, FORECASTS[name]) for name in FORECAST_RUNS.get(path.stem, ())}
    return record


def setting_name(truth: Truth, batch: int, prompt: int) -> str:
    """Return the name of a number of requests and a prompt length: the latter only beside a first one."""
    return str(batch) if prompt == truth.prompts[0] else f"{batch} p{prompt}"


def windows(report: Path, truth: Truth) -> dict[int, tuple[int, int] | None]:
    """Return the stretch of the report, ns, in which each prompt length was run; None for the whole report."""
    if len(truth.prompts) == 1:
        return {truth.prompts[0]: None}
    from taxbreak_nsys import analyze

    instances = analyze(report).instances
    process = truth.processes[0]
    offset = clock_offset(process, instances.start[cycles_of_process(instances, process.pid)])
    captured = [segment for segment in truth.segments if segment["kind"] == "captured"]
    found: dict[int, tuple[int, int] | None] = {}
    for prompt in truth.prompts:
        own = [segment for segment in captured if segment["prompt"] == prompt]
        found[prompt] = (max(own[0]["t0"] + offset, 0), own[-1]["t1"] + offset)
    return found


def stolen_forecasts(report: Path, truth: Truth) -> Record:
    """Return the host's speed while another program took a share of its core, and what `whatif --cpu` predicts of it.

    The speed is that of bare eager steps with one request, in the run named in SPEED_RUN. A report that was captured at
    that speed is asked the other way round. Forecasts are by number of requests.
    """
    eager = read_truth(report.parents[1] / "truth" / f"{SPEED_RUN}.json")
    speed = median(eager.cycles("bare", 1)) / median(eager.cycles("stolen", 1))
    factor = f"{1 / speed if truth.arguments['stolen_capture'] else speed:.4f}"
    return {"speed": speed} | forecasts(report, truth, ("--cpu", factor))


def step_differences(report: Path, truth: Truth) -> Record:
    """Return each cycle's own length by the workload's clock, ns, and how much longer it is in the report.

    Cycles that do not end where the next one starts (before a step without requests) have no other end to compare.
    """
    from taxbreak_nsys import analyze

    instances = analyze(report).instances
    own: list[int] = []
    longer: list[int] = []
    for process in truth.processes:
        rows = cycles_of_process(instances, process.pid)
        clock_offset(process, instances.start[rows])
        ran = process.times[(process.times >= process.capture_start) & (process.requests > 0)]
        whole = instances.end[rows[:-1]] == instances.start[rows[1:]]
        lengths = np.diff(ran)[whole]
        own += lengths.tolist()
        longer += ((instances.end - instances.start)[rows[:-1]][whole] - lengths).tolist()
    return {"own_ns": own, "longer_ns": longer}


def step_counts(report: Path, truth: Truth) -> Record:
    """Return decode steps and their tokens by the program and by the workload, and the workload's output tokens."""
    from taxbreak_nsys import analyze

    process = truth.processes[0]
    most = process.requests * (1 + int(truth.arguments.get("ngram") or 0))
    decodes = (process.times >= process.capture_start) & (process.requests > 0) & (process.tokens <= most)
    entries = [entry for entry in analyze(report).entries if entry.phase == "decode"]
    decode = next((entry for entry in entries if entry.combined), entries[0])
    return {
        "steps": decode.instances,
        "own_steps": int(decodes.sum()),
        "tokens": decode.steps.tokens if decode.steps else None,
        "own_tokens": int(process.tokens[decodes].sum()),
        "output_tokens": sum(segment["tokens"] for segment in truth.segments if segment["kind"] == "captured"),
        "found": _found_steps(report),
        "own_prefills": int(((process.times >= process.capture_start) & (process.requests > 0) & ~decodes).sum()),
    }


def _found_steps(report: Path) -> dict[str, int]:
    """Return how many steps of each phase the program finds when it ignores the marks, of one thread."""
    from taxbreak_nsys import analyze

    found: dict[str, int] = {}
    for entry in analyze(report, phase_source="auto").entries:
        if not entry.combined:
            found.setdefault(entry.phase, entry.instances)
    return found


def loop_record(path: Path, report: Path) -> Record:
    """Return what the document needs of a run of transformers' loop (`examples/engine/loop.py`)."""
    data = json.loads(path.read_text())
    times: dict[str, list[int]] = {}
    for kind, phase, batch, prompt, start, end in data["times"]:
        times.setdefault(f"{kind} {phase} b{batch} p{prompt}.", []).append(end - start)
    experts = data["args"]["experts"]
    start = f"bare {experts} "
    references = {name.removeprefix(start): _median_ms(ns) for name, ns in times.items() if name.startswith(start)}
    return {"arguments": data["args"], "times_ns": times} | analysed(report, references, by_batch=False)


def analysed(
    report: Path,
    references: dict[str, float | None],
    *,
    by_batch: bool = True,
    window: tuple[int, int] | None = None,
) -> Record:
    """Return the phases of a report, of an engine by number of requests, corrected by the bare times (ms, by label).

    `window` is a stretch of the report, ns; default: all of it.
    """
    from taxbreak_nsys import analyze

    plain = analyze(report, by_batch=by_batch, window_ns=window)
    labels = {entry.phase for entry in plain.entries}
    known = {label: {"median_ms": ms} for label, ms in references.items() if label in labels}
    if not known:
        return _facts(plain) | {"phases": _phases(plain)}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(known, file)
        file.flush()
        result = analyze(report, by_batch=by_batch, reference=file.name, window_ns=window)
    return _facts(result) | {"phases": _phases(result)}


def _facts(result: Any) -> Record:
    """Return what the report is."""
    facts = result.to_dict()["report"]
    kept = {key: value for key, value in facts.items() if key not in ("path", "warnings")}
    return {
        "report": kept | {"warnings": sorted({warning["code"] for warning in facts["warnings"]})},
        "t_sys_ns": result.t_sys_ns,
        "t_sys_source": result.t_sys_source,
    }


def _phases(result: Any) -> Record:
    """Return the entries by label; of a label on several ranks the entry for all of them.

    Of an engine's steps those that mix prefill and decode, and those in which requests have ended, are left out.
    """
    phases: Record = {}
    for entry in result.to_dict()["phases"]:
        if entry["phase"].startswith(("mixed", "decode[")) and entry["phase"] not in STEADY:
            continue
        if entry["phase"] not in phases or entry["process"] is None:
            phases[entry["phase"]] = {key: entry.get(key) for key in KEPT}
    return phases


def sampled(result: Any, truth: Truth, report: Path) -> Record:
    """Return the layers by samples of the cycles with a cost and of those without, and what was added to the former.

    A copy of the report serves, in which the marks of cycles with a cost say two requests, so that they are a phase of
    their own; nothing else differs.
    """
    from taxbreak_nsys import analyze

    (process,) = truth.processes
    rows = cycles_of_process(result.instances, process.pid)
    starts = result.instances.start[rows]
    offset = clock_offset(process, starts)
    ends = result.instances.end[rows]
    costs = [cost for cost in process.costs if starts[0] <= cost.start + offset < ends[-1]]
    hit = {int(np.searchsorted(starts, cost.start + offset, "right")) - 1 for cost in costs}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "marked.sqlite"
        shutil.copyfile(report, copy)
        copy.chmod(0o600)
        database = sqlite3.connect(copy)
        database.executemany(
            "UPDATE NVTX_EVENTS SET textId = NULL, text = 'execute_context_0(0)_generation_2(2)' WHERE start = ?",
            [(int(starts[cycle]),) for cycle in hit],
        )
        database.commit()
        database.close()
        phases = analyze(copy, by_batch=True, evidence="samples").to_dict()["phases"]
    kept = ("instances", "wall_ns", "taxbreak", "samples")
    found = {entry["phase"]: {key: entry[key] for key in kept} for entry in phases}
    return {
        "base": found["decode[batch=1]"],
        "cost": found["decode[batch=2]"],
        "added_ns": sum(cost.end - cost.start for cost in costs),
    }


def forecasts(report: Path, truth: Truth, change: tuple[str, ...]) -> Record:
    """Return what `whatif` predicts for decode steps of the first prompt length, by number of requests."""
    from taxbreak_nsys import analyze

    window = windows(report, truth)[truth.prompts[0]]
    instances = analyze(report, by_batch=True, window_ns=window).instances
    found = {}
    for batch in truth.arguments["batches"]:
        which = instances.label == instances.labels.index(f"decode[batch={batch}]")
        span = int(instances.start[which].min()), int(instances.end[which].max())
        found[str(batch)] = forecast(report, change, *span)
    return found


def forecast(report: Path, change: tuple[str, ...], start: int, end: int) -> Record:
    """Return what `whatif` predicts for decode steps within a span of time."""
    command = [
        sys.executable,
        "-m",
        "taxbreak_nsys",
        "whatif",
        str(report),
        *change,
        "--start",
        str(start),
        "--end",
        str(end),
        "-f",
        "json",
        "-q",
    ]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    (decode,) = [entry for entry in found["phases"] if entry["phase"] == "decode"]
    return {key: decode[key] for key in ("instances", "wall_median_ns", "predicted_wall_median_ns")}


def _median_ms(values: list[int]) -> float | None:
    return median(values) / 1e6 if values else None
