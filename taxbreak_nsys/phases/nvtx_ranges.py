"""Phases by NVTX ranges: the user's rules over ranges of any depth, or else the outermost ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model import name_rules
from taxbreak_nsys.model.step_counts import PhaseSource
from taxbreak_nsys.model.trace_columns import PROCESS_MASK, Ranges, thread_slice
from taxbreak_nsys.model.user_pattern import UserPattern
from taxbreak_nsys.phases.instances import ThreadPhases


@dataclass(frozen=True)
class PhaseRule:
    """A phase chosen by the user: ranges whose text the pattern finds get the label."""

    label: str
    pattern: UserPattern

    @classmethod
    def parse(cls, text: str) -> PhaseRule:
        """Parse `LABEL=REGEX`; raises TaxbreakError where it is not of that form."""
        label, equals, regex = text.partition("=")
        if not equals or not label.strip() or not regex:
            raise TaxbreakError(f"--phase {text!r}: write LABEL=REGEX, as in --phase 'decode=^decode_'")
        return cls(label.strip(), UserPattern.parse(regex, f"--phase {text!r}"))


def outermost(start: Ints, end: Ints) -> Ints:
    """Return the indices of the outermost ranges: each starts at or after the end of the one taken before.

    The order is by start, longest first (method section 2). Empty ranges are no instances.
    """
    taken: list[int] = []
    order = np.lexsort((-end, start))
    order = order[end[order] > start[order]]
    starts = start[order]
    at = 0
    while at < len(order):
        taken.append(int(order[at]))
        at = int(np.searchsorted(starts, end[order[at]], side="left"))
    return np.array(taken, np.int64)


def marking_ranges(ranges: Ranges, chosen: Flags, thread: int, *, any_depth: bool = False) -> Ints:
    """Return the ranges that mark `thread`: its own, or else the outermost of its process's other threads.

    `chosen` flags the ranges that may be a phase; of a thread's own the outermost are taken, or all of them
    (`any_depth`).
    """
    part = thread_slice(ranges.thread, thread)
    own = np.flatnonzero(chosen[part]) + part.start
    if len(own):
        return own if any_depth else own[outermost(ranges.start[own], ranges.end[own])]
    others = np.flatnonzero(chosen & ((ranges.thread & PROCESS_MASK) == (thread & PROCESS_MASK)))
    return others[outermost(ranges.start[others], ranges.end[others])]


def by_rules(ranges: Ranges, threads: Sequence[int], rules: Sequence[PhaseRule]) -> list[ThreadPhases]:
    """Return the instances that the user's rules choose: a range of any depth has the label of the first rule
    that finds its text. Raises TaxbreakError where they choose nothing.
    """
    first = [next((k for k, rule in enumerate(rules) if rule.pattern.search(name)), -1) for name in ranges.names]
    names = tuple(rule.label for rule in rules)
    found = _found(ranges, threads, np.array(first, np.int64), names, PhaseSource("rule", evidence="--phase"), True)
    if not found:
        shown = ", ".join(sorted(set(names)))
        raise TaxbreakError(
            f"no NVTX range of a launching thread matches --phase ({shown}); the ranges are: "
            + (examples(ranges) or "none: capture with 'nsys profile -t cuda,nvtx'")
        )
    return found


def by_outermost(ranges: Ranges, threads: Sequence[int]) -> list[ThreadPhases]:
    """Return the outermost ranges that are neither a library's nor an operator's, labelled by their text."""
    labels: dict[str, int] = {}
    code = [labels.setdefault(name_rules.phase_label(name), len(labels)) for name in ranges.names]
    source = PhaseSource("marks", evidence="outermost NVTX ranges")
    return _found(ranges, threads, np.array(code, np.int64), tuple(labels), source, False)


def _found(
    ranges: Ranges,
    threads: Sequence[int],
    label_of_name: Ints,
    labels: tuple[str, ...],
    source: PhaseSource,
    any_depth: bool,
) -> list[ThreadPhases]:
    if not len(ranges):
        return []
    chosen = (label_of_name[ranges.name] >= 0) & (ranges.end > ranges.start)
    if not any_depth:
        chosen &= ~ranges.is_operator & ~ranges.is_library
    found = []
    for thread in threads:
        picked = marking_ranges(ranges, chosen, thread, any_depth=any_depth)
        if len(picked):
            label = label_of_name[ranges.name[picked]]
            found.append(ThreadPhases(ranges.start[picked], ranges.end[picked], thread, label, labels, source))
    return found


def examples(ranges: Ranges, most: int = 5) -> str:
    """Return some labels that the report's ranges would give, for a message; empty where there are none."""
    plain = ~ranges.is_operator & ~ranges.is_library
    names = sorted({name_rules.phase_label(ranges.names[code]) for code in np.unique(ranges.name[plain])})
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
