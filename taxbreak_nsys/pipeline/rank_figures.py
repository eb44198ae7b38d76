"""Communication and ranks of a phase: time in collectives, waits for slower ranks, the slowest rank of each step."""

from __future__ import annotations

import re

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags
from taxbreak_nsys.measure.measured import InstanceSums
from taxbreak_nsys.model.engine_figures import CommunicationTime, Ranks, RankTime
from taxbreak_nsys.model.trace_columns import pid, tid
from taxbreak_nsys.totals.totals import Totals

_POINT_TO_POINT = re.compile(r"send|recv", re.IGNORECASE)


def communication_time(steps: InstanceSums, which: Flags) -> CommunicationTime | None:
    """Return the time of the flagged instances in collectives; None where no instance has a collective."""
    comm = steps.comm[which]
    if not comm.any():
        return None
    communicating = which & (steps.comm > 0)
    unpaired, total = int(np.sum(steps.comm_unpaired[communicating])), int(np.sum(communicating))
    reason = None
    if unpaired:
        unmatched = bool(np.all(steps.comm_alone[communicating & steps.comm_unpaired]))
        reason = (
            "no other rank of these collectives is in the report; profile all ranks in one report"
            if unmatched
            else "the collectives of the ranks do not pair up"
        )
        if unpaired < total:
            reason = f"in {unpaired} of {total} steps {reason}"
    wait = None if unpaired == total else int(steps.comm_wait[communicating].sum())
    return CommunicationTime(comm_ns=int(comm.sum()), comm_wait_ns=wait, reason=reason)


def rank_figures(totals: Totals, paired: Flags, slowest: Flags, label: int, group: int) -> Ranks:
    """Return the ranks of a group in one phase (label code `label`).

    `paired` flags the instances of paired steps, `slowest` of these the slowest rank of each step.
    """
    instances, steps = totals.instances, totals.steps
    key = group * len(instances.labels) + label
    skew = totals.skew.stats().get(key)
    ranks = []
    for thread in instances.groups[group].threads:
        own = paired & (instances.marked_by == thread)
        communication = communication_time(steps, own)
        ranks.append(
            RankTime(
                process=pid(thread),
                thread=tid(thread),
                steps=int(np.sum(own)),
                slowest_steps=int(np.sum(own & slowest)),
                wall_ns=int(steps.wall[own].sum()),
                comm_ns=0 if communication is None else communication.comm_ns,
                comm_wait_ns=None if communication is None else communication.comm_wait_ns,
            )
        )
    kind = "data parallel"
    if skew is not None:
        point_to_point = all(_POINT_TO_POINT.search(name) for name in totals.collectives)
        kind = "pipeline parallel" if point_to_point else "tensor parallel"
    return Ranks(
        kind=kind,
        paired_steps=int(np.sum(slowest)),
        collectives=skew.count if skew else 0,
        skew_median_ns=skew.median if skew else None,
        skew_largest_ns=skew.largest if skew else None,
        ranks=tuple(ranks),
    )
