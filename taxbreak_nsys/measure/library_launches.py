"""Which kernel launches a CUDA library made, and the dispatch time that the paper's subtraction works on.

Method section 4, evidence `subtractive` (the paper's Eq. 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import Coverage, Flags, Ints, innermost, parents, union
from taxbreak_nsys.measure.host_states import library_intervals
from taxbreak_nsys.model import name_rules
from taxbreak_nsys.model.launches import KERNEL_LAUNCH, Launches
from taxbreak_nsys.model.trace_columns import KERNEL, PROCESS_MASK, Trace, runs, thread_slice
from taxbreak_nsys.read.call_chains import Chains

REASONS = ("none", "call_chain", "library_range", "driver_api", "kernel_name", "library_map")
"""Why a launch counts as library-mediated; index 0: it is framework-native."""


@dataclass(frozen=True)
class Signs:
    """Evidence from call chains and a learned map; columns over launches.

    `chain` is 1 if the call chain contains a library, 0 if it does not, -1 if there is no chain or it is truncated
    before the caller. `learned` is the same from a map of kernels (`--library-map`), -1 for kernels not in the map.
    """

    chain: Ints
    learned: Ints


def library_signs(trace: Trace, launches: Launches, chains: Chains | None, learned: Mapping[str, bool]) -> Signs:
    """Return the evidence of call chains and of a learned map for each launch."""
    unknown = np.full(len(launches), -1, np.int64)
    chain = unknown
    if chains is not None:
        at = chains.of(trace.api.callchain_id[launches.api])
        chain = np.where((at >= 0) & chains.decided[at], chains.library[at], -1)
    if not learned:
        return Signs(chain, unknown)
    by_name = np.array([int(learned.get(name, -1)) for name in trace.ops.names] or [-1], np.int64)
    kernel = launch_kernel_names(trace, launches)
    return Signs(chain, np.where(kernel >= 0, by_name[kernel], -1))


def marking_libraries(trace: Trace) -> dict[int, set[str]]:
    """Return by process id the CUDA libraries that marked ranges or have their own call table in the report.

    A range's text names its library more surely than its domain does: a forked process can give a domain's number to
    another library. The library call tables (CUDA before 11.4) do not name the library of a call, so a process with
    such calls gets all libraries that the report names.
    """
    ranges, marking = trace.ranges, dict[int, set[str]]()
    named = np.array([name_rules.LIBRARIES.index(library) if library else -1 for library in
                      map(name_rules.library_of_range, ranges.names)] or [-1], np.int64)  # fmt: skip
    marked = np.flatnonzero(ranges.is_library)
    library, process = named[ranges.name[marked]], ranges.thread[marked] & PROCESS_MASK
    for code in np.unique(library[library >= 0]).tolist():
        for process_id in np.unique(process[library == code]).tolist():
            marking.setdefault(process_id, set()).add(name_rules.LIBRARIES[code])
    known = {name for domain in trace.libraries if (name := name_rules.library_of_range(domain))}
    for process_id in np.unique(trace.library_calls.thread & PROCESS_MASK).tolist():
        marking.setdefault(process_id, set()).update(known)
    return marking


@dataclass(frozen=True)
class Operators:
    """The operator ranges of the report and their nesting; columns over operators, sorted by (thread, start)."""

    index: Ints
    """Index into the report's ranges."""
    start: Ints
    end: Ints
    thread: Ints
    parent: Ints
    of_launch: Ints
    """For each launch, the innermost operator (an index into these columns) around its start; -1: none."""

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class Mediation:
    """Why each launch is library-mediated (an index into REASONS), and its dispatch time; columns over launches.

    `t_dispatch` is the launch's start minus the start of the innermost operator around it, less the launches in
    between (ns; meaningful where `has_dispatch`): method section 4, Eq. 5 of the paper.
    """

    reason: Ints
    has_dispatch: Flags
    t_dispatch: Ints


def find_operators(trace: Trace, launches: Launches) -> Operators:
    """Return the operator ranges, and for each launch the innermost operator around its start."""
    ranges = trace.ranges
    index = np.flatnonzero(ranges.is_operator)
    start, end, thread = ranges.start[index], ranges.end[index], ranges.thread[index]
    parent = np.full(len(index), -1, np.int64)
    of_launch = np.full(len(launches), -1, np.int64)
    for low, high in runs(thread):
        inside = parents(start[low:high], end[low:high])
        parent[low:high] = np.where(inside >= 0, inside + low, -1)
        launched = thread_slice(launches.thread, int(thread[low]))
        around = innermost(start[low:high], end[low:high], inside, launches.start[launched])
        of_launch[launched] = np.where(around >= 0, around + low, -1)
    return Operators(index=index, start=start, end=end, thread=thread, parent=parent, of_launch=of_launch)


def mediate(trace: Trace, launches: Launches, operators: Operators, signs: Signs) -> Mediation:
    """Decide for each launch whether a library made it, and measure its dispatch time.

    The first available sign decides (method section 4): the call chain, a library range, the learned map, the driver
    API under an operator that uses a library, the kernel's name. A chain without a library, or a map that says
    "native", rules out the signs after it.
    """
    has_dispatch = operators.of_launch >= 0
    operator_start = operators.start[operators.of_launch] if len(operators) else launches.start
    operator_start = np.where(has_dispatch, operator_start, launches.start)
    t_dispatch = launches.start - operator_start
    for low, high in runs(launches.thread) if len(operators) else ():
        busy = Coverage.of(union(launches.start[low:high], launches.end[low:high]))
        t_dispatch[low:high] -= busy.within(operator_start[low:high], launches.start[low:high])
    return Mediation(_reasons(trace, launches, operators, signs), has_dispatch, t_dispatch)


def launch_kernel_names(trace: Trace, launches: Launches) -> Ints:
    """Return for each launch the name code of its first kernel in the report's order, -1 for none."""
    ops = trace.ops
    result = np.full(len(launches), -1, np.int64)
    of_kernel = np.flatnonzero((ops.kind == KERNEL) & (launches.of_op >= 0))[::-1]
    result[launches.of_op[of_kernel]] = ops.name[of_kernel]
    return result


def _reasons(trace: Trace, launches: Launches, operators: Operators, signs: Signs) -> Ints:
    kernel = launch_kernel_names(trace, launches)
    by_name = np.array([name_rules.kernel_is_mediated(n) for n in trace.ops.names], bool)
    api_is_driver = np.array([name_rules.is_driver_api(n) for n in trace.api.names], bool)
    reason = np.zeros(len(launches), np.int64)
    if len(by_name):
        reason[(kernel >= 0) & by_name[kernel]] = REASONS.index("kernel_name")
    if len(launches):
        by_driver = api_is_driver[trace.api.name[launches.api]] & _under_library_operator(trace, operators)
        reason[by_driver] = REASONS.index("driver_api")
    reason[signs.learned == 0] = 0
    reason[signs.learned == 1] = REASONS.index("library_map")
    reason[signs.chain == 0] = 0
    reason[_in_library(trace, launches)] = REASONS.index("library_range")
    reason[signs.chain == 1] = REASONS.index("call_chain")
    reason[launches.kind != KERNEL_LAUNCH] = 0
    return reason


def _under_library_operator(trace: Trace, operators: Operators) -> Flags:
    """Flag the launches inside an operator that uses a library, at any depth."""
    uses = np.array([name_rules.operator_uses_library(n) for n in trace.ranges.names], bool)
    if not len(operators):
        return np.zeros(len(operators.of_launch), bool)
    under = uses[trace.ranges.name[operators.index]]
    around = operators.parent
    while np.any(around >= 0):
        # Pointer doubling: each pass doubles how many enclosing operators have been checked.
        outer = np.maximum(around, 0)
        under = under | ((around >= 0) & under[outer])
        around = np.where(around >= 0, around[outer], -1)
    return (operators.of_launch >= 0) & under[np.maximum(operators.of_launch, 0)]


def _in_library(trace: Trace, launches: Launches) -> Flags:
    """Flag the launches that start inside a library range or call."""
    result = np.zeros(len(launches), bool)
    for low, high in runs(launches.thread):
        start, end = union(*library_intervals(trace, int(launches.thread[low])))
        if len(start):
            moment = launches.start[low:high]
            before = np.searchsorted(start, moment, side="right") - 1
            result[low:high] = (before >= 0) & (end[np.maximum(before, 0)] > moment)
    return result
