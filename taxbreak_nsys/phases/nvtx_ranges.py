"""Phases by NVTX ranges: ranges of any depth that the user's rules match, or the outermost ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model import name_rules
from taxbreak_nsys.model.step_counts import PhaseSource
from taxbreak_nsys.model.trace_columns import Ranges
from taxbreak_nsys.model.user_pattern import UserPattern
from taxbreak_nsys.phases.process_phases import ProcessPhases, marked_ranges, phases_from_marks


@dataclass(frozen=True)
class PhaseRule:
    """A user's phase: ranges whose text the pattern matches get the label."""

    label: str
    pattern: UserPattern

    @classmethod
    def parse(cls, text: str) -> PhaseRule:
        """Return the rule that `LABEL=REGEX` gives; raises TaxbreakError for any other form."""
        label, equals, regex = text.partition("=")
        if not equals or not label.strip() or not regex:
            raise TaxbreakError(f"--phase {text!r}: write LABEL=REGEX, as in --phase 'decode=^decode_'")
        return cls(label.strip(), UserPattern.parse(regex, f"--phase {text!r}"))


def by_rules(ranges: Ranges, threads: Sequence[int], rules: Sequence[PhaseRule]) -> list[ProcessPhases]:
    """Return the instances that the user's rules choose; the first rule that matches a range's text gives the label.

    Raises TaxbreakError where no range of a launching thread matches.
    """
    first = [next((k for k, rule in enumerate(rules) if rule.pattern.search(name)), -1) for name in ranges.names]
    names = tuple(rule.label for rule in rules)
    source = PhaseSource("rule", evidence="--phase")
    phases = _marked_phases(ranges, threads, np.array(first, np.int64), names, source, any_depth=True)
    if not phases:
        labels = ", ".join(sorted(set(names)))
        raise TaxbreakError(
            f"no NVTX range of a launching thread matches --phase ({labels}); the ranges are: "
            + (examples(ranges) or "none: capture with 'nsys profile -t cuda,nvtx'")
        )
    return phases


def by_outermost(ranges: Ranges, threads: Sequence[int]) -> list[ProcessPhases]:
    """Return the outermost ranges that are no library's, no operator's and not the GIL's, labelled by their text."""
    labels: dict[str, int] = {}
    code = [
        -1 if name_rules.is_gil_range(name) else labels.setdefault(name_rules.phase_label(name), len(labels))
        for name in ranges.names
    ]
    source = PhaseSource("marks", evidence="outermost NVTX ranges")
    return _marked_phases(ranges, threads, np.array(code, np.int64), tuple(labels), source, any_depth=False)


def _marked_phases(
    ranges: Ranges,
    threads: Sequence[int],
    label_of_name: Ints,
    labels: tuple[str, ...],
    source: PhaseSource,
    *,
    any_depth: bool,
) -> list[ProcessPhases]:
    """Return the phases that ranges with a label mark; `label_of_name` is -1 for a range name without label."""
    if not len(ranges):
        return []
    chosen = (label_of_name[ranges.name] >= 0) & (ranges.end > ranges.start)
    if not any_depth:
        chosen &= ~ranges.is_operator & ~ranges.is_library
    return [
        phases_from_marks(ranges, marked, label_of_name, labels, source)
        for marked in marked_ranges(ranges, chosen, threads, any_depth=any_depth)
    ]


def examples(ranges: Ranges, most: int = 5) -> str:
    """Return up to `most` labels of the report's own ranges, joined for a message; empty where it has none."""
    plain = ~ranges.is_operator & ~ranges.is_library
    texts = {ranges.names[code] for code in np.unique(ranges.name[plain])}
    names = sorted({name_rules.phase_label(text) for text in texts if not name_rules.is_gil_range(text)})
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
