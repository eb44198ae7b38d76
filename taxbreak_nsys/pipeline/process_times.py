"""CPU time of processes without CUDA calls, during the phases and between the steps of an engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from taxbreak_nsys.arrays.intervals import Coverage, union
from taxbreak_nsys.model.engine_figures import OtherProcessTime
from taxbreak_nsys.model.trace_columns import pid
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.read.other_processes import OtherProcess


def process_times(processes: Sequence[OtherProcess], instances: Instances) -> tuple[OtherProcessTime, ...]:
    """Return the times of processes without CUDA calls, sorted by CPU time between the marks, longest first."""
    host = instances.host_piece
    during = union(instances.piece_start[host], instances.piece_end[host])
    cycle = instances.cycle & (instances.mark_end < instances.end)
    between = union(instances.mark_end[cycle], instances.end[cycle])
    times = []
    for process in processes:
        on_cpu, on_cpu_between = None, None
        if process.on_cpu is not None:
            busy = Coverage.of(process.on_cpu)
            on_cpu = int(np.sum(busy.within(*during)))
            on_cpu_between = int(np.sum(busy.within(*between))) if len(between[0]) else None
        times.append(
            OtherProcessTime(
                process=pid(process.process),
                names=process.names,
                threads=process.threads,
                os_calls=process.os_calls,
                samples=process.samples,
                on_cpu_ns=on_cpu,
                on_cpu_between_ns=on_cpu_between,
            )
        )
    return tuple(sorted(times, key=lambda time: (-(time.on_cpu_between_ns or 0), -(time.on_cpu_ns or 0), time.process)))
