"""The time on the CPU of a phase by module and by symbol, with the layer that each counts in."""

from __future__ import annotations

from typing import Any

from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.totals.listing_rows import head
from taxbreak_nsys.totals.sample_totals import SampleTotals
from taxbreak_nsys.totals.sampled_split import SPLIT_STATES, Split, apportion

Row = dict[str, Any]

NO_SYMBOL = "[no symbol]"
_KEYS = ("layer", "kind", "module", "file", "symbol")


def layer_name(state: str, kind: str) -> str:
    """Return the layer of a sample: by its kind in a split state, else the profiler or the state itself."""
    if kind == "profiler":
        return "profiler"
    if state in SPLIT_STATES:
        return "library" if kind == "library" else "framework"
    return "launch path" if state == "launch" else state


def rows(
    totals: SampleTotals, entries: PhaseThreads, splits: list[Split | None]
) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Return a row per (phase, thread, layer, kind, module), and rows per symbol as well; largest time first.

    Times (ns) add up to the phase's sampled time on the CPU: the time of each state and kind is split among the frames
    in proportion to their samples (`sampled_split.apportion`, in order of file and symbol). `between_ns` is the part of
    a frame's time that its samples between an engine's marks have, rounded down; None for phases that are no cycles.
    """
    by_module: list[Row] = []
    by_symbol: list[Row] = []
    for entry, split in enumerate(splits):
        if split is None:
            continue
        by_frame: dict[tuple[str, ...], list[int]] = {}
        cycles = bool(entries.instances.cycle[entries.instances_of(entry)].any())
        hits = totals.hits(entry)
        for stratum in split.strata:
            for kind, time in stratum.kinds_ns.items():
                frames: dict[tuple[str, ...], tuple[int, int]] = {}
                for (module, symbol), (count, between) in hits[stratum.state, kind].items():
                    key: tuple[str, ...] = (
                        totals.modules.name.get(module, ""), totals.modules.file.get(module, ""),
                        symbol_to_show(totals.symbols.get(symbol, "")),
                    )  # fmt: skip
                    before = frames.get(key, (0, 0))
                    frames[key] = before[0] + count, before[1] + between
                order = sorted(frames, key=lambda key: key[1:])
                for key, ns in zip(order, apportion(time, [frames[key][0] for key in order]), strict=True):
                    count, between = frames[key]
                    sums = by_frame.setdefault((layer_name(stratum.state, kind), kind, *key), [0, 0, 0])
                    _add(sums, [count, ns, ns * between // count])
        by_symbol += _listed(head(entries, entry), by_frame, cycles=cycles)
        modules: dict[tuple[str, ...], list[int]] = {}
        for key, values in by_frame.items():
            _add(modules.setdefault(key[:-1], [0, 0, 0]), values)
        by_module += _listed(head(entries, entry), modules, cycles=cycles)
    return tuple(by_module), tuple(by_symbol)


def _add(sums: list[int], values: list[int]) -> None:
    """Add values to sums, place by place."""
    for place, value in enumerate(values):
        sums[place] += value


def _listed(head_columns: Row, sums: dict[tuple[str, ...], list[int]], *, cycles: bool) -> list[Row]:
    total = sum(ns for _, ns, _ in sums.values())
    return [
        head_columns
        | dict(zip(_KEYS, key, strict=False))
        | {"samples": count, "total_ns": ns, "share": ns / total if total else None}
        | {"between_ns": between if cycles else None}
        for key, (count, ns, between) in sorted(sums.items(), key=lambda item: (-item[1][1], item[0]))
    ]


def symbol_to_show(name: str) -> str:
    """Return the symbol to display: NO_SYMBOL if nsys gives an address or nothing in place of a name."""
    return NO_SYMBOL if not name or name.startswith("0x") else name
