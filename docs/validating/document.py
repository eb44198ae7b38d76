"""Puts the document together."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from validating import figures, injection, tables

Records = dict[str, dict[str, Any]]


def load(data: Path) -> dict[str, Records]:
    """Return the records: machine to capture to record."""
    return {
        folder.name: {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}
        for folder in sorted(data.iterdir())
        if folder.is_dir()
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
    return parts


def text_of(template: str, everything: dict[str, Records], data: Path) -> str:
    """Return the document; raises KeyError where the text names a part that there is not."""
    parts = parts_of(everything, data)
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]](), template)


def render(docs: Path, target: Path | None = None) -> Path:
    """Write validation.md from validation.in.md and the data, and its pictures; return where (default: docs)."""
    target, data = target or docs, docs / "data"
    everything = load(data)
    figures.draw(everything, target / "images")
    document = target / "validation.md"
    document.write_text(text_of((docs / "validation.in.md").read_text(), everything, data))
    return document
