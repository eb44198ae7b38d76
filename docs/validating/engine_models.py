"""Tables of docs/validation-engine.md: models, forecasts against what was measured, fixes that verdicts name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from validating.numbers import ms, share, table

Record = dict[str, Any]
Records = dict[str, Record]

MODELS = (
    ("Llama-3.2-1B", "transformers", "hf-llama"),
    ("Llama-3.2-1B", "vLLM, eager", "e-light"),
    ("Llama-3.2-1B", "vLLM, graphs", "g-light"),
    ("Llama-3.2-1B, prompt 1024", "vLLM, eager", "e-p1024"),
    ("Llama-3.2-1B, prompt 1024", "vLLM, graphs", "g-p1024"),
    ("OLMoE-1B-7B", "transformers, loop over experts", "hf-olmoe"),
    ("OLMoE-1B-7B", "vLLM, eager", "olmoe-e-light"),
    ("OLMoE-1B-7B", "vLLM, graphs", "olmoe-g-light"),
    ("Llama-3.2-3B", "vLLM, eager", "l3b-e-light"),
    ("Qwen1.5-MoE-A2.7B", "vLLM, eager", "qwen-e-light"),
)
BATCHES = (1, 8, 32)


@dataclass(frozen=True)
class Setting:
    """Decode or prefill of one model, program and number of requests."""

    model: str
    program: str
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


def bare_of(record: Record, batch: int) -> float | None:
    """Return the median bare decode step, ns."""
    if "bare_ns" in record:
        values = record["bare_ns"][str(batch)]
    else:
        values = record["times_ns"][f"bare {record['arguments']['experts']} decode b{batch} p128."]
    return median(values) if values else None


def decode_of(record: Record, batch: int) -> Record:
    """Return the phase of decode steps with so many requests."""
    phases = record["phases"]
    found: Record = phases.get(f"decode[batch={batch}]") or phases[f"decode b{batch} p128."]
    return found


def settings(records: Records) -> Iterator[Setting]:
    """Yield decode of every model, program and number of requests."""
    for model, program, run in MODELS:
        for batch in BATCHES:
            yield Setting(model, program, batch, decode_of(records[run], batch), bare_of(records[run], batch))


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
        rows.append((found.model, found.program, found.batch, *counts, *times, busy, *hdbi))
    head = (
        "model",
        "program",
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


PREFILLS = (
    ("Llama-3.2-1B", "transformers", "hf-llama", "prefill b1 p128."),
    ("Llama-3.2-1B", "vLLM, eager", "e-light", "prefill[batch=1]"),
    ("Llama-3.2-1B", "vLLM, graphs", "g-light", "prefill[batch=1]"),
    ("Llama-3.2-1B, prompt 1024", "vLLM, eager", "e-p1024", "prefill[batch=1]"),
    ("Llama-3.2-1B, prompt 1024", "vLLM, graphs", "g-p1024", "prefill[batch=1]"),
    ("OLMoE-1B-7B", "transformers, loop over experts", "hf-olmoe", "prefill b1 p128."),
    ("OLMoE-1B-7B", "vLLM, eager", "olmoe-e-light", "prefill[batch=1]"),
    ("OLMoE-1B-7B", "vLLM, graphs", "olmoe-g-light", "prefill[batch=1]"),
    ("Llama-3.2-3B", "vLLM, eager", "l3b-e-light", "prefill[batch=1]"),
    ("Qwen1.5-MoE-A2.7B", "vLLM, eager", "qwen-e-light", "prefill[batch=1]"),
)


def prefill_table(records: Records) -> str:
    """Prefill of one request."""
    rows = []
    for model, program, run, label in PREFILLS:
        entry = records[run]["phases"].get(label)
        if entry is None:
            continue
        per_step = entry["taxbreak"]["t_device_active_ns"] / entry["instances"]
        rows.append(
            (
                model,
                program,
                entry["instances"],
                f"{entry['kernels'] / entry['instances']:,.0f}",
                ms(entry["wall_median_ns"], 1),
                ms(per_step),
                share(entry["taxbreak"]["hdbi"]),
            )
        )
    head = ("model", "program", "steps", "kernels per step", "captured step, ms", "device active per step, ms", "HDBI")
    return table(head, rows)


def ratio(records: Records, mixture: str, dense: str, batch: int) -> float:
    """Return how many times the kernels per token of a dense run a mixture's run has."""
    ours, theirs = (decode_of(records[run], batch) for run in (mixture, dense))
    return float(ours["kernels"] / ours["instances"] / (theirs["kernels"] / theirs["instances"]))


def ratio_table(records: Records) -> str:
    """Kernels per token of mixtures against dense models."""
    pairs = (
        ("OLMoE against Llama-1B (both 16 layers)", "transformers, loop over experts", "hf-olmoe", "hf-llama"),
        ("OLMoE against Llama-1B (both 16 layers)", "vLLM, eager", "olmoe-e-light", "e-light"),
        ("OLMoE against Llama-1B (both 16 layers)", "vLLM, graphs", "olmoe-g-light", "g-light"),
        ("Qwen1.5-MoE (24 layers) against Llama-3B (28)", "vLLM, eager", "qwen-e-light", "l3b-e-light"),
    )
    rows = [
        (title, program, *(f"{ratio(records, mixture, dense, batch):.1f}" for batch in BATCHES))
        for title, program, mixture, dense in pairs
    ]
    return table(("models", "program", *(f"batch {batch}" for batch in BATCHES)), rows)
