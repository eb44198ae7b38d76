"""Host state and kind of code of each CPU sample in a phase (method section 4, evidence `samples`)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from taxbreak_nsys.arrays.intervals import Coverage, Flags, Ints
from taxbreak_nsys.measure.host_states import STATE, HostIntervals
from taxbreak_nsys.model.trace_columns import Trace, runs
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.read.module_table import CLASS
from taxbreak_nsys.read.sample_reader import CpuSamples
from taxbreak_nsys.read.stack_frames import Frames

KINDS = ("profiler", "library", "launch", "runtime", "native", "interpreter", "unknown")
"""Kinds of code that a sample can hit: the profiler, a CUDA library, the driver inside a launch, the driver elsewhere,
the framework's native code, the interpreter, no known module."""
KIND = {name: code for code, name in enumerate(KINDS)}

_KIND_OF_CALLER = {"profiler": "profiler", "library": "library", "framework": "native", "interpreter": "interpreter"}


@dataclass(frozen=True)
class Sampled:
    """The samples with their phase, and the time on the CPU; columns over the samples of `source`.

    `instance` is -1 outside the phases; `state` and `kind` index `name_rules.STATES` and `KINDS`. `undecided` flags
    samples whose chain is truncated before the caller, so that library and framework cannot be distinguished. `between`
    flags samples of a cycle after the end of its mark. `frame` is the frame that a sample is listed under. `on_cpu` is
    (instances, states) in ns, valid for the instances that `switched` flags: the report has context switches of their
    thread.
    """

    source: CpuSamples
    instance: Ints
    state: Ints
    kind: Ints
    undecided: Flags
    between: Flags
    frame: Frames
    on_cpu: Ints
    switched: Flags


def without_marks(trace: Trace) -> Trace:
    """Return the trace without library and operator ranges, as `--evidence samples` uses it."""
    none = np.zeros(len(trace.ranges), bool)
    calls = trace.library_calls
    empty = replace(calls, start=calls.start[:0], end=calls.end[:0], thread=calls.thread[:0], flag=calls.flag[:0])
    return replace(
        trace, ranges=replace(trace.ranges, is_library=none, is_operator=none), library_calls=empty
    )  # fmt: skip


def locate(source: CpuSamples, intervals: HostIntervals, instances: Instances) -> Sampled:
    """Return the phase instance, the host state and the kind of code of each sample."""
    count = len(source)
    instance, state = np.full(count, -1, np.int64), np.zeros(count, np.int64)
    on_cpu = np.zeros(len(intervals.start), np.int64)
    switched = np.zeros(len(instances), bool)
    for low, high in runs(intervals.thread):
        thread = int(intervals.thread[low])
        rows = slice(*np.searchsorted(source.thread, [thread, thread + 1]).tolist())
        at = np.searchsorted(intervals.start[low:high], source.start[rows], side="right") - 1
        inside = (at >= 0) & (source.start[rows] < intervals.end[low:high][np.maximum(at, 0)])
        instance[rows] = np.where(inside, intervals.instance[low:high][at], -1)
        state[rows] = np.where(inside, intervals.state[low:high][at], 0)
        scheduled = source.on_cpu(thread)
        if scheduled is not None:
            on_cpu[low:high] = Coverage.of(scheduled).within(intervals.start[low:high], intervals.end[low:high])
            switched[instances.thread == thread] = True
    kind, undecided = _kinds(source, state)
    between = instance >= 0
    own = instance[between]
    between[between] = instances.cycle[own] & (source.start[between] >= instances.mark_end[own])
    return Sampled(
        source=source,
        instance=instance,
        state=state,
        kind=kind,
        undecided=undecided,
        between=between,
        frame=_listed_frames(source, kind),
        on_cpu=intervals.by_instance(on_cpu, len(instances)),
        switched=switched,
    )


def _kinds(source: CpuSamples, state: Ints) -> tuple[Ints, Flags]:
    """Return the kind of each sample, and a flag where its chain leaves open whether a library called it."""
    first, caller = source.first.code, source.caller.code
    kind = np.full(len(first), KIND["unknown"], np.int64)
    for module, name in _KIND_OF_CALLER.items():
        kind[first == CLASS[module]] = KIND[name]
    driver, compiler = first == CLASS["driver"], first == CLASS["compiler"]
    kind[driver] = KIND["runtime"]
    kind[compiler] = KIND["native"]
    for module in ("library", "profiler"):
        kind[(driver | compiler) & (caller == CLASS[module])] = KIND[module]
    kind[driver & (state == STATE["launch"])] = KIND["launch"]
    lost = (driver | compiler | (kind == KIND["unknown"])) & (caller == 0) & (kind != KIND["launch"])
    return kind, lost


def _listed_frames(source: CpuSamples, kind: Ints) -> Frames:
    """Return the frame that each sample is listed under: the frame that decided its kind, else the leaf."""
    by_caller = (source.first.code == CLASS["driver"]) & np.isin(kind, (KIND["library"], KIND["profiler"]))
    unknown = kind == KIND["unknown"]

    def pick(name: str) -> Ints:
        first, caller, leaf = (getattr(frames, name) for frames in (source.first, source.caller, source.leaf))
        return np.where(unknown, leaf, np.where(by_caller, caller, first))

    return Frames(pick("code"), pick("module"), pick("symbol"))
