"""Lines of the text report on a phase's steps: time, requests, tokens, kernels, communication, ranks, helpers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.attribution.layers import layer_parts
from taxbreak_nsys.output.units import show_share, show_time

if TYPE_CHECKING:
    from taxbreak_nsys.result import GraphTime, Phase, Result


_HOST_LAYERS = {"framework": 0, "framework_library": 0, "library": 1}
"""The layers that states have shares of, with the place of the share in `layer_parts`."""
_MOST_MODULES = 4
"""Modules named in the line on the time between the marks."""


def shown_entries(result: Result, *, ranks: bool) -> list[Phase]:
    """Return the entries to show: without `ranks`, the entry of a rank group replaces the entries of its ranks."""
    grouped = {entry.phase for entry in result.entries if entry.ranks is not None}
    return [entry for entry in result.entries if ranks or entry.ranks is not None or entry.phase not in grouped]


def step_lines(entry: Phase, unit: str | None) -> list[str]:
    """Return the lines about the steps of a phase, the most important first."""
    if entry.kernels is None:
        return [_time(entry, unit)]
    lines = [_time(entry, unit), _work(entry), _device(entry, unit)]
    lines += _graphs(entry, unit)
    lines += _communication(entry, unit)
    lines += _ranks(entry, unit)
    if entry.helpers_ns is not None:
        lines.append(
            f"other threads help with launches: {show_time(sum(entry.helpers_ns.values()), unit)} of their time, "
            "in no layer and not in the wall time"
        )
    return [line for line in lines if line]


def between_ns(entry: Phase, layer: str) -> int | None:
    """Return the part of a layer's host time between the engine's marks, ns; None where it is not known.

    An estimate (samples, subtraction) does not say where in a state the library's time lies: the part between the marks
    has the shares of the whole state, as in the replay.
    """
    between = entry.between_ns
    if between is None or (layer == "library" and entry.taxbreak.delta_ct_ns is None):
        return None
    if layer not in _HOST_LAYERS:
        return between.get("launch" if layer == "launch_path" else layer)
    part = _HOST_LAYERS[layer]
    return round(sum(between[state] * shares[part] for state, shares in layer_parts(entry).items()))


def between_modules(entry: Phase, rows: Sequence[Mapping[str, Any]], unit: str | None) -> str | None:
    """Return a line on what the host thread ran between the marks, from `sample_rows`; None without such samples."""
    sums: dict[str, int] = {}
    for row in rows:
        if (row["phase"], row["process"], row["thread"]) == (entry.phase, entry.process, entry.thread):
            module = row["module"] or "unknown"
            sums[module] = sums.get(module, 0) + (row["between_ns"] or 0)
    ranked = sorted(((ns, module) for module, ns in sums.items() if ns), reverse=True)
    if not ranked:
        return None
    named = [f"{module} {show_time(ns, unit)}" for ns, module in ranked[:_MOST_MODULES]]
    rest = sum(ns for ns, _ in ranked[_MOST_MODULES:])
    others = [f"others {show_time(rest, unit)}"] if rest else []
    return f"on the CPU between the marks, by samples: {', '.join([*named, *others])}"


def _time(entry: Phase, unit: str | None) -> str:
    count = entry.instances
    steps = "step" if entry.cycles else "instance"
    wall = show_time(entry.wall_ns, unit)
    if count == 1:
        line = f"wall {wall} in 1 {steps}"
    else:
        line = f"wall {wall} in {count} {steps}s: median {show_time(entry.wall_median_ns, unit)} per {steps}"
    if entry.unmeasured_instances and entry.kernels is not None:
        line += f" ({entry.unmeasured_instances} more not measured)"
    if entry.wall_p99_ns is not None:
        line += f", 99th percentile {show_time(entry.wall_p99_ns, unit)}"
    if entry.steps is not None and entry.steps.per_token_ns is not None:
        line += f"; {show_time(entry.steps.per_token_ns['wall'], unit)} per token"
    if entry.cycles:
        line += f"; the marks cover {show_share(entry.range_ns, entry.wall_ns)} %"
    return line


def _work(entry: Phase) -> str:
    count, steps = max(entry.instances, 1), "step" if entry.cycles else "instance"
    parts = []
    if entry.steps is not None:
        for name, total in (("requests", entry.steps.requests), ("tokens", entry.steps.tokens)):
            if total is not None:
                average = _average(total, count)
                parts.append(f"{average} {name.removesuffix('s') if average == '1' else name}")
        requests, tokens = entry.steps.generation_requests, entry.steps.generation_tokens
        if requests and tokens and tokens > requests:
            drafts = "speculative decoding; rejected drafts count"
            parts.append(f"{tokens / requests:,.1f} tokens per request in generation ({drafts})")
    launches = entry.launches.kernel + entry.launches.graph
    parts += [kernels_of_a_step(entry), _counted(launches / count, "launch", "launches")]
    if entry.launches.graph:
        parts[-1] += f" ({_average(entry.launches.graph, count)} of CUDA graphs)"
    line = f"{', '.join(parts[:-1])} and {parts[-1]} per {steps}"
    if entry.steps is not None and entry.steps.kernels_per_token is not None:
        per_token = entry.steps.kernels_per_token
        line += f"; {per_token:,.1f} kernels per token" if per_token < 10 else f"; {per_token:,.0f} kernels per token"
    if entry.launches.unmeasured_graph:
        missing = entry.launches.unmeasured_graph
        be = "is" if missing == 1 else "are"
        line += f"; {missing:,} of {entry.launches.graph:,} graph launches {be} not measured"
    return line


def kernels_of_a_step(entry: Phase) -> str:
    """Return the kernels per step; kernels of CUDA graphs that were traced as a whole are not in the report."""
    kernels = _counted((entry.kernels or 0) / max(entry.instances, 1), "kernel", "kernels")
    if entry.graphs is None or not entry.graphs.whole:
        return kernels
    return f"{kernels} outside CUDA graphs" if entry.graphs.whole == entry.graphs.launches else f"at least {kernels}"


def _average(total: int, count: int) -> str:
    """Return an average: without decimals where it is whole."""
    return f"{total / count:,.1f}" if total % count else f"{total // count:,}"


def _counted(number: float, one: str, several: str) -> str:
    text = f"{number:,.0f}"
    return f"{text} {one if text == '1' else several}"


def _device(entry: Phase, unit: str | None) -> str:
    device = entry.device
    if device.active_ns is None or device.busy_share is None:
        return "device active: not measured"
    busy = show_share(entry.wall_ns - (device.idle_ns or 0), entry.wall_ns)
    return f"device busy {busy} % of the wall time; device active {show_time(device.active_ns, unit)}"


def _graphs(entry: Phase, unit: str | None) -> list[str]:
    graphs = entry.graphs
    if graphs is None:
        return []
    launch = show_time(graphs.launch_ns // graphs.launches, unit)
    if graphs.device_ns is None:
        return [f"CUDA graphs: {launch} to launch each; their device time is not measured", *_padding(entry, graphs)]
    device = show_time(graphs.device_ns // graphs.launches, unit)
    longer = "" if graphs.whole else " (tracing the nodes makes it longer)"
    return [f"CUDA graphs: {launch} to launch each{longer}, {device} on the device", *_padding(entry, graphs)]


def _padding(entry: Phase, graphs: GraphTime) -> list[str]:
    """Return a line on the padding of the graphs; none where every known slot has a token."""
    padding = graphs.padding
    if padding is None or not padding.padded_steps:
        return []
    step = "step" if entry.cycles else "instance"
    tokens = _average(padding.tokens, padding.steps)
    line = f"CUDA graphs padded: {tokens} {'token' if tokens == '1' else 'tokens'} asked of "
    line += (
        f"{_average(padding.slots, padding.steps)} slots per {step} ({show_share(padding.tokens, padding.slots)} %), "
    )
    line += (
        f"{padding.padded_steps} of {_counted(padding.steps, step, step + 's')} padded, by the grid of {padding.kernel}"
    )
    unknown = entry.instances - padding.steps
    have = "has" if unknown == 1 else "have"
    others = f"; {_counted(unknown, 'other ' + step, 'other ' + step + 's')} {have} no graph with known slots"
    return [line + others if unknown else line]


def _communication(entry: Phase, unit: str | None) -> list[str]:
    communication = entry.communication
    if communication is None:
        return []
    line = f"communication {show_time(communication.comm_ns, unit)}"
    if communication.comm_wait_ns is None:
        line += f"; how much of it waits for a slower rank is not measured: {communication.reason}"
    else:
        line += f", of which {show_time(communication.comm_wait_ns, unit)} waits for a slower rank (no device work)"
        if communication.reason:
            line += f"; {communication.reason}"
    return [line]


def _ranks(entry: Phase, unit: str | None) -> list[str]:
    ranks = entry.ranks
    if ranks is None:
        return []
    lines = ["the metrics are taken from the slowest rank in each step"]
    if ranks.collectives:
        lines[0] += (
            f"; the last rank arrives {show_time(ranks.skew_median_ns, unit)} after the first at a collective (median "
            f"of {ranks.collectives}; at most {show_time(ranks.skew_largest_ns, unit)})"
        )
    else:
        lines[0] += "; no collective pairs the ranks, so each may run on its own"
    for rank in ranks.ranks:
        wait = "not measured" if rank.comm_wait_ns is None else show_time(rank.comm_wait_ns, unit)
        lines.append(
            f"  rank process {rank.process}: slowest in {rank.slowest_steps} of {rank.steps} steps, communication "
            f"{show_time(rank.comm_ns, unit)}, waiting for others {wait}"
        )
    return lines
