"""Ranks: threads whose steps pair up one to one, such as a tensor-parallel engine's workers (method section 2.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.model.launch_outline import LaunchOutline
from taxbreak_nsys.model.trace_columns import PROCESS_MASK
from taxbreak_nsys.phases.instances import ALL, Instances, RankGroup


@dataclass(frozen=True)
class StepSequence:
    """The instances that one thread marked, by start; `number` has their indices in `Instances`."""

    thread: int
    number: Ints
    label: Ints
    start: Ints
    end: Ints


def with_ranks(instances: Instances, outline: LaunchOutline | None) -> Instances:
    """Return the instances with `groups`, and with `group` and `step` filled where steps pair up.

    Threads of one process are ranks only if they use different devices; without an `outline` they are no ranks.
    """
    threads = np.unique(instances.marked_by).tolist()
    sequences = [steps for thread in threads if (steps := _sequence(instances, thread)) is not None]
    sequences.sort(key=lambda steps: -len(steps.number))
    group, step = np.full(len(instances), -1, np.int64), np.full(len(instances), -1, np.int64)
    groups: list[RankGroup] = []
    offset = 0
    while sequences:
        first, *others = sequences
        members, sequences = [(first, 0)], []
        for other in others:
            apart = all(_apart(instances, member, other, outline) for member, _ in members)
            shift = _best_shift(first, other) if apart else None
            if shift is None:
                sequences.append(other)
            else:
                members.append((other, shift))
        if len(members) == 1:
            continue
        # Step k of the first thread pairs with step k + shift of the other.
        low = max(0, *(-shift for _, shift in members))
        high = min(len(member.number) - shift for member, shift in members)
        if high <= low:
            continue
        for member, shift in members:
            group[member.number] = len(groups)
            paired = member.number[low + shift : high + shift]
            step[paired] = np.arange(offset, offset + len(paired))
        members.sort(key=lambda pair: pair[0].thread)
        groups.append(
            RankGroup(
                threads=tuple(member.thread for member, _ in members),
                steps=tuple(len(member.number) for member, _ in members),
                paired=high - low,
            )
        )
        offset += high - low
    return replace(instances, group=group, step=step, groups=tuple(groups))


def _apart(instances: Instances, steps: StepSequence, other: StepSequence, outline: LaunchOutline | None) -> bool:
    """Return whether two sequences can be ranks: of different processes, or on different devices of one process."""
    threads, others = (set(np.unique(instances.thread[each.number]).tolist()) for each in (steps, other))
    if not {thread & PROCESS_MASK for thread in threads} & {thread & PROCESS_MASK for thread in others}:
        return True
    if outline is None:
        return False
    used, used_too = (set[int]().union(*map(outline.devices, hosts)) for hosts in (threads, others))
    return not used & used_too


def _sequence(instances: Instances, thread: int) -> StepSequence | None:
    """Return the steps that a thread marked; None where they overlap, or where the thread is one whole phase."""
    number = np.flatnonzero(instances.marked_by == thread)
    number = number[np.argsort(instances.start[number], kind="stable")]
    kinds = {instances.sources[code].kind for code in np.unique(instances.source[number]).tolist()}
    start, end = instances.start[number], instances.end[number]
    if ALL in kinds or np.any(start[1:] < end[:-1]):
        return None
    return StepSequence(thread=thread, number=number, label=instances.label[number], start=start, end=end)


def _best_shift(first: StepSequence, other: StepSequence) -> int | None:
    """Return the shift: step k of `first` pairs with step k + shift of `other`; None where they do not pair up.

    Steps of a pair must have one label and overlap or nearly so: a rank that launches ahead may begin its next step
    before the other rank. Half of the pairs must overlap, unless both sequences have the same number of steps and the
    shift is 0. At least half of the shorter sequence must pair.
    """
    probes = {0, len(first.number) // 2, len(first.number) - 1}
    shifts: set[int] = set()
    for at in probes:
        low = int(np.searchsorted(other.end, first.start[at], side="right"))
        high = int(np.searchsorted(other.start, first.end[at], side="left"))
        shifts |= {step - at for step in range(low, high)}
    best: tuple[int, int] | None = None
    for shift in sorted(shifts, key=abs):
        low, high = max(0, -shift), min(len(first.number), len(other.number) - shift)
        if 2 * (high - low) < min(len(first.number), len(other.number)):
            continue
        own, paired = slice(low, high), slice(low + shift, high + shift)
        gap = np.maximum(first.start[own], other.start[paired]) - np.minimum(first.end[own], other.end[paired])
        shorter = np.minimum((first.end - first.start)[own], (other.end - other.start)[paired])
        matching = np.all((gap < shorter) & (first.label[own] == other.label[paired]))
        same_steps = shift == 0 and len(first.number) == len(other.number)
        overlapping = int(np.sum(gap < 0))
        pairs = matching and overlapping and (same_steps or 2 * overlapping >= high - low)
        if pairs and (best is None or high - low > best[0]):
            best = high - low, shift
    return None if best is None else best[1]
