"""Tables of docs/validation-engine.md: forecasts and verdicts against what was measured, other settings, the host."""

from __future__ import annotations

from statistics import median
from typing import Any

from validating.engine_models import BATCHES, bare_of, decode_of
from validating.engine_steps import percent
from validating.numbers import ms, table

Record = dict[str, Any]
Records = dict[str, Record]


def fastest(values: list[int]) -> float:
    """Return the 10th percentile: the host's fast minutes."""
    return float(sorted(values)[(len(values) - 1) // 10])


def pooled_bare(records: Records, mode: str, batch: int) -> list[int]:
    """Return the bare decode steps of all runs of the 16-layer Llama with default settings, ns."""
    runs = [name for name in records if name.startswith(f"{mode}-") and name.split("-")[1] in POOLED]
    return [ns for name in runs for ns in records[name]["bare_ns"].get(str(batch), ())]


GRAPHED = (("e-light", "g-light"), ("e-ranges", "g-ranges"), ("olmoe-e-light", "olmoe-g-light"))
"""Eager captures, and captures of the same with graphs."""
POOLED = ("bare", "light", "os", "ranges", "samples", "light24", "samples24", "whole24")


def forecast_table(records: Records) -> str:
    """What whatif predicts from one capture, against captures and bare runs with the change made."""
    eager = records["e-light"]
    bare_eager, bare_graphs = (pooled_bare(records, mode, 1) for mode in "eg")
    rows = []
    for run, like in GRAPHED:
        for batch in BATCHES:
            found = records[run]["forecasts"]["graphs"][str(batch)]
            measured = decode_of(records[like], batch)["wall_median_ns"]
            before, predicted = found["wall_median_ns"], found["predicted_wall_median_ns"]
            name = f"CUDA graphs (`--graphs`), batch {batch}"
            rows.append(_forecast(name, run, before, predicted, measured, f"captured (`{like}`)"))
    for title, change in (("median", median), ("fastest tenth", fastest)):
        found = eager["forecasts"]["graphs"]["1"]
        predicted = found["predicted_wall_median_ns"] / found["wall_median_ns"] * change(bare_eager)
        name = f"CUDA graphs, bare steps ({title})"
        rows.append(_forecast(name, "e-light", change(bare_eager), predicted, change(bare_graphs), "bare"))
    half = records["h-bare"]["bare_ns"]["1"]
    for title, change in (("median", median), ("fastest tenth", fastest)):
        found = eager["forecasts"]["half"]["1"]
        predicted = found["predicted_wall_median_ns"] / found["wall_median_ns"] * change(bare_eager)
        name = f"half of every layer and kernel, against 8 of 16 layers ({title})"
        rows.append(_forecast(name, "e-light", change(bare_eager), predicted, change(half), "bare"))
    for mode, title in (("e", "eager"), ("g", "graphs")):
        one, two = (median(records[f"{mode}-bare"]["bare_ns"][str(batch)]) for batch in (1, 2))
        name = f"2 requests, {title} (a host-bound step stays as long)"
        rows.append(_forecast(name, f"{mode}-bare", one, one, two, "bare"))
    head = ("change", "predicted from", "before, ms", "predicted, ms", "measured", "error")
    return table(head, rows)


def _forecast(name: str, run: str, before: float, predicted: float, measured: float, how: str) -> tuple[str, ...]:
    return (name, run, ms(before), ms(predicted), f"{ms(measured)} {how}", percent(predicted / measured - 1, 0))


def verdict_table(records: Records) -> str:
    """Fixes that a verdict names, and what they brought without a profiler."""
    rows = []
    found = records["e-ranges"]["forecasts"]["graphs"]["1"]
    before, after = (median(pooled_bare(records, mode, 1)) for mode in "eg")
    saved = 1 - found["predicted_wall_median_ns"] / found["wall_median_ns"]
    entry = decode_of(records["e-ranges"], 1)
    predicted = f"{100 * saved:.0f} % (`whatif --graphs`)"
    rows.append(_case("vLLM eager, 1 request", entry, "CUDA graphs and compilation", predicted, before, after))
    times = records["hf-olmoe"]["times_ns"]
    for batch in BATCHES:
        entry = decode_of(records["hf-olmoe"], batch)
        before, after = (median(times[f"bare {experts} decode b{batch} p128."]) for experts in ("eager", "grouped_mm"))
        saved = entry["verdict"]["savings"]["framework"]
        predicted = f"{100 * saved:.0f} % where framework time is halved"
        case = f"OLMoE in transformers, batch {batch}"
        rows.append(_case(case, entry, "fewer and larger operators: `grouped_mm`", predicted, before, after))
    entry = decode_of(records["g-sync"], 1)
    between = sum(entry["between_ns"].values()) / entry["wall_ns"]
    before, after = bare_of(records["g-sync"], 1), median(pooled_bare(records, "g", 1))
    predicted = f"at most {100 * between:.0f} %, the time between the marks"
    rows.append(
        _case("vLLM with graphs, async scheduling off", entry, "async scheduling", predicted, before or 0, after)
    )
    head = ("case", "verdict", "fix", "predicted to save", "bare before, ms", "bare after, ms", "saved")
    return table(head, rows)


def _case(name: str, entry: Record, fix: str, predicted: str, before: float, after: float) -> tuple[str, ...]:
    saved = f"{100 * (1 - after / before):.0f} %"
    return (name, entry["verdict"]["target"], fix, predicted, ms(before), ms(after), saved)


OTHER_SETTINGS = (
    ("g-os", "default: async scheduling"),
    ("g-sync", "async scheduling off"),
    ("g-stag", "5 requests of unlike lengths, async scheduling off"),
    ("g-ngram", "speculative decoding by n-gram, 4 tokens, 1 and 8 requests"),
)


def settings_table(records: Records) -> str:
    """Steps and tokens under other settings of the engine."""
    rows = []
    for run, title in OTHER_SETTINGS:
        record = records[run]
        counts, batch = record["counts"], str(record["arguments"]["batches"][0])
        bare, captured = (median(record[kind][batch]) for kind in ("bare_ns", "captured_ns"))
        program = decode_of(record, int(batch))["wall_median_ns"]
        steps = f"{counts['steps']} / {counts['own_steps']}"
        tokens = f"{counts['tokens']} / {counts['own_tokens']}"
        rows.append((title, steps, tokens, counts["output_tokens"], batch, ms(bare), ms(captured), ms(program)))
    head = ("setting", "decode steps, program / own", "their tokens, program / own", "output tokens in all",
            "requests", "bare step, ms", "captured, own clock", "captured, program")  # fmt: skip
    return table(head, rows)


def advice_list(records: Records) -> str:
    """Return what the verdicts of the cases say, as a list."""
    cases = (
        ("vLLM eager, 1 request", decode_of(records["e-ranges"], 1)),
        ("OLMoE in transformers, batch 8", decode_of(records["hf-olmoe"], 8)),
        ("vLLM with graphs, async scheduling off", decode_of(records["g-sync"], 1)),
    )
    return "\n".join(f"- {name}: {entry['verdict']['why']}; {entry['verdict']['advice']}." for name, entry in cases)


def busy_table(records: Records) -> str:
    """The same engine with and without a neighbour on its cores."""
    rows = []
    for run, title in (("e-light", "alone"), ("e-busy", "beside a busy neighbour")):
        for batch in BATCHES:
            record = records[run]
            values = record["bare_ns"][str(batch)]
            slowest = sorted(values)[9 * (len(values) - 1) // 10]
            bare = (ms(median(values)), ms(fastest(values)), ms(slowest))
            rows.append((title, batch, *bare, ms(median(record["captured_ns"][str(batch)]))))
    head = ("host", "requests", "bare step, median, ms", "fastest tenth", "slowest tenth", "captured step, ms")
    return table(head, rows)


def _bare_medians(records: Records) -> list[float]:
    return [median(records[f"e-{name}"]["bare_ns"]["1"]) for name in POOLED if f"e-{name}" in records]


def host_spread(records: Records) -> str:
    """Return the median bare eager step of one request over the runs: how unsteady the host is."""
    values = _bare_medians(records)
    return f"{ms(min(values), 1)} to {ms(max(values), 1)} ms"


def host_processes(records: Records) -> int:
    """Return how many runs `host_spread` is of."""
    return len(_bare_medians(records))
