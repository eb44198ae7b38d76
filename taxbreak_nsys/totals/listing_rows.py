"""Columns that the listings by kernel, operator and call share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from taxbreak_nsys.arrays.grouped import ValueStats
from taxbreak_nsys.model.name_rules import FRAMEWORK_STATES
from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.result import Phase
from taxbreak_nsys.totals.sampled_split import apportion

Row = dict[str, Any]

NO_SPLIT = ("none", "samples", "ranges+samples")
"""Evidence that cannot separate framework from library for one kernel or operator, as it has too few samples."""

NO_KERNEL, NO_OPERATOR = "(no kernel launch)", "(no operator)"
"""Names of the rows with the rest of a phase: host time of no kernel launch, time outside operators."""


@dataclass(frozen=True)
class HostShare:
    """The host time of one kernel or operator in a phase by layer, and the time that the subtraction moves, ns.

    `moved` is what the subtraction (Eq. 5) would move from framework to library for this row alone.
    """

    framework: int
    library: int
    moved: int = 0


def head(entries: PhaseThreads, entry: int) -> Row:
    """Return the columns that identify an entry: phase, process, thread."""
    return dict(zip(("phase", "process", "thread"), entries.key(entry), strict=True))


def stats_row(prefix: str, stats: ValueStats | None) -> Row:
    """Return total, average, median, minimum and maximum of durations, ns; null without durations."""
    return {
        f"{prefix}_ns": stats and stats.total,
        f"{prefix}_avg_ns": stats and stats.total // stats.count,
        f"{prefix}_med_ns": stats and stats.median,
        f"{prefix}_min_ns": stats and stats.least,
        f"{prefix}_max_ns": stats and stats.largest,
    }


def layer_rows(phase: Phase, shares: Sequence[HostShare]) -> list[Row]:
    """Return delta_ft and delta_ct of each row of a phase and, last, of its rest; they add up to the phase.

    If the evidence cannot split a row, delta_ct is null and delta_ft holds both. The rows then add up to the sum of the
    phase's two layers; `samples` leaves time off the CPU out, so each row has a proportional part of that sum.
    """
    layers = phase.taxbreak
    if layers.delta_ft_ns is None:
        return [{"delta_ft_ns": None, "delta_ct_ns": None}] * (len(shares) + 1)
    framework = [
        *(share.framework for share in shares),
        sum(phase.states_ns[state] for state in FRAMEWORK_STATES) - sum(share.framework for share in shares),
    ]
    library = [
        *(share.library for share in shares),
        phase.states_ns["library"] - sum(share.library for share in shares),
    ]
    whole = layers.delta_ft_ns + (layers.delta_ct_ns or 0)
    if layers.evidence in NO_SPLIT:
        both = [max(ft + ct, 0) for ft, ct in zip(framework, library, strict=True)]
        return [{"delta_ft_ns": ns, "delta_ct_ns": None} for ns in apportion(whole, both)]
    moved = [0] * len(framework)
    if layers.evidence == "subtractive" and layers.delta_ct_ns is not None:
        moved = _moved(layers.delta_ct_ns - phase.states_ns["library"], [s.moved for s in shares], framework)
    return [
        {"delta_ft_ns": ft - part, "delta_ct_ns": ct + part}
        for ft, ct, part in zip(framework, library, moved, strict=True)
    ]


def _moved(total: int, wanted: Sequence[int], capacity: Sequence[int]) -> list[int]:
    """Return the time that the subtraction moves in each row, adding up to `total`, ns.

    Each row gets its `wanted` time first; the difference to `total` goes to the rest of the phase, then to rows with
    framework time left. `capacity` is the framework time of each row and, last, of the rest of the phase; its sum is at
    least `total`.
    """
    parts = [*wanted, 0] if sum(wanted) <= total else [*apportion(total, wanted), 0]
    rest = total - sum(parts)
    if rest:
        # the phase caps by all of `dispatch`, a row by the time before its launches: the rest takes the difference
        parts[-1] = min(rest, max(capacity[-1], 0))
        room = [max(most - part, 0) for most, part in zip(capacity, parts, strict=True)]
        parts = [part + more for part, more in zip(parts, apportion(rest - parts[-1], room), strict=True)]
    return parts
