"""Scenarios: factors on layers and kinds of work, and their application to the model of a thread."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Floats, Ints
from taxbreak_nsys.attribution.layers import layer_parts
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.measure.host_states import STATE
from taxbreak_nsys.measure.replay_columns import ReplayColumns
from taxbreak_nsys.model.launches import KERNEL_LAUNCH
from taxbreak_nsys.model.name_rules import FRAMEWORK_STATES, STATES
from taxbreak_nsys.model.trace_columns import thread_slice
from taxbreak_nsys.model.user_pattern import UserPattern
from taxbreak_nsys.replay.graphs import Changed, with_graphs
from taxbreak_nsys.replay.thread_model import ThreadModel
from taxbreak_nsys.replay.thread_phases import ThreadPhases
from taxbreak_nsys.result import Phase

NOT_THE_CPUS = ("device_wait", "os_wait", "profiler")
"""Host states that a CPU factor leaves unchanged; `profiler` would be shorter, but is no part of the program."""
FACTORS = ("framework", "library", "launch", "copy_calls", "module_load", "kernels", "copies")
"""The fields of a scenario that are factors on times."""


@dataclass(frozen=True)
class Scenario:
    """Factors on times: 1 as measured, 0.5 half, 0 gone. `cpu` is a speed: 2 is twice as fast.

    `launch` and `copy_calls` are host time (the states `launch` and `memop`), `kernels` and `copies` device time.

    `framework_minus_ns` is subtracted from the framework time before each launch (with `before`: before each launch of
    a kernel whose name the pattern matches). `graphs` launches each run of launches between two waits of the host as
    one CUDA graph; the call takes `graph_launch_ns` (None: T_sys and 200 ns per node). Raises TaxbreakError for a
    negative value or a speed of 0.
    """

    framework: float = 1.0
    library: float = 1.0
    launch: float = 1.0
    copy_calls: float = 1.0
    module_load: float = 1.0
    kernels: float = 1.0
    copies: float = 1.0
    cpu: float = 1.0
    framework_minus_ns: int = 0
    before: str | None = None
    graphs: bool = False
    graph_launch_ns: int | None = None

    def __post_init__(self) -> None:
        for name in FACTORS:
            check_factor(getattr(self, name), f"--{name.replace('_', '-')}")
        if check_factor(self.cpu, "--cpu") == 0:
            raise TaxbreakError("--cpu 0: is a speed and must be more than 0 (2 is twice as fast)")
        if self.framework_minus_ns < 0:
            raise TaxbreakError("--framework-minus: must not be negative")
        if self.graph_launch_ns is not None and self.graph_launch_ns < 0:
            raise TaxbreakError("--graph-launch: must not be negative")
        _before_pattern(self.before or "")

    @property
    def unchanged(self) -> bool:
        """Whether the scenario changes nothing."""
        return self == Scenario(before=self.before, graph_launch_ns=self.graph_launch_ns)

    @property
    def only_shortens(self) -> bool:
        """Whether no time becomes longer; graphs, which the device begins later than single kernels, do not count."""
        return not self.graphs and self.cpu >= 1 and all(getattr(self, name) <= 1 for name in FACTORS)


def _before_pattern(text: str) -> UserPattern:
    return UserPattern.parse(text, f"--before {text!r}")


def check_factor(value: float, option: str) -> float:
    """Return the factor; raises TaxbreakError that names the option if it is negative or not a number."""
    if not math.isfinite(value) or value < 0:
        raise TaxbreakError(f"{option} {value}: must be a number of 0 or more (0.5 is half the time)")
    return value


def state_factors(scenario: Scenario, entry: Phase) -> Floats:
    """Return the factor of each state for one phase entry, in the order of `name_rules.STATES`."""
    factors = dict.fromkeys(STATES, 1.0)
    for state, (framework, library) in layer_parts(entry).items():
        rest = 1 - framework - library
        factors[state] = framework * scenario.framework + library * scenario.library + rest
    factors |= {"launch": scenario.launch, "memop": scenario.copy_calls, "module_load": scenario.module_load}
    for state in STATES:
        if state not in NOT_THE_CPUS:
            factors[state] /= scenario.cpu
    return np.array([factors[state] for state in STATES])


def layer_shares(scenario: Scenario, entry: Phase) -> tuple[Floats, Floats]:
    """Return for each state the framework share and the library share of its time under the scenario, 0 to 1."""
    shares = np.zeros((2, len(STATES)))
    for state, (framework, library) in layer_parts(entry).items():
        parts = np.array([framework * scenario.framework, library * scenario.library])
        whole = parts.sum() + 1 - framework - library
        shares[:, STATE[state]] = parts / whole if whole else 0.0
    return shares[0], shares[1]


def factor_table(scenario: Scenario, phases: ThreadPhases) -> Floats:
    """Return the factor of each state for a thread's phases, shape (labels + 1, states).

    It is 1 in the last row (no label) and for labels without an entry.
    """
    if scenario not in phases.tables:
        table = np.ones((phases.labels + 1, len(STATES)))
        for code, entry in phases.entries.items():
            table[code] = state_factors(scenario, entry)
        phases.tables[scenario] = table
    return phases.tables[scenario]


def change(columns: ReplayColumns, model: ThreadModel, scenario: Scenario, phases: ThreadPhases) -> Changed:
    """Return a thread's model under a scenario; time outside the thread's phases stays as measured."""
    scale = _scale(columns, model, scenario, phases)
    if not scenario.graphs:
        return Changed.of(columns, model, host=_host(columns, model, scenario, phases), scale=scale)
    changed = Changed.of(columns, model, scale=scale)
    changed, graph_host = with_graphs(columns, changed, scenario.graph_launch_ns, phases)
    host = _host(columns, changed.model, scenario, phases)
    return replace(changed, host=np.where(changed.in_graph, graph_host, host * graph_host))


def _host(columns: ReplayColumns, model: ThreadModel, scenario: Scenario, phases: ThreadPhases) -> Floats:
    """Return the factor on each piece of host time."""
    cell = columns.interval_cell[model.piece_interval]
    host = factor_table(scenario, phases).ravel()[cell]
    if scenario.framework_minus_ns:
        host = host * _framework_cut(columns, model, scenario, phases.known[cell // len(STATES)])
    return host


def _scale(columns: ReplayColumns, model: ThreadModel, scenario: Scenario, phases: ThreadPhases) -> Floats:
    """Return the factor on the device work of each item: 1 for items that the phases did not launch."""
    if scenario.kernels == scenario.copies == 1:
        return np.ones(len(model.work))
    instance = columns.launch_instance[model.work.launch]
    label = np.where(instance >= 0, columns.instances.label[np.maximum(instance, 0)], -1)
    factor = np.where(model.work.computes, scenario.kernels, scenario.copies)
    return np.where(phases.known[label], factor, 1.0)


def _framework_cut(columns: ReplayColumns, model: ThreadModel, scenario: Scenario, in_phase: Flags) -> Floats:
    """Return the factor on each piece that subtracts `framework_minus_ns` before each chosen launch.

    `in_phase` flags the pieces that lie in one of the thread's phases.

    It is subtracted from the framework time since the previous launch, down to 0 at most.
    """
    launches = columns.launches
    part = thread_slice(launches.thread, model.thread)
    kernel = np.flatnonzero(launches.kind[part] == KERNEL_LAUNCH) + part.start
    chosen = np.ones(len(kernel), bool)
    if scenario.before is not None:
        chosen = np.isin(kernel, _matching_launches(columns, _before_pattern(scenario.before)))
    gap = np.searchsorted(launches.start[kernel] - model.origin, model.knots[:-1], side="right")
    states = columns.intervals.state[np.maximum(model.piece_interval, 0)]
    framework = np.isin(states, [STATE[name] for name in FRAMEWORK_STATES]) & in_phase
    length = np.diff(model.knots)
    available = np.bincount(gap[framework], weights=length[framework], minlength=len(kernel) + 1)
    taken = np.where(np.r_[chosen, False], np.minimum(available, scenario.framework_minus_ns), 0.0)
    remaining = np.divide(available - taken, available, out=np.ones_like(available), where=available > 0)
    return np.where(framework, remaining[gap], 1.0)


def _matching_launches(columns: ReplayColumns, pattern: UserPattern) -> Ints:
    """Return the launches of kernels whose name matches a pattern; raises TaxbreakError if no kernel does."""
    ops, launches = columns.ops, columns.launches
    named = np.array([pattern.search(name) is not None for name in ops.names], bool)
    which = (launches.of_op >= 0) & named[ops.name]
    if not which.any():
        raise TaxbreakError(f"--before {pattern.pattern!r}: finds no kernel that the report's launches ran")
    return np.unique(launches.of_op[which])
