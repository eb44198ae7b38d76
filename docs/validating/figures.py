"""The document's pictures, from the same JSON as its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from validating.engine_cost_tables import cost_cells
from validating.engine_steps import steps
from validating.injection import SIZES, Cell, against_base, by_phase
from validating.tables import corrected_hdbi, settings_points, sweep_points

Records = dict[str, dict[str, Any]]
COLOURS = ("#3b6ea8", "#d07a2d", "#4f9a63", "#8a5fa8")


def draw(everything: dict[str, Records], engine_records: Records, folder: Path) -> list[Path]:
    """Write the pictures; return their paths."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {
        "validation-injection.png": injection(everything),
        "validation-sweep.png": sweep(everything["h100"]),
        "validation-correction.png": correction(everything["h100"]),
        "validation-engine.png": engine(engine_records),
    }
    for name, figure in drawn.items():
        # without the program's version and the date: the same data give the same file
        figure.savefig(folder / name, dpi=110, metadata={"Software": None})
        matplotlib.pyplot.close(figure)
    return [folder / name for name in drawn]


def injection(everything: dict[str, Records]) -> Any:
    """Cost added against cost found, and how far the one is from the other."""
    from matplotlib import pyplot

    figure, (found, off) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained", width_ratios=(1, 1.5))
    series: list[tuple[str, list[Cell], float]] = []
    for machine, records in everything.items():
        series += [
            (f"ranges, {machine}", against_base(records["inject"], ("framework", "library")), 0.03),
            (f"samples, {machine}", by_phase(records["inject-samples"]), 0.10),
        ]
    found.plot([8, 130], [8, 130], color="#999999", linewidth=1, zorder=1)
    for number, (name, cells, _) in enumerate(series):
        added = [cell.added_ns / 1e3 for cell in cells]
        found.plot(added, [cell.found_ns / 1e3 for cell in cells], "o+x1"[number], color=COLOURS[number], label=name,
                   fillstyle="none")  # fmt: skip
        for at, cell in enumerate(cells):
            middle, low, high = (100 * part for part in (cell.off.value, cell.off.low, cell.off.high))
            x, around = at + 0.18 * (number - 1.5), [[middle - low], [high - middle]]
            off.errorbar(x, middle, around, marker="o", markersize=4, color=COLOURS[number], linewidth=1.2)
    found.set(xscale="log", yscale="log", xlabel="added, us a product", ylabel="found, us a product")
    for axis in (found.xaxis, found.yaxis):
        axis.set_major_locator(matplotlib_ticks(list(SIZES)))
        axis.set_major_formatter("{x:.0f}")
        axis.set_minor_locator(matplotlib_ticks([]))
    found.legend(frameon=False, fontsize=8)
    for bar, style in ((3, ":"), (10, "--")):
        for side in (-bar, bar):
            off.axhline(side, color="#999999", linewidth=0.8, linestyle=style, zorder=1)
        off.annotate(f"{bar} %", (5.55, bar), fontsize=8, va="bottom", color="#666666")
    off.axhline(0, color="#999999", linewidth=0.8, zorder=1)
    off.set_xticks(range(6), [cell.name.replace(" ", "\n", 1) for cell in series[0][1]])
    off.set(ylabel="found less added, % (95 % interval)", xlim=(-0.5, 5.9))
    return figure


def matplotlib_ticks(at: list[int]) -> Any:
    """Return a locator of ticks at given places."""
    from matplotlib.ticker import FixedLocator

    return FixedLocator(at)


def sweep(records: Records) -> Any:
    """HDBI over the prompt, a line a batch."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained", sharey=True)
    points = sweep_points(records)
    batches = sorted({batch for _, batch, _, _ in points})
    shades = pyplot.get_cmap("viridis")
    for panel, phase in zip(axes, ("prefill", "decode"), strict=True):
        for number, batch in enumerate(batches):
            line = [(prompt, entry) for label, other, prompt, entry in points if (label, other) == (phase, batch)]
            colour, x = shades(0.9 * number / (len(batches) - 1)), [prompt for prompt, _ in line]
            panel.plot(x, [entry["taxbreak"]["hdbi"] for _, entry in line], "o--", color=colour, linewidth=0.8,
                       markersize=3)  # fmt: skip
            panel.plot(x, [corrected_hdbi(entry) for _, entry in line], "o-", color=colour, label=f"batch {batch}")
        panel.axhline(0.5, color="#999999", linewidth=0.8)
        panel.set(xscale="log", xlabel="prompt, tokens", title=phase, ylim=(0, 1.03))
        panel.set_xticks([64, 512, 4096], ["64", "512", "4096"])
        panel.minorticks_off()
    axes[0].set_ylabel("HDBI (dashed: as captured; full: corrected)")
    axes[1].legend(frameon=False, fontsize=8)
    return figure


def correction(records: Records) -> Any:
    """HDBI as captured and corrected, over how much each setting slows the phase."""
    from matplotlib import pyplot

    points = sorted(settings_points(records), key=lambda point: point[1])
    figure, axis = pyplot.subplots(figsize=(10, 3.2), layout="constrained")
    rows = range(len(points))
    for row, (_, _, captured, corrected, _) in zip(rows, points, strict=True):
        if corrected is not None:
            axis.plot([captured, corrected], [row, row], color="#bbbbbb", linewidth=1.5, zorder=1)
    axis.plot([point[2] for point in points], rows, "o", color=COLOURS[1], label="as captured")
    axis.plot([point[3] for point in points], rows, "o", color=COLOURS[0], label="corrected")
    axis.set_yticks(rows, [f"{what} (x {dilation:.2f})" for what, dilation, *_ in points])
    axis.set(xlabel="HDBI of decode; in brackets how many times slower than without a profiler", xlim=(0, 0.125))
    axis.invert_yaxis()
    axis.legend(frameon=False, fontsize=8, loc="lower left")
    return figure


def engine(records: Records) -> Any:
    """Costs added to an engine against costs found, and HDBI as captured and corrected against the bare step."""
    from matplotlib import pyplot

    figure, (found, off) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained", width_ratios=(1, 1.5))
    places = list(dict.fromkeys(cell.place for cell in cost_cells(records)))
    found.plot([40, 5000], [40, 5000], color="#999999", linewidth=1, zorder=1)
    for number, place in enumerate(places):
        cells = [cell for cell in cost_cells(records) if cell.place == place]
        found.plot([cell.added_ns / 1e3 for cell in cells], [cell.found_ns / 1e3 for cell in cells], "o+x1sd"[number],
                   color=COLOURS[number % len(COLOURS)], label=place, fillstyle="none")  # fmt: skip
    found.set(xscale="log", yscale="log", xlabel="added per step, us", ylabel="found, us")
    found.legend(frameon=False, fontsize=8)
    shown = [step for step in steps(records) if step.corrected is not None and step.batch == 1]
    for number, (name, values) in enumerate(
        {
            "as captured": [step.phase["taxbreak"]["hdbi"] / step.expected - 1 for step in shown],
            "corrected": [(step.corrected or 0) / step.expected - 1 for step in shown],
        }.items()
    ):
        off.plot([100 * value for value in values], range(len(shown)), "xo"[number], color=COLOURS[number], label=name)
    for bar in (-5, 5):
        off.axvline(bar, color="#999999", linewidth=1, linestyle=":")
    names = [f"{step.mode}: {step.setting} ({step.nsys})" for step in shown]
    off.set_yticks(range(len(shown)), names, fontsize=7)
    off.invert_yaxis()
    off.set(xlabel="HDBI against the bare step, % off (1 request; dotted: 5 %)")
    off.legend(frameon=False, fontsize=8)
    return figure
