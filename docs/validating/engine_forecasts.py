"""Tables of docs/validation-engine.md: forecasts and verdicts against what was measured, other settings, the host."""

from __future__ import annotations

from statistics import median
from typing import Any

from validating.engine_models import BATCHES, TITLES, bare_of, decode_of
from validating.engine_steps import percent
from validating.numbers import Measured, measured, ms, table

Record = dict[str, Any]
Records = dict[str, Record]


def fastest(values: list[int]) -> float:
    """Return the 10th percentile: the host's fast minutes."""
    return float(sorted(values)[(len(values) - 1) // 10])


def pooled_bare(records: Records, mode: str, batch: int) -> list[int]:
    """Return the bare decode steps of all runs of the 16-layer Llama with default settings, ns."""
    runs = [name for name in records if name.startswith(f"{mode}-") and name.split("-")[1] in POOLED]
    return [ns for name in runs for ns in records[name]["bare_ns"].get(str(batch), ())]


GRAPHED = (
    ("Llama-3.2-1B, host A", "e-light", "g-light"),
    ("Llama-3.2-1B, host A, ranges", "e-ranges", "g-ranges"),
    *((f"{title}, host B", f"b/{model}-e-light", f"b/{model}-g-light") for model, title in TITLES.items()),
)
"""Eager captures, and captures of the same with graphs."""
POOLED = ("bare", "light", "os", "ranges", "samples", "light24", "samples24", "whole24")


def graphs_table(records: Records) -> str:
    """What `whatif --graphs` predicts from eager captures, against captures and bare steps with graphs."""
    rows = []
    for title, run, like in GRAPHED:
        for batch in BATCHES:
            found = records[run]["forecasts"]["graphs"][str(batch)]
            measured = decode_of(records[like], batch)["wall_median_ns"]
            before, predicted = found["wall_median_ns"], found["predicted_wall_median_ns"]
            bare, after = bare_of(records[run], batch) or 0, bare_of(records[like], batch) or 0
            captured = (ms(before), ms(predicted), ms(measured), percent(predicted / measured - 1, 0))
            saved = (f"{100 * (1 - predicted / before):.0f} %", f"{100 * (1 - after / bare):.0f} %")
            rows.append((title, batch, *captured, ms(bare), ms(after), *saved))
    head = ("engine", "requests", "captured eager, ms", "predicted, ms", "captured with graphs, ms", "error",
            "bare eager, ms", "bare with graphs, ms", "predicted to save", "saved, bare")  # fmt: skip
    return table(head, rows)


def graphs_savings(records: Records) -> list[float]:
    """Return, by engine and number of requests, the predicted saving less that of the bare steps (shares of it)."""
    found = []
    for _, run, like in GRAPHED:
        for batch in BATCHES:
            forecast = records[run]["forecasts"]["graphs"][str(batch)]
            bare, after = bare_of(records[run], batch) or 0, bare_of(records[like], batch) or 0
            found.append(after / bare - forecast["predicted_wall_median_ns"] / forecast["wall_median_ns"])
    return found


def forecast_table(records: Records) -> str:
    """What whatif predicts of other changes, against bare runs with the change made."""
    eager = records["e-light"]
    bare_eager = pooled_bare(records, "e", 1)
    rows = []
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
    for model in ("olmoe", "qwen"):
        record = records[f"b/hf-{model}"]
        for batch in BATCHES:
            entry, times = decode_of(record, batch), record["times_ns"]
            before, after = (median(times[f"bare {how} decode b{batch} p128."]) for how in ("eager", "grouped_mm"))
            saved = entry["verdict"]["savings"]["framework"]
            predicted = f"{100 * saved:.0f} % where framework time is halved"
            case = f"{TITLES[model]} in transformers, batch {batch}"
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
        ("OLMoE in transformers, batch 8", decode_of(records["b/hf-olmoe"], 8)),
        ("vLLM with graphs, async scheduling off", decode_of(records["g-sync"], 1)),
    )
    return "\n".join(f"- {name}: {entry['verdict']['why']}; {entry['verdict']['advice']}." for name, entry in cases)


STOLEN = (("eager", "b/e-stolen30"), ("graphs", "b/g-stolen30"), ("eager, captured meanwhile", "b/e-stolen-capture30"))


def slower(record: Record, batch: int) -> Measured:
    """Return how many times as long bare steps last while a share of the core is taken, run beside run."""
    pairs = zip(record["stolen_ns"][str(batch)], record["alone_ns"][str(batch)], strict=True)
    return measured([median(stolen) / median(alone) for stolen, alone in pairs])


def stolen_table(records: Records) -> str:
    """Bare steps while another program takes a share of the core, and what `whatif --cpu` says."""
    rows = []
    for title, run in STOLEN:
        record = records[run]
        for batch in (1, 32):
            found = slower(record, batch)
            forecast = record["speeds"][str(batch)]
            # of a capture made meanwhile, the forecast is of the host that has the core to itself
            change = forecast["predicted_wall_median_ns"] / forecast["wall_median_ns"]
            predicted = 1 / change if "captured" in title else change
            spread = f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
            stolen = median(ns for ns_of_run in record["stolen_ns"][str(batch)] for ns in ns_of_run)
            alone = median(record["bare_ns"][str(batch)])
            off = percent(predicted / found.value - 1, 0)
            rows.append((title, batch, ms(alone), ms(stolen), spread, f"{predicted:.2f}", off))
    head = (
        "steps",
        "requests",
        "alone, ms",
        "core shared, ms",
        "times as long, 6 pairs (95 %)",
        "`--cpu` predicts",
        "off by",
    )
    return table(head, rows)


HOSTS = (
    ("transformers, Llama-3.2-1B", "hf-llama", "b/hf-llama"),
    ("transformers, OLMoE, loop over experts", "hf-olmoe", "b/hf-olmoe"),
    ("vLLM eager, + OS calls", "e-os", "b/e-os"),
    ("vLLM eager, + OS calls, cuBLAS ranges", "e-ranges", "b/e-ranges"),
    ("vLLM graphs, + OS calls", "g-os", "b/g-os"),
    ("vLLM graphs, + OS calls, cuBLAS ranges", "g-ranges", "b/g-ranges"),
    ("vLLM graphs, + OS calls, samples", "g-samples24", "b/g-samples24"),
)


def hosts_table(records: Records) -> str:
    """Orchestration and latency of the same runs on two hosts."""
    rows = []
    for title, one, two in HOSTS:
        for batch in BATCHES:
            entries = [decode_of(records[run], batch) for run in (one, two)]
            layers = [entry["taxbreak"]["t_orchestration_ns"] / entry["instances"] for entry in entries]
            steps = [entry["wall_median_ns"] for entry in entries]
            bare = [bare_of(records[run], batch) or 0 for run in (one, two)]
            both = zip((layers, steps, bare), strict=True)
            shown = [text for ((a, b),) in both for text in (ms(a), ms(b), percent(b / a - 1, 0))]
            rows.append((title, batch, *shown))
    head = ("run", "requests", "orchestration A, ms", "B, ms", "B to A", "captured step A, ms", "B, ms", "B to A",
            "bare step A, ms", "B, ms", "B to A")  # fmt: skip
    return table(head, rows)


def _bare_medians(records: Records) -> list[float]:
    runs = [f"{host}e-{name}" for host in ("", "b/") for name in (*POOLED, "stolen30", "stolen-capture30")]
    return [median(records[run]["bare_ns"]["1"]) for run in runs if run in records]


def host_spread(records: Records) -> str:
    """Return the median bare eager step of one request over the runs: how unsteady the host is."""
    values = _bare_medians(records)
    return f"{ms(min(values), 1)} to {ms(max(values), 1)} ms"


def host_processes(records: Records) -> int:
    """Return how many runs `host_spread` is of."""
    return len(_bare_medians(records))
