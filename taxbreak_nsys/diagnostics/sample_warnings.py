"""Warnings about numbers based on CPU samples or a reference: few samples, unknown modules, the profiler's share."""

from __future__ import annotations

from collections.abc import Iterator

from taxbreak_nsys.attribution.layers import EVIDENCES, misses_library_time
from taxbreak_nsys.model.report_facts import ReportWarning
from taxbreak_nsys.result import Result
from taxbreak_nsys.totals.sample_totals import SampleTotals
from taxbreak_nsys.totals.totals import Totals

SAMPLE_FLAGS = (
    "nsys profile -t cuda,nvtx,osrt -s process-tree --sampling-period=125000 --samples-per-backtrace=1 --backtrace=fp"
)
_BY_SAMPLES = EVIDENCES.index("samples")
_MANY_UNKNOWN = 0.2
"""A larger share of samples in no known module is worth a warning."""
_NOISE = 0.05
"""Two runs of a program can differ by this share."""


def sample_warnings(result: Result, totals: Totals) -> tuple[ReportWarning, ...]:
    """Return the warnings about the samples and the references of a result."""
    about_profiler = (*_longer_reference(result), *_claims(result))
    if totals.samples.period_ns is None:
        return about_profiler
    return (*_too_few(result), *_chains(totals.samples), *_missed(result), *about_profiler)


def _too_few(result: Result) -> Iterator[ReportWarning]:
    few = {
        e.phase
        for e in result.entries
        if e.samples and not e.samples.enough and EVIDENCES.index(e.taxbreak.evidence) > _BY_SAMPLES
    }
    if few:
        yield ReportWarning(
            "too_few_samples",
            f"too few CPU samples in {', '.join(sorted(few))} to distinguish library from framework time (the interval "
            "is wider than the time itself): weaker evidence is used",
            "sample more often (a smaller --sampling-period), capture more instances, or force --evidence samples",
        )


def _chains(samples: SampleTotals) -> Iterator[ReportWarning]:
    if not samples.has_chains:
        yield ReportWarning(
            "samples_without_chains",
            "the CPU samples have no call chains: driver time that a library causes counts as framework time (the "
            "interval's upper end holds it)",
            f"capture with '{SAMPLE_FLAGS}'",
        )
    unknown = samples.unknown_share
    if unknown > _MANY_UNKNOWN:
        names = ", ".join(name for name, _ in samples.unknown_modules[:5]) or "no module at all"
        yield ReportWarning(
            "unknown_modules",
            f"{unknown:.0%} of the CPU samples are in no known module ({names}): they count as framework time",
            "name their modules in a table and give it with --modules, or capture with --backtrace=fp",
        )


def _missed(result: Result) -> Iterator[ReportWarning]:
    """Warn of library time outside library ranges, and name the modules of this time."""
    used, unused, modules = set(), set(), set[str]()
    for entry in result.entries:
        if entry.taxbreak.evidence == "ranges+samples":
            used.add(entry.phase)
        elif misses_library_time(entry):
            unused.add(entry.phase)
        else:
            continue
        modules |= set(entry.samples.library_missed_modules) if entry.samples else set()
    names = f" ({', '.join(sorted(modules))})" if modules else ""
    if used:
        yield ReportWarning(
            "library_outside_ranges",
            f"CPU samples find library time outside library ranges in {', '.join(sorted(used))}{names}: delta_ct holds "
            "it (evidence ranges+samples), with the interval of the samples",
            "no action is needed; -r taxbreak_sample_sum lists the modules",
        )
    elif unused:
        yield ReportWarning(
            "library_outside_ranges",
            f"CPU samples find library time outside library ranges in {', '.join(sorted(unused))}{names}: it counts as "
            "framework time, so the target of the verdict is not certain",
            "leave --evidence out, or give --evidence ranges+samples",
        )


def _longer_reference(result: Result) -> Iterator[ReportWarning]:
    """Warn if a reference is longer than the capture: nsys does not make a program faster."""
    phases = sorted(
        {e.phase for e in result.entries if e.corrected and e.corrected.dilation * (1 + _NOISE) < 1}
    )  # fmt: skip
    if phases:
        yield ReportWarning(
            "reference_longer",
            f"the reference of {', '.join(phases)} is longer than the captured wall time, so it is of other work: the "
            "corrected numbers leave out the profiler's own rows alone",
            "measure the reference with the same model, batch and lengths as the capture",
        )


def _claims(result: Result) -> Iterator[ReportWarning]:
    """Warn if the samples give the profiler more time than the capture exceeds the reference by."""
    phases = []
    for entry in result.entries:
        claimed = entry.corrected.profiler_claimed_ns if entry.corrected else None
        removed = entry.corrected.profiler_removed_ns if entry.corrected else None
        if claimed and removed is not None and (claimed - removed) > claimed * _NOISE and not entry.combined:
            phases.append(f"{entry.phase} ({claimed / 1e6:.1f} ms, of which {removed / 1e6:.1f} ms are taken out)")
    if phases:
        yield ReportWarning(
            "profiler_share_scaled",
            "samples give the profiler more time than the whole excess of the capture over the reference in "
            f"{', '.join(dict.fromkeys(phases))}: the profiler's share is scaled down to this excess",
            "measure the reference again on the same machine, with the number of instances of the capture",
        )
