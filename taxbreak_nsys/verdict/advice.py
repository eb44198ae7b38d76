"""What to do about a verdict's target, from what the report shows of the phase."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taxbreak_nsys.replay.levers import GRAPHS, Lever
from taxbreak_nsys.replay.predicted_phase import Prediction, why_not_captured
from taxbreak_nsys.result import Phase, Result
from taxbreak_nsys.totals.listing_rows import NO_KERNEL, NO_OPERATOR

HOT = 0.1
"""A part of the target's time is named from this share on."""
MOST_NAMED = 2
NAME_WIDTH = 40
_TRITON = re.compile(r"^triton_")
_XLA = re.compile(r"fusion(?:[_.]|$)|^wrapped_")
_COMPILED_RANGE = re.compile(r"CompiledFxGraph|Torch-Compiled Region|CompiledFunction")
_OUTSIDE_OPERATORS = {"framework": "Python outside operators", "library": "library calls outside operators"}
_GRAPHS_WORTH = 0.05
"""What CUDA graphs must save of a phase to be advised."""

Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class PhaseRows:
    """The listings' rows of one phase entry: of its thread, or of all threads that share the label."""

    kernels: Rows
    operators: Rows
    modules: Rows

    @property
    def compiled(self) -> str | None:
        """What shows that the phase runs compiled code, None where nothing does."""
        kernels = [row["name"] for row in self.kernels]
        if any(_COMPILED_RANGE.search(row["operator"]) for row in self.operators):
            return "CompiledFxGraph ranges"
        if any(_TRITON.search(name) for name in kernels):
            return "Triton kernels"
        if sum(_XLA.search(name) is not None for name in kernels) * 2 > len(kernels) > 0:
            return "XLA fusions"
        return None


class RowsByPhase:
    """The listings' rows of a result by phase label, as every phase needs its own."""

    def __init__(self, result: Result) -> None:
        """Sort the rows by label; those of a label stay in their order."""
        self._listings = [self._by_label(r) for r in (result.kernel_rows, result.operator_rows, result.sample_rows)]

    @staticmethod
    def _by_label(rows: Rows) -> dict[str, list[dict[str, Any]]]:
        by_label: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            by_label.setdefault(row["phase"], []).append(row)
        return by_label

    def of(self, entry: Phase) -> PhaseRows:
        """Return the rows of a phase entry."""

        def own(rows: Rows) -> Rows:
            thread = entry.process, entry.thread
            return [row for row in rows if entry.combined or (row["process"], row["thread"]) == thread]

        return PhaseRows(*(own(by_label.get(entry.phase, ())) for by_label in self._listings))


def advise(entry: Phase, rows: PhaseRows, lever: Lever, graphs: Prediction) -> str:
    """Return advice on a phase whose best lever is `lever`; `graphs` is what CUDA graphs are predicted to do."""
    if lever.name in ("framework", "framework_library"):
        return _joined(where_framework(entry, rows), _fewer_launches(entry, rows, graphs), _evidence(entry))
    if lever.name == "launch":
        most = _largest(rows.kernels, "name", "launches", entry.launches.kernel)
        return _joined(
            f"{_launches(entry)} per step",
            _where("most launched:", most),
            _graph_calls(entry) or _fewer_launches(entry, rows, graphs),
        )
    if lever.name == "library":
        return _joined(
            _where(
                "largest part of it:", _largest_layer(entry, rows, "delta_ct_ns", "library", entry.taxbreak.delta_ct_ns)
            ),
            "cut library calls: cached plans and heuristics, grouped or fused operations",
        )
    if lever.name == "module_load":
        return "modules are loaded inside the phase: warm up before capturing, or leave the first steps out with --skip"
    if lever.name == "copy_calls":
        return f"{_per_step(entry, entry.launches.memory)} copies and sets per step: batch them, or cut them"
    if lever.name == "copies":
        return (
            f"{_per_step(entry, entry.launches.memory)} copies and sets per step hold the device: move fewer bytes, or "
            "overlap them with kernels (pinned memory, a stream of their own)"
        )
    total = sum(row["device_ns"] for row in rows.kernels)
    most = _largest(rows.kernels, "name", "device_ns", total)
    return _joined(_where("largest kernels:", most), "less or faster device work: fusion, precision, fewer bytes")


def where_framework(entry: Phase, rows: PhaseRows) -> str | None:
    """Return where the framework's time lies, by the best that the report has."""
    total = entry.taxbreak.delta_ft_ns
    return _where("largest part of it:", _largest_layer(entry, rows, "delta_ft_ns", "framework", total))


def command(entry: Phase, lever: Lever, graphs: Prediction, path: str) -> str:
    """Return the `whatif` that says what following the advice would bring, with the report's name in its folder."""
    hosts = lever.name in ("framework", "framework_library") or (lever.name == "launch" and not _graph_calls(entry))
    options = GRAPHS.options if hosts and _worth(graphs) else lever.options
    return f"taxbreak-nsys whatif {shlex.quote(Path(path).name)} {options}"


def _largest_layer(entry: Phase, rows: PhaseRows, column: str, layer: str, total: int | None) -> list[str]:
    """Return the operators, else the modules, else the launched kernels that hold most of a layer's time."""
    if rows.operators:
        outside = max((total or 0) - sum(row[column] or 0 for row in rows.operators), 0)
        python = {"operator": NO_OPERATOR, column: outside if layer == "framework" else 0}
        named = _largest([*rows.operators, python], "operator", column, total)
        return [text.replace(NO_OPERATOR, _OUTSIDE_OPERATORS[layer], 1) for text in named]
    modules = [row for row in rows.modules if row["layer"] == layer]
    if modules and entry.taxbreak.evidence == "samples":
        return _largest(modules, "module", "total_ns", sum(row["total_ns"] for row in modules))
    named = _largest(rows.kernels, "name", column, total)
    kernels = [text for text in named if not text.startswith(NO_KERNEL)]
    before = [f"the host time before launches of {' and '.join(kernels)}"] if kernels else []
    # what follows the last launch of a step, or lies in steps without one
    rest = [
        f"host time that leads to no kernel launch{text[len(NO_KERNEL) :]}" for text in named if text not in kernels
    ]
    return [*before, *rest]


def _fewer_launches(entry: Phase, rows: PhaseRows, graphs: Prediction) -> str:
    """Return what is left to do about launching from Python: compilation and CUDA graphs, as far as not done."""
    parts = []
    compiled = rows.compiled
    there = entry.launches.graph / max(entry.instances, 1)
    if compiled:
        parts.append(f"compiled already ({compiled})")
    beside = entry.launches.kernel / max(entry.instances, 1)
    if there:
        outside = f", with {_count(beside)} kernel launches per step outside" if beside else ""
        parts.append(f"{_count(there)} CUDA {_graphs(there)} per step already there{outside}")
    breaks = (graphs.breaks or 0) / max(graphs.replayed_instances, 1)
    refused = why_not_captured(breaks)
    if refused is not None:
        parts.append(refused)
    elif graphs_pay(graphs) and (per_step := graphs.graphs_per_step) is not None:
        more = " more" if there else ""
        parts.append(
            f"CUDA graphs ({_count(per_step)}{more} per step) would save {graphs.saved_share:.0%} where the launches "
            "between two waits do not depend on data"
        )
    elif there and beside >= 1:
        parts.append("capture more of the step in graphs, or do less on the host between them")
    elif there:
        parts.append("do less on the host before and after the graph launch")
    if not compiled and not there:
        parts.append("launch less from Python: compilation, fewer and larger operators")
    return "; ".join(parts)


def _graph_calls(entry: Phase) -> str | None:
    """Return what to do where the calls that launch graphs hold most of the launch time; None elsewhere."""
    graphs = entry.graphs
    if graphs is None or 2 * graphs.launch_ns <= entry.states_ns["launch"]:
        return None
    each = f"the launch of a CUDA graph takes {graphs.launch_ns / graphs.launches / 1e6:,.3f} ms"
    if graphs.whole:
        return f"{each}: launch it once before the phase (the first launch uploads it), or make it smaller"
    return (
        f"{each}, and tracing its nodes can make it several times as long: capture with --cuda-graph-trace=graph "
        "(nsys 2024 or later) to see it without; the first launch of a graph also uploads it"
    )


def _evidence(entry: Phase) -> str | None:
    if not entry.taxbreak.ft_includes_library:
        return None
    return "capture cuBLAS and cuDNN ranges, or CPU samples, to tell framework from library"


def graphs_pay(graphs: Prediction) -> bool:
    """Return whether CUDA graphs are possible in a phase, by its waits, and save enough of it to be advised."""
    breaks = (graphs.breaks or 0) / max(graphs.replayed_instances, 1)
    return why_not_captured(breaks) is None and _worth(graphs) and graphs.graphs_per_step is not None


def _worth(graphs: Prediction) -> bool:
    return (graphs.saved_share or 0.0) >= _GRAPHS_WORTH and bool(graphs.graphs)


def _largest(rows: Rows, name: str, column: str, total: int | None) -> list[str]:
    """Return the names with the largest sums of a column, each with its share of the total."""
    sums: dict[str, int] = {}
    for row in rows:
        sums[row[name]] = sums.get(row[name], 0) + (row[column] or 0)
    ranked = sorted(sums.items(), key=lambda item: (-item[1], item[0]))[:MOST_NAMED]
    return [f"{_short(text)} ({value / total:.0%})" for text, value in ranked if total and value / total >= HOT]


def _short(name: str) -> str:
    """Return a kernel's or operator's name without template arguments, cut to a readable width."""
    plain = re.sub(r"^void |<unnamed>::|\(anonymous namespace\)::", "", name)
    text = plain.split("<")[0].split("(")[0] or name
    return text if len(text) <= NAME_WIDTH else f"{text[: NAME_WIDTH - 1]}\N{HORIZONTAL ELLIPSIS}"


def _where(words: str, named: Iterable[str]) -> str | None:
    text = " and ".join(named)
    return f"{words} {text}" if text else None


def _launches(entry: Phase) -> str:
    """Return how many launches a step has, by kind."""
    kinds = ((entry.launches.kernel, "kernel launch"), (entry.launches.graph, "graph launch"))
    texts = [(_per_step(entry, count), name) for count, name in kinds if count]
    return " and ".join(f"{text} {name if text == '1' else f'{name}es'}" for text, name in texts)


def _per_step(entry: Phase, count: int) -> str:
    return _count(count / max(entry.instances, 1))


def _count(number: float) -> str:
    """Return a count per step: without decimals where it is large or within 0.05 of a whole number."""
    return f"{number:,.0f}" if number >= 10 or number == int(number) else f"{number:.1f}".removesuffix(".0")


def _graphs(number: float) -> str:
    return "graph" if number == 1 else "graphs"


def _joined(*parts: str | None) -> str:
    return "; ".join(part for part in parts if part)
