"""Tables of docs/validation-engine.md: models, forecasts against what was measured, fixes that verdicts name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from validating.numbers import ms, share, table

Record = dict[str, Any]
Records = dict[str, Record]

TITLES = {
    "llama": "Llama-3.2-1B",
    "l3b": "Llama-3.2-3B",
    "olmoe": "OLMoE-1B-7B",
    "qwen": "Qwen1.5-MoE-A2.7B",
}
MODELS = tuple(
    (title, program, prompt, run)
    for model, title in TITLES.items()
    for program, run in (
        ("transformers" + (", loop over experts" if "MoE" in title else ""), f"b/hf-{model}"),
        ("vLLM, eager", f"b/{model}-e-light"),
        ("vLLM, graphs", f"b/{model}-g-light"),
    )
    for prompt in (128, 1024)
)
"""Model, program, prompt length and run; all of host B."""
FIRST_PROMPT = 128
BATCHES = (1, 8, 32)


@dataclass(frozen=True)
class Setting:
    """Decode or prefill of one model, program and number of requests."""

    model: str
    program: str
    prompt: int
    batch: int
    entry: Record
    bare_ns: float | None

    @property
    def kernels_per_token(self) -> float:
        """Kernels per output token of decode steps."""
        return float(self.entry["kernels"] / self.entry["instances"] / self.batch)

    @property
    def launches_per_token(self) -> float:
        """Kernel and graph launches per output token of decode steps."""
        launches = self.entry["launches"]
        return float((launches["kernel"] + launches["graph"]) / self.entry["instances"] / self.batch)


def bare_of(record: Record, batch: int, prompt: int = FIRST_PROMPT) -> float | None:
    """Return the median bare decode step, ns."""
    if "bare_ns" in record:
        values = record["bare_ns"][str(batch) if prompt == FIRST_PROMPT else f"{batch} p{prompt}"]
    else:
        values = record["times_ns"][f"bare {record['arguments']['experts']} decode b{batch} p{prompt}."]
    return median(values) if values else None


def phase_of(record: Record, phase: str, batch: int, prompt: int = FIRST_PROMPT) -> Record | None:
    """Return a phase with so many requests and such prompts, of an engine or of the loop."""
    phases: dict[str, Record] = record["phases"]
    suffix = "" if prompt == FIRST_PROMPT else f" p{prompt}"
    return phases.get(f"{phase}[batch={batch}]{suffix}") or phases.get(f"{phase} b{batch} p{prompt}.")


def decode_of(record: Record, batch: int, prompt: int = FIRST_PROMPT) -> Record:
    """Return the phase of decode steps with so many requests."""
    found = phase_of(record, "decode", batch, prompt)
    if found is None:
        raise KeyError(f"no decode steps with {batch} requests and prompts of {prompt} tokens")
    return found


def settings(records: Records) -> Iterator[Setting]:
    """Yield decode of every model, program, prompt length and number of requests."""
    for model, program, prompt, run in MODELS:
        for batch in BATCHES:
            entry = decode_of(records[run], batch, prompt)
            yield Setting(model, program, prompt, batch, entry, bare_of(records[run], batch, prompt))


def model_table(records: Records) -> str:
    """Decode by model, program and number of requests."""
    rows = []
    for found in settings(records):
        entry = found.entry
        counts = (f"{found.kernels_per_token:,.1f}", f"{found.launches_per_token:,.1f}")
        active = ms(entry["taxbreak"]["t_device_active_ns"] / entry["instances"])
        busy = f"{100 * entry['device']['busy_share']:.0f} %"
        hdbi = (share(entry["taxbreak"]["hdbi"]), share((entry["corrected"] or {}).get("hdbi")))
        times = (ms(found.bare_ns), ms(entry["wall_median_ns"]), active)
        rows.append((found.model, found.program, found.prompt, found.batch, *counts, *times, busy, *hdbi))
    head = (
        "model",
        "program",
        "prompt",
        "requests",
        "kernels per token",
        "launches per token",
        "bare step, ms",
        "captured step, ms",
        "device active per step, ms",
        "device busy",
        "HDBI",
        "HDBI corrected",
    )
    return table(head, rows)


def prefill_table(records: Records) -> str:
    """Prefill of one request."""
    rows = []
    for model, program, prompt, run in MODELS:
        entry = phase_of(records[run], "prefill", 1, prompt)
        if entry is None:
            continue
        per_step = entry["taxbreak"]["t_device_active_ns"] / entry["instances"]
        rows.append(
            (
                model,
                program,
                prompt,
                entry["instances"],
                f"{entry['kernels'] / entry['instances']:,.0f}",
                ms(entry["wall_median_ns"], 1),
                ms(per_step),
                share(entry["taxbreak"]["hdbi"]),
            )
        )
    head = ("model", "program", "prompt", "steps", "kernels per step", "captured step, ms",
            "device active per step, ms", "HDBI")  # fmt: skip
    return table(head, rows)


def ratio(records: Records, mixture: str, dense: str, batch: int) -> float:
    """Return how many times the kernels per token of a dense run a mixture's run has."""
    ours, theirs = (decode_of(records[run], batch) for run in (mixture, dense))
    return float(ours["kernels"] / ours["instances"] / (theirs["kernels"] / theirs["instances"]))


PAIRS = tuple(
    (title, program, f"b/{mixture}", f"b/{dense}")
    for title, ours, theirs in (
        ("OLMoE against Llama-1B (both 16 layers)", "olmoe", "llama"),
        ("Qwen1.5-MoE (24 layers) against Llama-3B (28)", "qwen", "l3b"),
    )
    for program, mixture, dense in (
        ("transformers, loop over experts", f"hf-{ours}", f"hf-{theirs}"),
        ("vLLM, eager", f"{ours}-e-light", f"{theirs}-e-light"),
        ("vLLM, graphs", f"{ours}-g-light", f"{theirs}-g-light"),
    )
)


def ratio_table(records: Records) -> str:
    """Kernels per token of mixtures against dense models."""
    rows = [
        (title, program, *(f"{ratio(records, mixture, dense, batch):.1f}" for batch in BATCHES))
        for title, program, mixture, dense in PAIRS
    ]
    return table(("models", "program", *(f"batch {batch}" for batch in BATCHES)), rows)
