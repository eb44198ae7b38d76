"""What stands for the names in docs/validation-engine.in.md and, of the engine, in docs/validation.in.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from validating import engine_cost_tables, engine_forecasts, engine_models, engine_steps
from validating.numbers import ms, us

Records = dict[str, dict[str, Any]]
BAR = 0.03
HOSTS = {"a": "", "b": "b/"}
"""Folders of docs/data/engine, and what is put before the names of their runs."""


def load_engine(data: Path) -> Records:
    """Return the engine's records: of host A by run, of host B by `b/` and run."""
    found = {}
    for host, prefix in HOSTS.items():
        for file in sorted((data / "engine" / host).glob("*.json")):
            found[f"{prefix}{file.stem}"] = json.loads(file.read_text())
    return found


def span(values: Sequence[float], digits: int = 1) -> str:
    """Return the smallest and the largest of shares of one, in percent."""
    return f"{100 * min(values):+.{digits}f} to {100 * max(values):+.{digits}f} %"


def within(values: Sequence[float], bar: float = 0.05) -> str:
    """Return how many shares are within a bar."""
    return f"{sum(abs(value) <= bar for value in values)} of {len(values)}"


def cycle_differences(records: Records) -> list[float]:
    """Return how much each cycle's length in the report differs from the workload's clock, as a share, without sign."""
    return [
        abs(longer) / own
        for record in records.values()
        if "cycles" in record
        for own, longer in zip(record["cycles"]["own_ns"], record["cycles"]["longer_ns"], strict=True)
    ]


def costs_within(records: Records) -> int:
    """Return of how many kinds of cost the median is within 3 %."""
    return sum(abs(cell.off.value) <= BAR for cell in engine_cost_tables.cost_cells(records))


def graphs_host(records: Records) -> str:
    """Return the host time other than waits of a captured decode step with graphs, one request."""
    entry = engine_models.decode_of(records["g-light"], 1)
    busy = sum(ns for state, ns in entry["states_ns"].items() if state not in ("device_wait", "os_wait", "profiler"))
    return f"{ms(busy / entry['instances'])} ms"


def graphs_errors(records: Records) -> list[float]:
    """Return how far `whatif --graphs` is from captures with graphs, by capture and number of requests."""
    return [
        records[run]["forecasts"]["graphs"][str(batch)]["predicted_wall_median_ns"]
        / engine_models.decode_of(records[like], batch)["wall_median_ns"]
        - 1
        for _, run, like in engine_forecasts.GRAPHED
        for batch in engine_models.BATCHES
    ]


def empty_captures(records: Records) -> str:
    """Say which captures came back without an event."""
    empty = [name for name, record in records.items() if record.get("captured_ns_without_report")]
    names = ", ".join(f"`{name}`" for name in empty)
    return (
        f"nsys wrote a report without any event for two runs, {names} (2024.2.3) and the first try of `l3b-e-light` "
        "(2023.4.4): it had not put itself into the forked engine. The program refuses such a report and says that it "
        "holds no CUDA API calls. The second was captured again."
    )


def sampled_text(records: Records) -> str:
    """Say what samples find of the costs, and what chance leaves open."""
    off, chance = engine_cost_tables.sampled_off(records)
    record = records[engine_cost_tables.SAMPLES_RUN]
    windows = record["costs"]["windows"].values()
    python = sum(window["states"].get("python", 0) for window in windows) / sum(window["added"] for window in windows)
    steps = record["sampled"]["cost"]["instances"]
    return (
        f"A capture with graphs and samples at 4 kHz (host B), {steps:,} steps with a cost of 1000 us: framework time "
        "by samples of the steps with a cost, less framework time of the steps without one, per step, is off by "
        f"{100 * off:+.1f} % from what was added; to be reached were 10 %. The number of samples alone leaves "
        f"±{100 * chance:.1f} % open (95 %). Of the costs' own time, {100 * python:.1f} % is counted as "
        "`python`, as above."
    )


def engine_parts(data: Path) -> dict[str, Callable[[], str]]:
    """Return what stands for each {{name}}."""
    records = load_engine(data)
    steps, costs, models, forecasts = engine_steps, engine_cost_tables, engine_models, engine_forecasts
    cells = costs.cost_cells(records)
    eager, graphs = "eager", "graphs"
    differences = cycle_differences(records)
    return {
        "engine_host_spread": lambda: forecasts.host_spread(records),
        "engine_cycles": lambda: f"{len(differences):,}",
        "engine_cycle_captures": lambda: str(sum("cycles" in record for record in records.values())),
        "engine_cycle_median": lambda: f"{100 * median(differences):.2f} %",
        "engine_cycle_largest": lambda: f"{100 * max(differences):.1f} %",
        "engine_steps": lambda: steps.step_table(records),
        "engine_windows": lambda: costs.window_table(records),
        "engine_front": lambda: f"{costs.front_cell(records)[1]:+.0f}",
        "engine_costs": lambda: costs.cost_table(records),
        "engine_costs_kinds": lambda: str(len(cells)),
        "engine_costs_within": lambda: str(costs_within(records)),
        "engine_costs_undecided": lambda: str(sum(cell.undecided for cell in cells)),
        "engine_costs_large": lambda: span(
            [cell.off.value for cell in cells if cell.size == 1000 and cell.place != "forward"]
        ),
        "engine_cost_details": lambda: costs.cost_details(records),
        "engine_extra": lambda: costs.extra_table(records),
        "engine_sampled": lambda: sampled_text(records),
        "engine_samples_off": lambda: "{:+.1f} % (±{:.1f} %)".format(
            *(100 * part for part in costs.sampled_off(records))
        ),
        "engine_correction": lambda: steps.correction_table(records),
        "engine_off_eager": lambda: span(steps.correction_offs(records, eager)),
        "engine_off_eager_within": lambda: within(steps.correction_offs(records, eager)),
        "engine_off_graphs_within": lambda: within(steps.correction_offs(records, graphs)),
        "engine_off_eager_captured": lambda: span(steps.captured_offs(records, eager)),
        "engine_off_graphs": lambda: span(steps.correction_offs(records, graphs)),
        "engine_off_graphs_captured": lambda: span(steps.captured_offs(records, graphs)),
        "engine_active_eager": lambda: steps.active_spread(records, "e"),
        "engine_active_graphs": lambda: steps.active_spread(records, "g"),
        "engine_left_out_eager": lambda: steps.left_out_span(records, eager),
        "engine_left_out_graphs": lambda: steps.left_out_span(records, graphs),
        "engine_models": lambda: models.model_table(records),
        "engine_ratios": lambda: models.ratio_table(records),
        "engine_ratio_loop": lambda: _ratios(records, "b/hf-olmoe", "b/hf-llama"),
        "engine_ratio_loop_qwen": lambda: _ratios(records, "b/hf-qwen", "b/hf-l3b"),
        "engine_ratio_fused": lambda: f"{models.ratio(records, 'b/olmoe-e-light', 'b/llama-e-light', 1):.1f}",
        "engine_ratio_fused_qwen": lambda: f"{models.ratio(records, 'b/qwen-e-light', 'b/l3b-e-light', 1):.1f}",
        "engine_prefill": lambda: models.prefill_table(records),
        "engine_forecasts": lambda: forecasts.forecast_table(records),
        "engine_graphs_error": lambda: span(graphs_errors(records), 0),
        "engine_graphs_error_median": lambda: f"{100 * median(graphs_errors(records)):+.0f} %",
        "engine_graphs_host": lambda: graphs_host(records),
        "engine_bare_eager": lambda: f"{ms(median(records['e-bare']['bare_ns']['1']))} ms",
        "engine_bare_compiled": lambda: f"{ms(median(records['c-bare']['bare_ns']['1']))} ms",
        "engine_verdicts": lambda: forecasts.verdict_table(records),
        "engine_advice": lambda: forecasts.advice_list(records),
        "engine_stolen": lambda: forecasts.stolen_table(records),
        "engine_stolen_speed": lambda: f"{records['b/e-stolen30']['speeds']['speed']:.2f}",
        "engine_hosts": lambda: forecasts.hosts_table(records),
        "engine_graphs": lambda: forecasts.graphs_table(records),
        "engine_graphs_savings": lambda: _points(forecasts.graphs_savings(records)),
        "engine_off_eager_layers": lambda: span(steps.layer_offs(records, eager)),
        "engine_off_eager_layers_within": lambda: within(steps.layer_offs(records, eager)),
        "engine_off_graphs_layers": lambda: span(steps.layer_offs(records, graphs)),
        "engine_off_graphs_layers_within": lambda: within(steps.layer_offs(records, graphs)),
        "engine_layers_longer": lambda: _longer(records),
        "engine_empty_captures": lambda: empty_captures(records),
        "engine_rank": lambda: _rank(records),
        "engine_host_processes": lambda: str(forecasts.host_processes(records)),
        "engine_layers_off": lambda: span(
            [cell.off.value for cell in cells if cell.place == "forward" and cell.size > 50]
        ),
        "engine_settings": lambda: forecasts.settings_table(records),
        "engine_unmarked": lambda: steps.without_marks_table(records),
        "engine_unmarked_same": lambda: str(sum(same for *_, same in steps.without_marks(records))),
        "engine_unmarked_all": lambda: str(len(steps.without_marks(records))),
        "engine_log_a": lambda: (data / "engine" / "a.md").read_text().partition("\n")[2].strip(),
        "engine_log_b": lambda: (data / "engine" / "b.md").read_text().partition("\n")[2].strip(),
    }


def _rank(records: Records) -> str:
    pairs = records["tp-rank"]["costs"]["pairs"]["rank 1000"]
    return (
        f"{us(median(pairs['added']), 0)} us on rank 0, {us(median(pairs['comm_wait']), 0)} us more waiting on rank 1"
    )


def _ratios(records: Records, mixture: str, dense: str) -> str:
    """Return the kernels per token of a mixture over those of a dense model, by number of requests."""
    return " / ".join(f"{engine_models.ratio(records, mixture, dense, batch):.1f}" for batch in engine_models.BATCHES)


def _points(values: Sequence[float]) -> str:
    """Return the smallest, the median and the largest of differences of shares, in points."""
    shown = [f"{100 * value:+.0f}" for value in (min(values), median(values), max(values))]
    return f"{shown[0]} to {shown[2]} points, median {shown[1]}"


def _longer(records: Records) -> str:
    """Say how much longer the cycles with a cost in their layers are, and what the program found inside the marks."""
    pairs = [
        record["costs"]["pairs"]["forward 1000"]
        for name, record in records.items()
        if name in engine_cost_tables.COST_RUNS and "forward 1000" in record["costs"]["pairs"]
    ]
    wall, found, added = ([ns for pair in pairs for ns in pair[key]] for key in ("wall", "python inside", "added"))
    return f"{us(median(wall), 0)} us longer, {us(median(found), 0)} us found, {us(median(added), 0)} us added"
