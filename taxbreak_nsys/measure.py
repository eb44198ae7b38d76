"""Measures a trace, whole or a piece: launches, host states, exposure, what is known of each launch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from taxbreak_nsys.columns import Columns
from taxbreak_nsys.device import with_exposure
from taxbreak_nsys.launches import Launches
from taxbreak_nsys.mediation import find_operators, mediate, signs_of
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.read.chains import Chains
from taxbreak_nsys.read.samples import Samples
from taxbreak_nsys.read.trace import Trace
from taxbreak_nsys.samples import locate, without_marks
from taxbreak_nsys.states import host_intervals


@dataclass(frozen=True)
class Evidence:
    """What a report has beside its trace: samples, call chains, and what was learned of kernels elsewhere.

    `samples_alone` leaves the ranges of libraries and operators out of the states.
    """

    samples: Samples | None = None
    chains: Chains | None = None
    samples_alone: bool = False
    learned: Mapping[str, bool] = field(default_factory=dict)


def measure(trace: Trace, launches: Launches, instances: Instances, evidence: Evidence | None = None) -> Columns:
    """Measure everything that the sums of the phases are made of."""
    evidence = evidence or Evidence()
    launch_instance = instances.at(launches.thread, launches.start)
    marked = without_marks(trace) if evidence.samples_alone and evidence.samples is not None else trace
    intervals = host_intervals(marked, launches, instances)
    intervals = with_exposure(intervals, trace, launches, instances, launch_instance)
    operators = find_operators(trace, launches)
    signs = signs_of(trace, launches, evidence.chains, evidence.learned)
    mediation = mediate(trace, launches, operators, signs)
    sampled = locate(evidence.samples, intervals, instances) if evidence.samples is not None else None
    return Columns(trace, launches, instances, intervals, operators, mediation, sampled, evidence.chains)
