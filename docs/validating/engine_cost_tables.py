"""Tables of docs/validation-engine.md: costs put into the engine, and where they were found."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

from validating.engine_costs import FIGURES
from validating.numbers import Measured, measured, ms, table, us

Record = dict[str, Any]
Records = dict[str, Record]

COST_RUNS = {
    "e-inj-ranges": "eager, ranges",
    "e-inj-light": "eager, light",
    "g-inj-os": "graphs, OS calls",
    "g-inj-whole24": "graphs, light, nsys 2024",
    "b/e-inj-ranges": "host B: eager, ranges",
    "b/e-inj-light": "host B: eager, light",
    "b/g-inj-whole24": "host B: graphs, light, nsys 2024",
}
OS_RUNS = ("e-inj-ranges", "g-inj-os", "b/e-inj-ranges")
"""Captures with OS calls: only these show a sleep."""
SAMPLES_RUN = "b/g-inj-samples"
WINDOW_RUNS = (*COST_RUNS, "e-inj-samples", SAMPLES_RUN, "tp-rank")
PLACES = {
    "scheduler": "between the marks",
    "output": "between the marks",
    "sampler": "between the marks",
    "forward": "inside the marks, 4 layers",
    "sleep": "between the marks",
    "rank": "waiting on the other rank",
}
"""Where a cost belongs, in words; `FIGURES` has the figure that must show it."""
SIZES = (50, 200, 1000)
LAUNCHING = tuple(figure for figure in FIGURES["kernels"] if figure != "kernels")
"""Host states that launching a kernel from Python takes time in."""


@dataclass(frozen=True)
class CostCell:
    """One kind of cost in one or several captures, ns: added and found per step, and how far found is off."""

    name: str
    place: str
    size: int
    count: int
    added_ns: float
    found_ns: float
    off: Measured

    @property
    def undecided(self) -> bool:
        """Whether the interval reaches over both sides of 3 %: the host is too unsteady to say."""
        return self.off.low < -0.03 and self.off.high > 0.03


def cost_cell(records: Records, runs: tuple[str, ...], place: str, size: int) -> CostCell | None:
    """Return a kind of cost, pooled over captures; None where no capture has it."""
    figure = FIGURES[place][0]
    added: list[int] = []
    found: list[int] = []
    for run in runs:
        pairs = records[run]["costs"]["pairs"].get(f"{place} {size}")
        if pairs:
            added += pairs["added"]
            found += pairs[figure]
    if not added:
        return None
    return CostCell(
        name=f"{place} {size} us",
        place=place,
        size=size,
        count=len(added),
        added_ns=median(added),
        found_ns=median(found),
        off=measured([value / given - 1 for value, given in zip(found, added, strict=True)]),
    )


def cost_cells(records: Records) -> list[CostCell]:
    """Return every kind of cost pooled over the captures that can show it."""
    cells = []
    for place in PLACES:
        runs = {"rank": ("tp-rank",), "sleep": OS_RUNS}.get(place, tuple(COST_RUNS))
        cells += [cost_cell(records, runs, place, size) for size in SIZES]
    return [cell for cell in cells if cell is not None]


def cost_table(records: Records) -> str:
    """Costs against the cycles around them, pooled over the captures."""
    rows = []
    for cell in cost_cells(records):
        name, *figures = _shown(cell)
        rows.append((name, PLACES[cell.place], *figures))
    return table(("injected", "belongs", "pairs", "added per step, us", "found, us", "off by (95 %)"), rows)


def _shown(cell: CostCell) -> tuple[object, ...]:
    return (cell.name, cell.count, us(cell.added_ns, 1), us(cell.found_ns, 1), cell.off.percent())


def cost_details(records: Records) -> str:
    """The same by capture."""
    rows = []
    for run, title in COST_RUNS.items():
        for place in PLACES:
            for size in SIZES:
                shown = place != "sleep" or run in OS_RUNS
                cell = cost_cell(records, (run,), place, size) if shown else None
                if cell is not None:
                    rows.append((title, *_shown(cell)))
    return table(("capture", "injected", "pairs", "added per step, us", "found, us", "off by (95 %)"), rows)


def window_table(records: Records) -> str:
    """Where the time of each cost itself was counted, all captures together."""
    rows = []
    for place in PLACES:
        added = inside = 0
        states: dict[str, int] = {}
        for run in WINDOW_RUNS:
            if place == "sleep" and run not in OS_RUNS:
                continue
            for name, window in records[run]["costs"]["windows"].items():
                if name.split()[0] == place:
                    added, inside = added + window["added"], inside + window["inside"]
                    for state, ns in window["states"].items():
                        states[state] = states.get(state, 0) + ns
        if not added:
            continue
        ordered = sorted(states.items(), key=lambda item: -item[1])
        counted = ", ".join(f"{state} {100 * ns / added:.2f} %" for state, ns in ordered)
        rows.append((place, ms(added), counted, f"{100 * inside / added:.2f} %", f"{100 * (1 - inside / added):.2f} %"))
    return table(("place", "added in all, ms", "counted as", "inside the marks", "between the marks"), rows)


def extra_table(records: Records) -> str:
    """Extra kernels and extra device time."""
    rows = []
    for run, title in COST_RUNS.items():
        pairs = records[run]["costs"]["pairs"]
        if "kernels 4" in pairs:
            entry = pairs["kernels 4"]
            spent = [sum(values) for values in zip(*(entry[state] for state in LAUNCHING), strict=True)]
            time = f"host: {us(median(entry['added']), 1)} us added, {us(median(spent), 1)} us found"
            rows.append((title, "4 small kernels in each of 4 layers", 16, f"{median(entry['kernels']):.0f}", time))
        if "device 5" in pairs:
            entry, events = pairs["device 5"], records[run]["costs"]["device_ns"]
            active = us(median(entry["active"]), 1)
            time = f"device active: {us(median(events), 1)} us by CUDA events, {active} us found"
            rows.append((title, "5 products of 4096 x 4096", 5, f"{median(entry['kernels']):.0f}", time))
    return table(("capture", "injected per step", "kernels added", "kernels found", "time"), rows)


def sampled_off(records: Records) -> tuple[float, float]:
    """Return how far framework time by samples is from what was added, and what chance alone would explain (95 %)."""
    found = records[SAMPLES_RUN]["sampled"]
    base, cost = found["base"], found["cost"]

    def per_step(entry: Record) -> float:
        return float(entry["taxbreak"]["delta_ft_ns"] / entry["instances"])

    added = found["added_ns"] / cost["instances"]
    variance = sum(
        entry["taxbreak"]["delta_ft_ns"] * entry["samples"]["period_ns"] / entry["instances"] ** 2
        for entry in (base, cost)
    )
    return (per_step(cost) - per_step(base)) / added - 1, float(1.96 * variance**0.5 / added)


def front_cell(records: Records) -> tuple[float, float]:
    """Return what 1000 us in the front-end process added there, and what the engine's cycles show of it, us."""
    pairs = records["g-front"]["costs"]["pairs"]["front 1000"]
    return median(pairs["added"]) / 1e3, median(pairs["wall"]) / 1e3
