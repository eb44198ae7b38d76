"""Section 1 of the document: cost added against cost found, by evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from validating.numbers import Measured, measured, table, us

Record = dict[str, Any]
SIZES = (10, 30, 100)
LAYERS = ("framework", "library", "launch")
COUNTED = {"framework": "framework", "library": "library", "native": "framework", "blocked": "os_wait"}
"""Where the cost of each kind belongs."""
DELTA = {"framework": "delta_ft_ns", "library": "delta_ct_ns"}
GIVEN = {"framework": "spin", "library": "inside"}


@dataclass(frozen=True)
class Cell:
    """One kind and size: what a product was given, ns, how far what was found is off, what the others got."""

    name: str
    count: int
    added_ns: float
    found_ns: float
    off: Measured
    leaks: dict[str, Measured]
    sum_off: float | None = None
    chance: float | None = None


def against_base(record: Record, kinds: tuple[str, ...] = ("framework", "library", "native", "blocked")) -> list[Cell]:
    """Injected steps against the steps around them in which nothing is added."""
    return [
        _cell(f"{kind} {size} us", record["injected"]["pairs"][f"{kind} {size} us"], COUNTED[kind], record["injected"])
        for kind in kinds
        for size in SIZES
    ]


def apart(record: Record) -> list[Cell]:
    """Products with the cost just inside their phase against those with it just outside."""
    return [
        _cell(f"{kind} {size} us", record["injected"]["apart"][f"{kind} {size} us"], COUNTED[kind], {"products": 1})
        for kind in ("framework", "blocked")
        for size in SIZES
    ]


def _cell(name: str, pairs: Record, target: str, injected: Record) -> Cell:
    products, added = injected["products"], pairs["added"]
    # around a sleep, the call that sleeps is Python's; the wait alone is what belongs to os_wait
    around = [call - wait for call, wait in zip(pairs["call"], added, strict=True)] if "call" in pairs else None

    def leaked(layer: str) -> Measured:
        values = pairs[layer]
        if around is not None and layer == "framework":
            values = [value - own for value, own in zip(values, around, strict=True)]
        return measured([value / given for value, given in zip(values, added, strict=True)])

    found = pairs[target]
    return Cell(
        name, len(added), median(added) / products, median(found) / products,
        measured([value / given - 1 for value, given in zip(found, added, strict=True)]),
        {layer: leaked(layer) for layer in LAYERS if layer != target},
        sum(found) / sum(added) - 1,
    )  # fmt: skip


def across(record: Record) -> list[Cell]:
    """The spin inside cuBLAS's range against the same spin, at the same place of the code, just before it."""
    cells = []
    for size in SIZES:
        inside, before = (record["injected"]["pairs"][f"{kind} {size} us"] for kind in ("library", "native"))
        rows = range(min(len(inside["added"]), len(before["added"])))

        def change(layer: str, at: int, inside: Record = inside, before: Record = before) -> int:
            return int(inside[layer][at] - before[layer][at])

        products = record["injected"]["products"]
        cells.append(
            Cell(
                f"library {size} us", len(rows), median(inside["added"]) / products,
                median(change("library", at) for at in rows) / products,
                measured([change("library", at) / inside["added"][at] - 1 for at in rows]),
                {
                    "framework": measured([change("framework", at) / before["added"][at] + 1 for at in rows]),
                    "launch": measured([change("launch", at) / inside["added"][at] for at in rows]),
                },
                sum(change("library", at) for at in rows) / sum(inside["added"]) - 1,
            )
        )  # fmt: skip
    return cells


def by_phase(record: Record) -> list[Cell]:
    """The program's own layers of whole phases, a repeat a phase, less those of the repeat's base."""
    injected, phases = record["injected"], record["evidence"]["best"]
    given, products = injected["given_ns"], injected["products"]
    repeats = sorted({label.rpartition(" (")[2] for label in given if label.endswith(")")})
    cells = []
    for kind in ("framework", "library"):
        for size in SIZES:
            name = f"{kind} {size} us"

            def a_step(label: str, layer: str) -> float:
                return float(phases[label]["taxbreak"][DELTA[layer]] / phases[label]["instances"])

            def more(layer: str, repeat: str, name: str = name) -> float:
                return a_step(f"{name} ({repeat}", layer) - a_step(f"base ({repeat}", layer)

            def was_given(label: str, kind: str = kind) -> float:
                return float(given[label][GIVEN[kind]] / given[label]["steps"])

            added = {repeat: was_given(f"{name} ({repeat}") - was_given(f"base ({repeat}") for repeat in repeats}
            other = "library" if kind == "framework" else "framework"
            found = [more(kind, repeat) for repeat in repeats]
            cells.append(
                Cell(
                    name, len(repeats), median(added.values()) / products, median(found) / products,
                    measured([value / added[repeat] - 1 for value, repeat in zip(found, repeats, strict=True)]),
                    {other: measured([more(other, repeat) / added[repeat] for repeat in repeats])},
                    chance=_chance(record, name, kind, sum(added.values()) / len(repeats)),
                )
            )  # fmt: skip
    return cells


def _chance(record: Record, name: str, kind: str, added: float) -> float | None:
    """Return how far off chance alone takes samples in 95 of 100 cases, of all repeats together; None without any."""
    phases = record["evidence"]["best"]
    variance = 0.0
    for start in (name, "base"):
        mine = [entry for label, entry in phases.items() if label.startswith(start + " (")]
        if not all("samples" in entry for entry in mine):
            return None
        steps, period = sum(entry["instances"] for entry in mine), mine[0]["samples"]["period_ns"]
        layer = sum(entry["taxbreak"][DELTA[kind]] for entry in mine)
        variance += layer * period / steps**2
    return float(1.96 * variance**0.5 / added)


def table_of(cells: list[Cell], layers: tuple[str, ...] = LAYERS) -> str:
    """Return the cells as a table."""
    head = ["injected", "pairs", "added, us a product", "found, us", "off by (95 %)"]
    head += [f"into {layer}, of what was added" for layer in layers]
    rows = []
    for cell in cells:
        leaks = [cell.leaks[layer].percent() if layer in cell.leaks else "" for layer in layers]
        rows.append((cell.name, cell.count, us(cell.added_ns), us(cell.found_ns), cell.off.percent(), *leaks))
    return table(head, rows)


def phase_table(cells: list[Cell]) -> str:
    """Return cells of whole phases as a table."""
    with_chance = any(cell.chance is not None for cell in cells)
    head = ["injected", "repeats", "added, us a product", "found, us", "off by (median and interval)"]
    head += ["chance alone, 95 %"] * with_chance + ["into the other layer, of what was added"]
    rows = []
    for cell in cells:
        chance = [f"±{100 * cell.chance:.1f} %" if cell.chance is not None else "-"] * with_chance
        (leak,) = cell.leaks.values()
        rows.append(
            (cell.name, cell.count, us(cell.added_ns), us(cell.found_ns), cell.off.percent(), *chance, leak.percent())
        )
    return table(head, rows)


def bars(everything: dict[str, dict[str, Record]]) -> str:
    """Return what was to be reached, and where it was."""
    checks: list[tuple[str, float, str, Callable[[Record], list[Cell]], str]] = [
        ("`ranges`, against doing nothing", 0.03, "inject", lambda r: against_base(r, ("framework", "library")), ""),
        ("`ranges`, cost moved across the border", 0.03, "inject", lambda r: [*apart(r)[:3], *across(r)], ""),
        ("`ranges`, sleeps, against doing nothing", 0.03, "inject", lambda r: against_base(r, ("blocked",)), ""),
        ("`ranges`, sleeps moved across the border", 0.03, "inject", lambda r: apart(r)[3:], ""),
        ("`samples`, against doing nothing", 0.10, "inject-samples", by_phase, ""),
    ]
    rows = []
    for what, bar, capture, cells_of, _ in checks:
        for machine, records in everything.items():
            cells = cells_of(records[capture])
            worst = max(cells, key=lambda cell: abs(cell.off.value))
            leaks = [(leak, cell.name, layer) for cell in cells for layer, leak in cell.leaks.items()]
            leak, name, layer = max(leaks, key=lambda found: abs(found[0].value))
            rows.append(
                (
                    what, machine, f"{100 * bar:.0f} %",
                    f"{sum(abs(cell.off.value) <= bar for cell in cells)} of {len(cells)}",
                    f"{worst.name}: {worst.off.percent()}",
                    f"{sum(abs(found[0].value) <= 0.03 for found in leaks)} of {len(leaks)}",
                    f"{name} into {layer}: {leak.percent()}",
                )
            )  # fmt: skip
    head = ("evidence", "machine", "bar", "within it", "furthest off", "leaks below 3 %", "largest leak")
    return table(head, rows)


def asked_and_added(record: Record) -> str:
    """Return what was asked for and what was really given, with a profiler and without."""
    rows = []
    for kind in ("framework", "library", "native", "blocked"):
        for size in SIZES:
            name = f"{kind} {size} us"
            pairs = record["injected"]["pairs"][name]
            traced = median(pairs["added"]) / record["injected"]["products"]
            rows.append((kind, size, us(record["injected"]["bare_added_ns"][name]), us(traced)))
    return table(("kind", "asked for, us", "added without a profiler, us", "added in the capture, us"), rows)


def sleeping(record: Record) -> str:
    """Return how far the recorded wait is from the measured one, by length; ns of each product."""
    rows = []
    for size in SIZES:
        pairs = record["injected"]["apart"][f"blocked {size} us"]
        added = pairs["added"]
        recorded = median(wait - given for wait, given in zip(pairs["os_wait"], added, strict=True))
        around = median(call - given for call, given in zip(pairs["call"], added, strict=True))
        rows.append((f"{size} us", us(median(added)), us(recorded), us(around), us(median(pairs["framework"]))))
    head = ("asked for", "wait measured, us", "recorded as os_wait, less that", "Python's call around it, us",
            "found in framework, us")  # fmt: skip
    return table(head, rows)


def a_sample(record: Record) -> str:
    """Return what taking a sample cost the base's thread, us: what of its time no sample stands for, by sample."""
    base = [entry for label, entry in record["evidence"]["best"].items() if label.startswith("base (")]
    count = sum(entry["samples"]["count"] for entry in base)
    stood_for = sum(entry["samples"]["count"] * entry["samples"]["period_ns"] for entry in base)
    return f"{(sum(entry['wall_ns'] for entry in base) - stood_for) / count / 1e3:.0f} us"
