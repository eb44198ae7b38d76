"""Sections 2 to 7 of the document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from validating.numbers import crossing, ms, share, table

Record = dict[str, Any]
Records = dict[str, Record]

LAYERS_OF = {"llama-3.2-1b": 16, "llama-3.2-3b": 28, "olmoe-1b-7b": 16, "qwen1.5-moe-a2.7b": 24}
DENSE_LIKE = {"olmoe-1b-7b": "llama-3.2-1b", "qwen1.5-moe-a2.7b": "llama-3.2-3b"}
"""The dense model whose depth is nearest to a mixture's."""


def a_step(entry: Record, key: str) -> str:
    """Return a layer's time a step in ms."""
    return ms((entry["taxbreak"][key] or 0) / entry["instances"], 1)


def corrected_hdbi(entry: Record) -> float | None:
    """Return the corrected HDBI, None without."""
    value: float | None = (entry.get("corrected") or {}).get("hdbi")
    return value


def model_phases(records: Records) -> Iterator[tuple[str, str, str, Record, float | None]]:
    """Yield (model, experts, phase, entry, un-profiled ms) of every model's phases."""
    for name in LAYERS_OF:
        if name not in records:
            continue
        for label, entry in records[name]["evidence"]["best"].items():
            phase, _, experts = label.rstrip(".").partition(" ")
            yield name, experts or "dense", phase, entry, records[name]["reference_ms"].get(label)


def models(records: Records) -> str:
    """Dense against mixture of experts."""
    rows = []
    for name, experts, phase, entry, bare in model_phases(records):
        layers = entry["taxbreak"]
        rows.append(
            (
                name, experts, phase, f"{entry['kernels'] / entry['instances']:,.0f}",
                "-" if bare is None else f"{bare:.1f}", ms(entry["wall_median_ns"], 1),
                *(a_step(entry, key) for key in ("delta_ft_ns", "delta_ct_ns", "delta_kt_ns", "t_device_active_ns")),
                share(layers["hdbi"]), share(corrected_hdbi(entry)),
            )
        )  # fmt: skip
    head = ("model", "experts", "phase", "kernels a step", "un-profiled, ms", "captured, ms", "delta_ft", "delta_ct",
            "delta_kt", "device", "HDBI", "HDBI corrected")  # fmt: skip
    return table(head, rows)


def ratios(records: Records) -> list[tuple[str, str, float, float, float]]:
    """Return (mixture, experts, kernels a token, times the dense model's, the same by layer)."""
    decode = {
        (name, experts): entry["kernels"] / entry["instances"]
        for name, experts, phase, entry, _ in model_phases(records)
        if phase == "decode"
    }
    found = []
    for (name, experts), kernels in decode.items():
        if name in DENSE_LIKE:
            dense = DENSE_LIKE[name]
            times = kernels / decode[dense, "dense"]
            found.append((name, experts, kernels, times, times * LAYERS_OF[dense] / LAYERS_OF[name]))
    return found


def ratio_table(records: Records) -> str:
    """Kernels a token of each implementation of a mixture, against the dense model of like depth."""
    rows = [
        (name, experts, f"{kernels:,.0f}", DENSE_LIKE[name], f"{times:.1f}", f"{by_layer:.1f}")
        for name, experts, kernels, times, by_layer in ratios(records)
    ]
    return table(("mixture", "experts", "kernels a token", "against", "times its kernels", "times, by layer"), rows)


def ratio(records: Records, name: str, experts: str) -> str:
    """Return one ratio of kernels a token, for the text."""
    (found,) = (times for mixture, how, _, times, _ in ratios(records) if (mixture, how) == (name, experts))
    return f"{found:.1f}"


def sweep_points(records: Records) -> list[tuple[str, int, int, Record]]:
    """Return (phase, batch, prompt, entry) of the sweep, the larger batches with it."""
    points = {}
    for name in ("sweep-large", "sweep"):
        for label, entry in records[name]["evidence"]["best"].items():
            phase, batch, prompt = label.rstrip(".").split()
            points[phase, int(batch[1:]), int(prompt[1:])] = entry
    return [(*key, entry) for key, entry in sorted(points.items())]


def sweep(records: Records) -> str:
    """HDBI over batch and prompt."""
    rows = [
        (phase, batch, prompt, share(entry["taxbreak"]["hdbi"]), share(corrected_hdbi(entry)),
         f"{100 * (entry['device']['idle_ns'] or 0) / entry['wall_ns']:.0f}", ms(entry["wall_median_ns"], 1))
        for phase, batch, prompt, entry in sweep_points(records)
    ]  # fmt: skip
    return table(("phase", "batch", "prompt", "HDBI captured", "corrected", "device idle, %", "wall, ms"), rows)


def crossings(records: Records) -> str:
    """Where HDBI rises through 0.5: over the prompt for each batch, over the batch for each prompt."""
    points = sweep_points(records)
    rows = []
    for phase in ("prefill", "decode"):
        mine = [(batch, prompt, entry) for label, batch, prompt, entry in points if label == phase]
        for batch in sorted({batch for batch, _, _ in mine}):
            line = [(prompt, entry) for other, prompt, entry in mine if other == batch]
            if len(line) > 1:
                rows.append((phase, f"batch {batch}", "prompt", *_where(line)))
        for prompt in sorted({prompt for _, prompt, _ in mine}):
            line = [(batch, entry) for batch, other, entry in mine if other == prompt]
            rows.append((phase, f"prompt {prompt}", "batch", *_where(line)))
    return table(("phase", "at", "over", "captured", "corrected", "measured at"), rows)


def _where(line: list[tuple[int, Record]]) -> tuple[str, str, str]:
    captured = [(x, entry["taxbreak"]["hdbi"]) for x, entry in line]
    corrected = [(x, value) for x, entry in line if (value := corrected_hdbi(entry)) is not None]
    return _said(captured), _said(corrected), ", ".join(str(x) for x, _ in sorted(line))


def _said(points: list[tuple[int, float]]) -> str:
    at = crossing(points)
    if at is not None:
        below, above = max(x for x, _ in points if x < at), min(x for x, _ in points if x >= at)
        return f"about {at:,.0f} (between {below} and {above})"
    values = [value for _, value in points]
    return (
        f"above everywhere ({min(values):.2f} and more)"
        if min(values) >= 0.5
        else f"not reached ({max(values):.2f} at most)"
    )


SETTINGS = {
    "settings-light": "cuda, nvtx",
    "settings-os": "cuda, nvtx, osrt from 1 us on",
    "settings-os-all": "cuda, nvtx, osrt without a threshold",
    "settings-ranges": "cuda, nvtx, osrt, cuBLAS ranges",
    "settings-samples": "cuda, nvtx, samples at 8 kHz",
    "settings-operators": "cuda, nvtx, osrt, operator ranges",
    "settings-operators-ranges": "all of these ranges",
}


def settings_points(records: Records) -> list[tuple[str, float, float, float | None, Record]]:
    """Return (what is traced, dilation, HDBI captured, corrected, entry) of each setting's decode."""
    found = []
    for name, what in SETTINGS.items():
        entry = records[name]["evidence"]["best"]["decode"]
        dilation = entry["wall_median_ns"] / 1e6 / records[name]["reference_ms"]["decode"]
        found.append((what, dilation, entry["taxbreak"]["hdbi"], corrected_hdbi(entry), entry))
    return found


def settings(records: Records) -> str:
    """Captured against un-profiled wall, by trace settings."""
    rows = [
        (what, ms(entry["wall_median_ns"]), f"{entry['wall_median_ns'] / 1e6 / dilation:.2f}", f"{dilation:.2f}",
         share(hdbi), share(corrected))
        for what, dilation, hdbi, corrected, entry in settings_points(records)
    ]  # fmt: skip
    return table(("traced", "wall, ms", "un-profiled, ms", "dilation", "HDBI captured", "HDBI corrected"), rows)


def spread(records: Records, which: str) -> str:
    """Return the smallest and largest HDBI over the settings, `captured` or `corrected`, and the ratio of the two."""
    values = [
        value
        for _, _, captured, corrected, _ in settings_points(records)
        if (value := captured if which == "captured" else corrected) is not None
    ]
    return f"{min(values):.3f} to {max(values):.3f}, {100 * (max(values) / min(values) - 1):.0f} % apart"


def rates(records: Records) -> str:
    """The same steps sampled at several rates."""
    rows = []
    for name in sorted((name for name in records if name.startswith("rates-")), key=lambda name: int(name[6:])):
        entry = records[name]["evidence"]["best"]["decode"]
        layers, samples = entry["taxbreak"], entry["samples"]
        host = layers["delta_ft_ns"] + layers["delta_ct_ns"]
        low, high = (100 * bound / host for bound in layers["library_interval_ns"])
        rows.append(
            (
                f"{1e6 / samples['period_ns']:g} kHz", entry["instances"], samples["count"],
                ms(entry["wall_median_ns"], 1), f"{100 * layers['delta_ct_ns'] / host:.1f} ({low:.1f} to {high:.1f})",
                f"{100 * samples['profiler_share']:.1f}", share(layers["hdbi"]), share(corrected_hdbi(entry)),
            )
        )  # fmt: skip
    head = ("samples at", "steps", "samples", "wall, ms", "library, % of framework and library (95 %)",
            "profiler, % of the phase", "HDBI captured", "HDBI corrected")  # fmt: skip
    return table(head, rows)


def subtraction(records: Records) -> str:
    """The paper's Eq. 5 against cuBLAS' own ranges on one capture that has both."""
    record = records["settings-operators-ranges"]
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
    for label, entry in records["settings-operators"]["evidence"]["best"].items():
        count = entry["instances"]
        ranges = record["evidence"]["ranges"][label]["taxbreak"]["delta_ct_ns"] / count
        found = entry["taxbreak"]["delta_ct_ns"] / count
        rows.append((f"{label}, operator ranges alone", ms(ranges), ms(found), f"{found / ranges:.2f}"))
    return table(("phase", "cuBLAS' ranges, ms a step", "the subtraction, ms a step", "ratio"), rows)


def graphs(records: Records) -> str:
    """The decode step eagerly and as a graph."""
    rows = []
    for name in ("graph-node", "graph-graph"):
        for label, entry in records[name]["evidence"]["best"].items():
            hdbi = entry["taxbreak"]["hdbi"]
            rows.append(
                (
                    name, label, ms(entry["wall_median_ns"]), f"{records[name]['reference_ms'][label]:.2f}",
                    entry["launches"]["kernel"] // entry["instances"], entry["launches"]["graph"] // entry["instances"],
                    share(hdbi) if hdbi is not None else "null: " + entry["taxbreak"]["hdbi_reason"],
                )
            )  # fmt: skip
    head = ("capture", "phase", "wall, ms", "un-profiled, ms", "kernel launches", "graph launches", "HDBI")
    return table(head, rows)


def predicted(everything: dict[str, Records]) -> str:
    """What `whatif --graphs` says of the eager step, against the step that ran as a graph."""
    rows = []
    for machine, records in everything.items():
        node, light = records["graph-node"], records["graph-graph"]
        for found in node["whatif_graphs"]:
            ran = {
                "traced node by node": node["evidence"]["best"]["decode_graph"]["wall_median_ns"],
                "traced as a whole": light["evidence"]["best"]["decode_graph"]["wall_median_ns"],
                "without a profiler": node["reference_ms"]["decode_graph"] * 1e6,
            }
            guess = found["predicted_wall_median_ns"]
            for how, wall in ran.items():
                rows.append(
                    (
                        machine,
                        ms(found["wall_median_ns"]),
                        ms(guess),
                        how,
                        ms(wall),
                        f"{100 * (guess / wall - 1):+.0f} %",
                    )
                )
    head = ("machine", "eager step, ms", "predicted as a graph, ms", "the graph was", "measured, ms", "off by")
    return table(head, rows)


def machines(everything: dict[str, Records]) -> str:
    """The same captures on every machine."""
    rows = []
    for machine, records in everything.items():
        for name in ("null", "llama-3.2-1b", "llama-3.2-3b", "olmoe-1b-7b", "graph-node"):
            record = records[name]
            for label, entry in record["evidence"]["best"].items():
                bare = record["reference_ms"].get(label)
                rows.append(
                    (
                        name, label.rstrip("."), machine, ms(entry["wall_median_ns"]), f"{bare:.2f}" if bare else "-",
                        ms((entry["taxbreak"]["t_device_active_ns"] or 0) / entry["instances"]),
                        record["t_sys_ns"], share(entry["taxbreak"]["hdbi"]), share(corrected_hdbi(entry)),
                    )
                )  # fmt: skip
    head = ("workload", "phase", "machine", "wall, ms", "un-profiled, ms", "device, ms a step", "T_sys, ns", "HDBI",
            "HDBI corrected")  # fmt: skip
    return table(head, sorted(rows, key=lambda row: (row[0], row[1], row[2])))


def device_times(everything: dict[str, Records]) -> str:
    """Return by how much the device's time of a step is shorter on the H200, for the text: from, to."""
    ratios = []
    for name in ("llama-3.2-1b", "llama-3.2-3b", "olmoe-1b-7b"):
        for label, entry in everything["h100"][name]["evidence"]["best"].items():
            other = everything["h200"][name]["evidence"]["best"][label]
            here, there = (part["taxbreak"]["t_device_active_ns"] / part["instances"] for part in (entry, other))
            ratios.append(1 - there / here)
    return f"{100 * min(ratios):.0f} to {100 * max(ratios):.0f} %"


def host_spread(records: Records) -> str:
    """Return what the same decode step took without a profiler in the captures' different hours, for the text."""
    labels = {"llama-3.2-1b": "decode", "rates-125000": "decode", "settings-light": "decode", "sweep": "decode b1 p64."}
    times = sorted(records[name]["reference_ms"][label] for name, label in labels.items())
    return ", ".join(f"{time:.1f}" for time in times[:-1]) + f" and {times[-1]:.1f} ms"
