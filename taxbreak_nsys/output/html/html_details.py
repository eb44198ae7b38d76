"""What the page shows beside layers and steps: large numbers, levers, two reports side by side, the call tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.output.detail_tables import gap_sentences
from taxbreak_nsys.output.flame_graph import frame_name
from taxbreak_nsys.output.layer_stack import COLOURS, STATE_COLOURS, device_busy_ns, phase_title
from taxbreak_nsys.output.units import show_share, show_time

if TYPE_CHECKING:
    from taxbreak_nsys.result import Phase, Result

Row = dict[str, Any]

PAGE_TABLES = frozenset({"gaps", "ranges", "classes", "fusion", "call_tree"})
"""The tables of details that the page shows, of `detail_rows.DETAIL_TABLES`."""

MOST_FRAMES = 600
"""Frames of a phase's flame graph; smaller ones count for their callers alone."""
_LEVERS = {"launch_path": "launch path", "framework_library": "framework + library"}


def large_numbers(entry: Phase) -> list[tuple[str, str]]:
    """Return the three numbers at the top of a card, each with what it is: time, device busy, best lever."""
    steps = entry.steps
    if steps is not None and steps.per_token_ns is not None:
        time = (show_time(steps.per_token_ns["wall"]), "per token")
    else:
        time = (show_time(entry.wall_ns // max(entry.instances, 1)), "per step")
    busy = device_busy_ns(entry)
    device = (f"{show_share(busy, entry.wall_ns)} %" if busy is not None else "not measured", "device busy")
    best = best_lever(entry)
    if best is None:
        return [time, device, ("-", "no lever is forecast")]
    return [time, device, (f"{100 * best[1]:.1f} %", f"less time with half the {best[0]}")]


def best_lever(entry: Phase) -> tuple[str, float] | None:
    """Return the lever that saves most when it is halved, and the share of the wall time that it saves."""
    known = {name: saved for name, saved in entry.verdict.savings.items() if saved is not None}
    if not known:
        return None
    name = max(known, key=lambda lever: known[lever])
    return _LEVERS.get(name, name.replace("_", " ")), known[name]


def lever_rows(results: Sequence[Result], titles: Sequence[str]) -> list[Row]:
    """Return what halving each layer would save, the largest saving of each phase first, and the best fusion."""
    found: list[Row] = []
    for result, title in zip(results, titles, strict=True):
        for entry in result.entries:
            if entry.combined and any(e.phase == entry.phase and not e.combined for e in result.entries):
                continue
            found += [{"report": title, **row} for row in _levers_of(entry, result)]
    return found


def _levers_of(entry: Phase, result: Result) -> Iterator[Row]:
    phase, steps = phase_title(entry, result.entries), max(entry.instances, 1)
    savings = [(name, share) for name, share in entry.verdict.savings.items() if share is not None]
    for name, share in sorted(savings, key=lambda item: -item[1]):
        if share >= 0.001:
            shown = _LEVERS.get(name, name.replace("_", " "))
            yield {
                "phase": phase,
                "lever": f"half the {shown}",
                "share": f"{100 * share:.1f}",
                "value": share,
                "step": show_time(round(share * entry.wall_ns / steps)),
                "how": "forecast by the replay",
            }
    key = (entry.phase, entry.process, entry.thread)
    for row in result.details.fusion or ():
        if (row["phase"], row["process"], row["thread"]) == key:
            yield {
                "phase": phase,
                "lever": f"fuse {row['kernels']} kernels: {row['pattern']}",
                "share": f"{100 * (row['share'] or 0):.1f}",
                "value": row["share"] or 0,
                "step": show_time(row["saved_per_step_ns"]),
                "how": f"exposed launch time; at most {show_time(row['path_ns'] // steps)} per step",
            }
            break


def sentences(result: Result) -> list[str]:
    """Return the sentences on idle gaps."""
    return [f"{sentence[:1].upper()}{sentence[1:]}." for sentence in gap_sentences(result)]


def delta_rows(results: Sequence[Result]) -> list[Row]:
    """Return the figures of two reports side by side, by phase: before, after, difference; empty for other numbers."""
    if len(results) != 2:
        return []
    before, after = ({e.phase: e for e in reversed(result.entries)} for result in results)
    found: list[Row] = []
    for phase in before:
        if phase in after:
            found += [{"phase": phase, **row} for row in _deltas(before[phase], after[phase])]
    return found


def _deltas(before: Phase, after: Phase) -> Iterator[Row]:
    def per_step(entry: Phase, ns: int | None) -> int | None:
        return None if ns is None else ns // max(entry.instances, 1)

    both = [entry.taxbreak.ft_includes_library for entry in (before, after)]
    times = (
        ("wall", before.wall_ns, after.wall_ns),
        ("framework + library" if any(both) else "framework (ΔFT)", _framework(before, both), _framework(after, both)),
        ("library (ΔCT)", before.taxbreak.delta_ct_ns, after.taxbreak.delta_ct_ns),
        ("launch path (ΔKT)", before.taxbreak.delta_kt_ns, after.taxbreak.delta_kt_ns),
        ("device active", before.device.active_ns, after.device.active_ns),
        ("device idle", before.device.idle_ns, after.device.idle_ns),
    )
    for name, *values in times[:2] + times[2 + any(both) :]:
        title = f"{name} per step"
        one, other = per_step(before, values[0]), per_step(after, values[1])
        yield _delta(title, one, other, show_time(one), show_time(other), time=True)
    counts = ("kernels per step", before.kernels / max(before.instances, 1), after.kernels / max(after.instances, 1))
    yield _delta(*counts, f"{counts[1]:,.0f}", f"{counts[2]:,.0f}")
    hdbi = before.taxbreak.hdbi, after.taxbreak.hdbi
    yield _delta("HDBI", *hdbi, *("not measured" if value is None else f"{value:.3f}" for value in hdbi))


def _framework(entry: Phase, both: list[bool]) -> int:
    """Return delta_ft, with delta_ct where one of two phases cannot tell them apart."""
    return entry.taxbreak.delta_ft_ns + ((entry.taxbreak.delta_ct_ns or 0) if any(both) else 0)


def _delta(title: str, one: float | None, other: float | None, before: str, after: str, *, time: bool = False) -> Row:
    row = {"figure": title, "before": before, "after": after, "difference": "-", "percent": "-"}
    if one is not None and other is not None:
        change = other - one
        row["difference"] = (
            f"{'+' if change > 0 else ''}{show_time(round(change))}"
            if time
            else f"{change:+,.3f}".rstrip("0").rstrip(".")
        )
        row["percent"] = f"{100 * change / one:+.1f}" if one else "-"
    return row


def flames(results: Sequence[Result]) -> list[Row]:
    """Return the call tree of each phase and thread that has samples, as columns for an icicle chart; times in ns."""
    found: list[Row] = []
    for number, result in enumerate(results):
        by_entry: dict[tuple[Any, ...], list[Row]] = {}
        for row in result.details.calls or ():
            by_entry.setdefault((row["phase"], row["process"], row["thread"]), []).append(row)
        for (phase, process, thread), rows in by_entry.items():
            found.append({"report": number, "title": f"{phase} ({process}/{thread})", **_flame(rows)})
    return found


def _flame(rows: Sequence[Row]) -> Row:
    kept = set(sorted(range(len(rows)), key=lambda k: (-rows[k]["total_ns"], k))[:MOST_FRAMES])
    total: dict[str, list[int]] = {}
    for row in rows:
        if row["depth"] == 1:
            times = total.setdefault(row["layer"], [0, 0])
            times[0] += row["total_ns"]
            times[1] += row["exposed_ns"] or 0
    flame: dict[str, list[Any]] = {"label": [], "parent": [], "ns": [], "exposed": [], "colour": [], "module": []}
    layers = {layer: _put(flame, layer, -1, times, layer_colour(layer), "") for layer, times in total.items()}
    callers: list[int] = []
    for number, row in enumerate(rows):
        # callers come before what they call, and have at least its time: the caller of a kept frame is kept
        if number in kept:
            callers[row["depth"] - 1 :] = []
            parent = callers[-1] if callers else layers[row["layer"]]
            times = [row["total_ns"], row["exposed_ns"] or 0]
            callers.append(
                _put(flame, frame_name(row), parent, times, layer_colour(row["layer"]), row["module"])
            )  # fmt: skip
    return flame | {"left_out": len(rows) - len(kept), "measured": bool(rows) and rows[0]["exposed_ns"] is not None}


def _put(flame: dict[str, list[Any]], label: str, parent: int, times: list[int], colour: str, module: str) -> int:
    values = {"label": label, "parent": parent, "ns": times[0], "exposed": times[1], "colour": colour, "module": module}
    for key, value in values.items():
        flame[key].append(value)
    return len(flame["label"]) - 1


def layer_colour(layer: str) -> str:
    """Return the colour of a layer of the sample tables: that of the same layer or state in every picture."""
    key = layer.replace(" ", "_")
    return COLOURS.get(key) or STATE_COLOURS.get(key, COLOURS["rest"])
