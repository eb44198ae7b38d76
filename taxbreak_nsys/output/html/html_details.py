"""The page's headline numbers, levers and call tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.output.detail_tables import gap_sentences
from taxbreak_nsys.output.flame_graph import frame_name
from taxbreak_nsys.output.layer_stack import COLOURS, STATE_COLOURS, device_busy_ns, phase_title
from taxbreak_nsys.output.units import show_share, show_time
from taxbreak_nsys.replay.levers import GRAPHS
from taxbreak_nsys.replay.predicted_phase import Prediction, key
from taxbreak_nsys.replay.prediction import Replay
from taxbreak_nsys.verdict.advice import graphs_pay

if TYPE_CHECKING:
    from taxbreak_nsys.result import Phase, Result

Row = dict[str, Any]

PAGE_TABLES = frozenset({"gaps", "ranges", "classes", "fusion", "call_tree"})
"""The tables of `detail_rows.DETAIL_TABLES` that the page shows."""

MOST_FRAMES = 600
"""Most frames of a phase's flame graph; the time of smaller frames stays visible in their callers."""
_REPLAYED = "forecast by the replay"
_LEVERS = {"launch_path": "launch path", "framework_library": "framework + library"}


def large_numbers(entry: Phase) -> list[tuple[str, str]]:
    """Return the three numbers at the top of a card as (text, caption): time, device busy, best lever."""
    steps = entry.steps
    if steps is not None and steps.per_token_ns is not None:
        time = (show_time(steps.per_token_ns["wall"]), "per token")
    else:
        time = (show_time(entry.wall_ns // max(entry.instances, 1)), "per step")
    busy = device_busy_ns(entry)
    device = (f"{show_share(busy, entry.wall_ns)} %" if busy is not None else "not measured", "device busy")
    best = best_lever(entry)
    if best is None:
        return [time, device, ("-", "no forecast of levers")]
    return [time, device, (f"{100 * best[1]:.1f} %", f"less time with half the {best[0]}")]


def best_lever(entry: Phase) -> tuple[str, float] | None:
    """Return the lever with the largest saving when its time is halved, and that saving as a share of the wall time.

    None if no saving is known.
    """
    known = {name: saved for name, saved in entry.verdict.savings.items() if saved is not None}
    if not known:
        return None
    name = max(known, key=lambda lever: known[lever])
    return _LEVERS.get(name, name.replace("_", " ")), known[name]


def lever_rows(results: Sequence[Result], titles: Sequence[str]) -> list[Row]:
    """Return rows with the saving from CUDA graphs and from halving each layer, largest first per phase.

    The fusion of kernels that saves most follows.
    """
    rows: list[Row] = []
    for result, title in zip(results, titles, strict=True):
        graphs = {key(one): one for one in Replay(result).predict(GRAPHS.scenario, in_full=False)}
        for entry in result.entries:
            if entry.combined and any(other.phase == entry.phase and not other.combined for other in result.entries):
                continue
            rows += [{"report": title, **row} for row in _phase_levers(entry, result, graphs[key(entry)])]
    return rows


def _phase_levers(entry: Phase, result: Result, graphs: Prediction) -> Iterator[Row]:
    phase, steps = phase_title(entry, result.entries), max(entry.instances, 1)
    savings = [
        (f"half the {_LEVERS.get(name, name.replace('_', ' '))}", share, _REPLAYED)
        for name, share in entry.verdict.savings.items()
        if share is not None
    ]
    if graphs_pay(graphs) and graphs.saved_share is not None:
        savings.append(("launch each step as CUDA graphs", graphs.saved_share, _REPLAYED))
    for lever, share, how in sorted(savings, key=lambda item: -item[1]):
        if share >= 0.001:
            yield {
                "phase": phase,
                "lever": lever,
                "share": f"{100 * share:.1f}",
                "value": share,
                "step": show_time(round(share * entry.wall_ns / steps)),
                "how": how,
            }
    for row in result.details.fusion or ():
        if (row["phase"], row["process"], row["thread"]) == key(entry) and row["replay_share"] is not None:
            yield {
                "phase": phase,
                "lever": f"fuse {row['kernels']} kernels: {row['pattern']}",
                "share": f"{100 * row['replay_share']:.1f}",
                "value": row["replay_share"],
                "step": show_time(row["replay_saved_per_step_ns"]),
                "how": _REPLAYED,
            }
            break


def sentences(result: Result) -> list[list[str]]:
    """Return the sentences on idle gaps, with capital letter and full stop; every second part is a name (code)."""
    return [f"{sentence[:1].upper()}{sentence[1:]}.".split("`") for sentence in gap_sentences(result)]


def flames(results: Sequence[Result]) -> list[Row]:
    """Return the call tree of each phase and thread with samples, as columns for an icicle chart; times in ns."""
    charts: list[Row] = []
    for number, result in enumerate(results):
        by_entry: dict[tuple[Any, ...], list[Row]] = {}
        for row in result.details.calls or ():
            by_entry.setdefault((row["phase"], row["process"], row["thread"]), []).append(row)
        for (phase, process, thread), rows in by_entry.items():
            charts.append({"report": number, "title": f"{phase} ({process}/{thread})", **_flame(rows)})
    return charts


def _flame(rows: Sequence[Row]) -> Row:
    kept = set(sorted(range(len(rows)), key=lambda k: (-rows[k]["total_ns"], k))[:MOST_FRAMES])
    layer_times: dict[str, list[int]] = {}
    for row in rows:
        if row["depth"] == 1:
            times = layer_times.setdefault(row["layer"], [0, 0])
            times[0] += row["total_ns"]
            times[1] += row["exposed_ns"] or 0
    flame: dict[str, list[Any]] = {"label": [], "parent": [], "ns": [], "exposed": [], "colour": [], "module": []}
    layers = {layer: _put(flame, layer, -1, times, layer_colour(layer), "") for layer, times in layer_times.items()}
    callers: list[int] = []
    for number, row in enumerate(rows):
        # a caller precedes its callees and has at least their time, so the caller of a kept frame is kept too
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
    for column, value in values.items():
        flame[column].append(value)
    return len(flame["label"]) - 1


def layer_colour(layer: str) -> str:
    """Return the colour of a layer of the sample tables, the same as in all charts."""
    key = layer.replace(" ", "_")
    return COLOURS.get(key) or STATE_COLOURS.get(key, COLOURS["rest"])
