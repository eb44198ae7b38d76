"""The metrics of each single instance of a phase: a comparison takes medians and intervals over these samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import Floats, Ints
from taxbreak_nsys.attribution.layers import layer_parts
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.measure.host_states import STATE
from taxbreak_nsys.model.trace_columns import pid, tid
from taxbreak_nsys.result import Phase, Result


@dataclass(frozen=True)
class ComparedMetric:
    """A metric per step; `better` is the direction of an improvement: -1 for less, 1 for more, 0 for neither."""

    name: str
    title: str
    better: int
    of_host: bool
    """The metric contains host time, which the profiler stretches."""
    layer: bool = False
    """The metric is one of the parts that add up to the wall time."""


COMPARED = (
    ComparedMetric("wall_ns", "wall", better=-1, of_host=True),
    ComparedMetric("delta_ft_ns", "framework", better=-1, of_host=True, layer=True),
    ComparedMetric("delta_ct_ns", "library", better=-1, of_host=True, layer=True),
    ComparedMetric("framework_library_ns", "framework+library", better=-1, of_host=True, layer=True),
    ComparedMetric("launch_ns", "launch calls", better=-1, of_host=True, layer=True),
    ComparedMetric("memop_ns", "copies and sets", better=-1, of_host=True, layer=True),
    ComparedMetric("module_load_ns", "module loading", better=-1, of_host=True, layer=True),
    ComparedMetric("device_wait_ns", "device wait", better=-1, of_host=True, layer=True),
    ComparedMetric("os_wait_ns", "OS wait", better=-1, of_host=True, layer=True),
    ComparedMetric("profiler_ns", "profiler", better=0, of_host=True, layer=True),
    ComparedMetric("device_idle_ns", "device idle", better=-1, of_host=True),
    ComparedMetric("device_active_ns", "device active", better=-1, of_host=False),
    ComparedMetric("hdbi", "HDBI", better=0, of_host=True),
    ComparedMetric("kernels", "kernels", better=0, of_host=False),
)
BY_NODE, AS_A_WHOLE = "by node", "as a whole"
BY_NAME = {metric.name: metric for metric in COMPARED}


@dataclass(frozen=True)
class PhaseSamples:
    """One phase's metrics on one side of a comparison: one value per instance; absent metrics are left out.

    `graph_traces` says how its CUDA graphs were traced (`BY_NODE`, `AS_A_WHOLE`); empty without graphs.
    """

    label: str
    values: dict[str, Floats]
    evidences: frozenset[str]
    graph_traces: frozenset[str] = frozenset()

    @property
    def instances(self) -> int:
        """The number of instances."""
        return len(self.values["wall_ns"])

    def graphs_traced_as(self, other: PhaseSamples) -> bool:
        """Return whether the graphs of two sides were traced alike; a side without graphs does not count."""
        return not (self.graph_traces and other.graph_traces) or self.graph_traces == other.graph_traces


def phase_samples(results: Sequence[Result]) -> dict[str, PhaseSamples]:
    """Return the metrics of every phase label over the instances of all threads of one or several reports."""
    by_label: dict[str, list[PhaseSamples]] = {}
    for result in results:
        for entry in result.entries:
            if not entry.combined:
                by_label.setdefault(entry.phase, []).append(_thread_samples(result, entry))
    return {label: _joined(label, parts) for label, parts in by_label.items()}


def _joined(label: str, parts: list[PhaseSamples]) -> PhaseSamples:
    common = [metric.name for metric in COMPARED if all(metric.name in part.values for part in parts)]
    return PhaseSamples(
        label,
        {name: np.concatenate([part.values[name] for part in parts]) for name in common},
        frozenset().union(*(part.evidences for part in parts)),
        frozenset().union(*(part.graph_traces for part in parts)),
    )


def _thread_samples(result: Result, entry: Phase) -> PhaseSamples:
    """Return one thread's metrics of a phase.

    An estimated library share of a state is known for the phase as a whole; every instance gets that same share.
    """
    chosen = _instances(result, entry)
    steps = result.step_sums
    states = steps.states[chosen].astype(np.float64)
    parts = layer_parts(entry)
    layer_states = states[:, [STATE[state] for state in parts]]
    framework, library = (layer_states @ np.array([part[k] for part in parts.values()]) for k in (0, 1))
    values: dict[str, Floats] = {
        "wall_ns": steps.wall[chosen].astype(np.float64),
        "framework_library_ns": layer_states.sum(axis=1),
    }
    if not entry.taxbreak.ft_includes_library:
        values |= {"delta_ft_ns": framework, "delta_ct_ns": library}
    for state in ("launch", "memop", "module_load", "device_wait", "os_wait", "profiler"):
        values[f"{state}_ns"] = states[:, STATE[state]]
    graphs = entry.graphs
    if graphs is None or not graphs.whole:
        values["kernels"] = steps.kernels[chosen].astype(np.float64)
    if not entry.launches.unmeasured_graph:
        active = steps.active[chosen].astype(np.float64)
        values["device_idle_ns"] = steps.exposed[chosen].sum(axis=1).astype(np.float64)
        values["device_active_ns"] = active
        launches = steps.kernel_launches[chosen] + steps.graph_launches[chosen]
        whole = active + framework + library + launches * result.t_sys_ns
        if launches.all():
            values["hdbi"] = active / whole
    traces = frozenset[str]()
    if graphs is not None:
        traces = frozenset({AS_A_WHOLE if 2 * graphs.whole > graphs.launches else BY_NODE})
    return PhaseSamples(entry.phase, values, frozenset({entry.taxbreak.evidence}), traces)


def _instances(result: Result, entry: Phase) -> Ints:
    instances = result.instances
    threads = {t for t in set(instances.thread.tolist()) if (pid(t), tid(t)) == (entry.process, entry.thread)}
    same = np.isin(instances.thread, list(threads)) & (instances.label == instances.labels.index(entry.phase))
    return np.flatnonzero(same)


def pairs(
    before: dict[str, PhaseSamples], after: dict[str, PhaseSamples], mapped: Sequence[str]
) -> list[tuple[PhaseSamples, PhaseSamples]]:
    """Return the pairs of phases to compare: as `mapped` (BEFORE=AFTER) names them, else phases of equal label.

    Raises TaxbreakError if there is no pair, or if a name is unknown.
    """
    if mapped:
        return [_mapped(before, after, text) for text in mapped]
    common = [(before[label], after[label]) for label in before if label in after]
    if not common:
        raise TaxbreakError(
            f"no phase in common: before has {_listed(before)}, after has {_listed(after)}; "
            "pair them with --map BEFORE=AFTER"
        )
    return common


def _mapped(
    before: dict[str, PhaseSamples], after: dict[str, PhaseSamples], text: str
) -> tuple[PhaseSamples, PhaseSamples]:
    old, equals, new = text.partition("=")
    if not equals or not old or not new:
        raise TaxbreakError(f"--map {text!r}: write BEFORE=AFTER, two phase labels")
    for label, side, name in ((old, before, "before"), (new, after, "after")):
        if label not in side:
            raise TaxbreakError(f"--map {text!r}: no phase {label!r} in the report {name}; it has {_listed(side)}")
    return before[old], after[new]


def _listed(side: dict[str, PhaseSamples]) -> str:
    return ", ".join(side) or "none"
