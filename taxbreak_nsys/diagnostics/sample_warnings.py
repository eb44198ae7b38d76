"""Warnings about CPU samples: too few, without chains, in modules that nobody knows, or against the ranges."""

from __future__ import annotations

from collections.abc import Iterator

from taxbreak_nsys.attribution.layers import EVIDENCES
from taxbreak_nsys.model.report_facts import ReportWarning
from taxbreak_nsys.result import Result
from taxbreak_nsys.totals.sample_totals import SampleTotals
from taxbreak_nsys.totals.totals import Totals

_FLAGS = (
    "nsys profile -t cuda,nvtx,osrt -s process-tree --sampling-period=125000 --samples-per-backtrace=1 --backtrace=fp"
)
_BY_SAMPLES = EVIDENCES.index("samples")
_MANY_UNKNOWN = 0.2
"""The share of samples in no known module from which on a warning names their modules."""
_MUCH_MISSED = 20
"""Library time outside of ranges is worth a warning where it is surely more than one part in this many of theirs."""


def sample_warnings(result: Result, totals: Totals) -> tuple[ReportWarning, ...]:
    """Return the warnings that the samples of a result call for."""
    if totals.samples.period_ns is None:
        return ()
    return (*_too_few(result), *_chains(totals.samples), *_missed(result))


def _too_few(result: Result) -> Iterator[ReportWarning]:
    few = {
        e.phase
        for e in result.entries
        if e.samples and not e.samples.enough and EVIDENCES.index(e.taxbreak.evidence) > _BY_SAMPLES
    }
    if few:
        yield ReportWarning(
            "too_few_samples",
            f"too few CPU samples in {', '.join(sorted(few))} to tell library from framework time (the interval is "
            "wider than the figure): weaker evidence is used",
            "sample more often (a smaller --sampling-period), capture more instances, or force --evidence samples",
        )


def _chains(samples: SampleTotals) -> Iterator[ReportWarning]:
    if not samples.has_chains:
        yield ReportWarning(
            "samples_without_chains",
            "the CPU samples have no call chains: driver time that a library causes counts as framework time (the "
            "interval's upper end holds it)",
            f"capture with '{_FLAGS}'",
        )
    unknown = samples.unknown_share
    if unknown > _MANY_UNKNOWN:
        names = ", ".join(name for name, _ in samples.unknown_modules[:5]) or "no module at all"
        yield ReportWarning(
            "unknown_modules",
            f"{unknown:.0%} of the CPU samples are in no module that is known ({names}): they count as framework time",
            "name their modules in a table and give it with --modules, or capture with --backtrace=fp",
        )


def _missed(result: Result) -> Iterator[ReportWarning]:
    missed = set()
    for entry in result.entries:
        interval = entry.samples.library_missed_interval_ns if entry.samples else None
        if interval and interval[0] * _MUCH_MISSED > (entry.taxbreak.delta_ct_ns or 0):
            missed.add(entry.phase)
    if missed:
        yield ReportWarning(
            "library_outside_ranges",
            f"CPU samples find library time outside library ranges in {', '.join(sorted(missed))} (cuDNN 9 marks "
            "none): it counts as framework time",
            "see -r taxbreak_sample_sum, or force --evidence samples",
        )
