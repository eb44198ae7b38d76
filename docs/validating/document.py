"""Puts the document together."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from validating import figures, injection, tables
from validating.engine_document import engine_parts, load_engine, span

Records = dict[str, dict[str, Any]]


MACHINES = ("h100", "h200")
PAGES = ("validation", "validation-loop", "validation-engine")
"""Pages that are rendered, each from NAME.in.md."""


def load(data: Path) -> dict[str, Records]:
    """Return the loop's records: machine to capture to record."""
    return {
        machine: {file.stem: json.loads(file.read_text()) for file in sorted((data / machine).glob("*.json"))}
        for machine in MACHINES
    }


def parts_of(everything: dict[str, Records], data: Path) -> dict[str, Callable[[], str]]:
    """Return what stands for each {{name}} in the text."""
    main = everything["h100"]
    parts: dict[str, Callable[[], str]] = {
        "bars": lambda: injection.bars(everything),
        "asked": lambda: injection.asked_and_added(main["inject"]),
        "sleep": lambda: injection.sleeping(main["inject"]),
        "subtractive": lambda: injection.phase_table(injection.by_phase(main["inject-operators"])),
        "periodic": lambda: injection.phase_table(injection.by_phase(main["inject-samples-periodic"])),
        "a_sample": lambda: injection.a_sample(main["inject-samples"]),
        "models": lambda: tables.models(main),
        "ratios": lambda: tables.ratio_table(main),
        "ratio_eager": lambda: tables.ratio(main, "olmoe-1b-7b", "eager"),
        "ratio_every": lambda: tables.ratio(main, "olmoe-1b-7b", "every"),
        "ratio_grouped": lambda: tables.ratio(main, "olmoe-1b-7b", "grouped_mm"),
        "sweep": lambda: tables.sweep(main),
        "crossings": lambda: tables.crossings(main),
        "settings": lambda: tables.settings(main),
        "spread_captured": lambda: tables.spread(main, "captured"),
        "spread_corrected": lambda: tables.spread(main, "corrected"),
        "rates": lambda: tables.rates(main),
        "subtraction": lambda: tables.subtraction(main),
        "graphs": lambda: tables.graphs(main),
        "predicted": lambda: tables.predicted(everything),
        "machines": lambda: tables.machines(everything),
        "host_spread": lambda: tables.host_spread(main),
        "device_times": lambda: tables.device_times(everything),
        "loop_off": lambda: span([cell.off.value for cell in _exact(everything)]),
        "loop_off_samples": lambda: span([cell.off.value for cell in _sampled(everything)]),
        "capture": lambda: re.sub(r"^#+ ", "#### ", (data / "capture-h100.md").read_text(), flags=re.MULTILINE),
    }
    for machine, records in everything.items():
        inject, samples = records["inject"], records["inject-samples"]
        parts |= {
            f"base_{machine}": lambda r=inject: injection.table_of(injection.against_base(r)),
            f"phases_{machine}": lambda r=inject: injection.phase_table(injection.by_phase(r)),
            f"border_{machine}": lambda r=inject: injection.table_of(
                [*injection.apart(r)[:3], *injection.across(r), *injection.apart(r)[3:]]
            ),
            f"samples_{machine}": lambda r=samples: injection.phase_table(injection.by_phase(r)),
        }
    return parts | engine_parts(data)


def _exact(everything: dict[str, Records]) -> list[injection.Cell]:
    """Return the injected costs of framework and library, evidence `ranges`, of all machines."""
    return [
        cell
        for records in everything.values()
        for cell in injection.against_base(records["inject"], ("framework", "library"))
    ]


def _sampled(everything: dict[str, Records]) -> list[injection.Cell]:
    return [cell for records in everything.values() for cell in injection.by_phase(records["inject-samples"])]


def text_of(template: str, everything: dict[str, Records], data: Path) -> str:
    """Return the document; raises KeyError where the text names a part that there is not."""
    parts = parts_of(everything, data)
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]](), template)


def render(docs: Path, target: Path | None = None) -> list[Path]:
    """Write every page from its template and the data, and the figures; return where (default: docs)."""
    target, data = target or docs, docs / "data"
    everything = load(data)
    figures.draw(everything, load_engine(data), target / "images")
    pages = []
    for name in PAGES:
        pages.append(target / f"{name}.md")
        pages[-1].write_text(text_of((docs / f"{name}.in.md").read_text(), everything, data))
    return pages
