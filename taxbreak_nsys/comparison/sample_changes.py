"""The metrics of every instance of a phase: the samples of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.attribution.layers import layer_parts
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.measure.host_states import STATE
from taxbreak_nsys.model.trace_columns import pid, tid
from taxbreak_nsys.result import Phase, Result

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ComparedMetric:
    """A metric per step: `better` is the direction of an improvement, -1 less, 1 more, 0 neither."""

    name: str
    title: str
    better: int
    of_host: bool
    """Whether it holds host time, which the profiler stretches."""
    layer: bool = False
    """Whether it is one of the parts that add up to the wall time."""


COMPARED = (
    ComparedMetric("wall_ns", "wall", -1, True),
    ComparedMetric("delta_ft_ns", "framework", -1, True, True),
    ComparedMetric("delta_ct_ns", "library", -1, True, True),
    ComparedMetric("framework_library_ns", "framework+library", -1, True, True),
    ComparedMetric("launch_ns", "launch calls", -1, True, True),
    ComparedMetric("memop_ns", "copies and sets", -1, True, True),
    ComparedMetric("module_load_ns", "module loading", -1, True, True),
    ComparedMetric("device_wait_ns", "device wait", -1, True, True),
    ComparedMetric("os_wait_ns", "OS wait", -1, True, True),
    ComparedMetric("profiler_ns", "profiler", 0, True, True),
    ComparedMetric("device_idle_ns", "device idle", -1, True),
    ComparedMetric("device_active_ns", "device active", -1, False),
    ComparedMetric("hdbi", "HDBI", 0, True),
    ComparedMetric("kernels", "kernels", 0, False),
)
BY_NAME = {metric.name: metric for metric in COMPARED}


@dataclass(frozen=True)
class PhaseSamples:
    """One phase's metrics on one side of a comparison: one value per instance; absent metrics are left out."""

    label: str
    values: dict[str, Floats]
    evidences: frozenset[str]

    @property
    def instances(self) -> int:
        """Return the number of instances."""
        return len(self.values["wall_ns"])


def phase_samples(results: Sequence[Result]) -> dict[str, PhaseSamples]:
    """Return the metrics of every phase label over the instances of all threads of one or several reports."""
    found: dict[str, list[PhaseSamples]] = {}
    for result in results:
        for entry in result.entries:
            if not entry.combined:
                found.setdefault(entry.phase, []).append(_of_entry(result, entry))
    return {label: _joined(label, parts) for label, parts in found.items()}


def _joined(label: str, parts: list[PhaseSamples]) -> PhaseSamples:
    common = [metric.name for metric in COMPARED if all(metric.name in part.values for part in parts)]
    return PhaseSamples(
        label,
        {name: np.concatenate([part.values[name] for part in parts]) for name in common},
        frozenset().union(*(part.evidences for part in parts)),
    )


def _of_entry(result: Result, entry: Phase) -> PhaseSamples:
    """Return one thread's metrics of a phase.

    Where an estimate says what part of a state is the library's, it is the phase's part in every instance.
    """
    which = _instances(result, entry)
    steps = result.step_sums
    states = steps.states[which].astype(np.float64)
    parts = layer_parts(entry)
    held = states[:, [STATE[state] for state in parts]]
    framework, library = (held @ np.array([part[k] for part in parts.values()]) for k in (0, 1))
    values: dict[str, Floats] = {
        "wall_ns": steps.wall[which].astype(np.float64),
        "framework_library_ns": held.sum(axis=1),
    }
    if not entry.taxbreak.ft_includes_library:
        values |= {"delta_ft_ns": framework, "delta_ct_ns": library}
    for state in ("launch", "memop", "module_load", "device_wait", "os_wait", "profiler"):
        values[f"{state}_ns"] = states[:, STATE[state]]
    values["kernels"] = steps.kernels[which].astype(np.float64)
    if not entry.launches.unmeasured_graph:
        active = steps.active[which].astype(np.float64)
        values["device_idle_ns"] = steps.exposed[which].sum(axis=1).astype(np.float64)
        values["device_active_ns"] = active
        launched = steps.kernel_launches[which] + steps.graph_launches[which]
        whole = active + framework + library + launched * result.t_sys_ns
        if launched.all():
            values["hdbi"] = active / whole
    return PhaseSamples(entry.phase, values, frozenset({entry.taxbreak.evidence}))


def _instances(result: Result, entry: Phase) -> Ints:
    instances = result.instances
    threads = {t for t in set(instances.thread.tolist()) if (pid(t), tid(t)) == (entry.process, entry.thread)}
    same = np.isin(instances.thread, list(threads)) & (instances.label == instances.labels.index(entry.phase))
    return np.flatnonzero(same)


def pairs(
    before: dict[str, PhaseSamples], after: dict[str, PhaseSamples], mapped: Sequence[str]
) -> list[tuple[PhaseSamples, PhaseSamples]]:
    """Return the phases to compare: those that `mapped` (BEFORE=AFTER) names, else those of the same label.

    Raises TaxbreakError where there is none, or where a name is unknown.
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
    one, equals, other = text.partition("=")
    if not equals or not one or not other:
        raise TaxbreakError(f"--map {text!r}: write BEFORE=AFTER, two phase labels")
    for label, side, name in ((one, before, "before"), (other, after, "after")):
        if label not in side:
            raise TaxbreakError(f"--map {text!r}: no phase {label!r} in the report {name}; it has {_listed(side)}")
    return before[one], after[other]


def _listed(side: dict[str, PhaseSamples]) -> str:
    return ", ".join(side) or "none"
