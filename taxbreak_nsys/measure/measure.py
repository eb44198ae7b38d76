"""Measures a trace or a piece of it: launches, host states, exposed time, library mediation, communication."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.measure.communication import find_communication, split_devices
from taxbreak_nsys.measure.device_time import ops_instance, with_exposure
from taxbreak_nsys.measure.host_states import host_intervals
from taxbreak_nsys.measure.library_launches import find_operators, library_signs, mediate
from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.measure.sample_hits import locate, without_marks
from taxbreak_nsys.model.kernel_classes import KernelClass
from taxbreak_nsys.model.launches import Launches
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.model.trace_columns import Trace
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.read.call_chains import Chains
from taxbreak_nsys.read.kernel_class_table import load_kernel_classes
from taxbreak_nsys.read.sample_reader import CpuSamples


@dataclass(frozen=True)
class LayerEvidence:
    """Evidence for the layers beside the trace: samples, call chains, a library map learned from another report.

    `samples_alone` (`--evidence samples`) ignores the ranges of libraries and operators.
    """

    samples: CpuSamples | None = None
    chains: Chains | None = None
    samples_alone: bool = False
    learned: Mapping[str, bool] = field(default_factory=dict)
    kernel_classes: Sequence[KernelClass] = field(default_factory=load_kernel_classes)


def measure(
    trace: Trace,
    launches: Launches,
    instances: Instances,
    evidence: LayerEvidence | None = None,
    known_wait: Ints | None = None,
) -> Measured:
    """Return everything that is measured of a piece, before it is summed by phase.

    `known_wait` is for each device operation its wait for slower ranks as an earlier window measured it, ns. It is used
    for the operations whose instance is not among `instances`.
    """
    evidence = evidence or LayerEvidence()
    launch_instance = instances.at(launches.thread, launches.start)
    marked = without_marks(trace) if evidence.samples_alone and evidence.samples is not None else trace
    intervals = host_intervals(marked, launches, instances)
    op_instance = ops_instance(launches, launch_instance)
    communication = find_communication(trace.ops, op_instance, instances, evidence.kernel_classes)
    if known_wait is not None:
        wait = np.where(op_instance < 0, known_wait, communication.wait)
        communication = replace(communication, wait=wait)
    trace = replace(trace, ops=split_devices(trace.ops, op_instance, instances, communication))
    intervals = with_exposure(intervals, trace, launches, instances, launch_instance, communication.wait)
    helpers = _helper_states(marked, launches, instances, launch_instance)
    operators = find_operators(trace, launches)
    signs = library_signs(trace, launches, evidence.chains, evidence.learned)
    mediation = mediate(trace, launches, operators, signs)
    sampled = locate(evidence.samples, intervals, instances) if evidence.samples is not None else None
    return Measured(
        trace=trace,
        launches=launches,
        instances=instances,
        intervals=intervals,
        communication=communication,
        helpers=helpers,
        operators=operators,
        mediation=mediation,
        sampled=sampled,
        chains=evidence.chains,
    )


def _helper_states(trace: Trace, launches: Launches, instances: Instances, launch_instance: Ints) -> Ints:
    """Return the states of the helpers of each instance, (instances, states) in ns (method section 2.2).

    A helper is a thread that launches during the instance and is not its host thread.
    """
    intervals = host_intervals(trace, launches, instances, helping=True)
    if not len(intervals.start):
        return np.zeros((len(instances), len(STATES)), np.int64)
    threads, code = np.unique(np.r_[launches.thread, intervals.thread], return_inverse=True)
    launched = np.zeros((len(threads), len(instances)), bool)
    inside = launch_instance >= 0
    launched[code[: len(launches)][inside], launch_instance[inside]] = True
    helps = launched[code[len(launches) :], intervals.instance]
    return intervals.by_instance(intervals.duration * helps, len(instances))
