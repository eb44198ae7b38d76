"""Lines of the text report on a phase's CPU samples and its un-profiled reference."""

from __future__ import annotations

from taxbreak_nsys.attribution.layers import hdbi_word
from taxbreak_nsys.output.units import show_share, show_time
from taxbreak_nsys.result import Phase, SampleFigures
from taxbreak_nsys.totals.sampled_split import SPLIT_STATES


def off_cpu_outside_layers(entry: Phase) -> int:
    """Return the time off the CPU that no layer includes, ns; 0 without samples."""
    samples = entry.samples
    if samples is None:
        return 0
    return sum(samples.states[state].off_cpu_ns for state in SPLIT_STATES if state in samples.states)


def lines(entry: Phase, unit: str | None) -> list[str]:
    """Return the lines; empty for a phase without samples and without reference."""
    samples, taxbreak = entry.samples, entry.taxbreak
    texts = []
    if taxbreak.library_interval_ns and taxbreak.delta_ct_ns is not None and taxbreak.library_bound is None:
        low, high = (show_time(ns, unit) for ns in taxbreak.library_interval_ns)
        texts.append(f"library {show_time(taxbreak.delta_ct_ns, unit)}, 95 % interval {low} to {high}")
    if samples and samples.count:
        texts += _profiler(entry, samples, unit)
        if samples.library_missed_ns:
            low, high = (show_time(ns, unit) for ns in samples.library_missed_interval_ns or (None, None))
            texts.append(
                f"library time outside library ranges: {show_time(samples.library_missed_ns, unit)} ({low} to {high})"
            )
    return texts + _corrected(entry, unit)


def _profiler(entry: Phase, samples: SampleFigures, unit: str | None) -> list[str]:
    low, high = (show_share(ns, entry.wall_ns) for ns in samples.profiler_interval_ns)
    by_state = sorted(samples.profiler_by_state_ns.items(), key=lambda item: -item[1])
    largest = ", ".join(f"{show_time(ns, unit)} in {state}" for state, ns in by_state[:3] if ns)
    share = show_share(samples.profiler_ns, entry.wall_ns)
    texts = [
        f"nsys itself took {share} % of the wall time ({low} to {high}, {samples.count:,} samples)"
        + (f": {largest}" if largest else "")
    ]
    if entry.taxbreak.hdbi_without_profiler is not None:
        texts.append(f"HDBI without that time: {entry.taxbreak.hdbi_without_profiler:.3f}")
    return texts


def _corrected(entry: Phase, unit: str | None) -> list[str]:
    corrected = entry.corrected
    if corrected is None:
        return []
    texts = [
        f"captured {corrected.dilation:.2f} times as long as un-profiled ({show_time(corrected.reference_ns, unit)})"
    ]
    if corrected.long_waits:
        texts.append(
            f"{corrected.long_waits} of {entry.instances} instances wait longer than the whole reference: they are "
            "corrected with the mean waits of the others"
        )
    if corrected.wall_ns is None:
        return [*texts, f"not corrected: {corrected.reason}"]
    if corrected.hdbi is not None:
        interval = corrected.hdbi_interval
        between = f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
        captured = f"{entry.taxbreak.hdbi:.3f}" if entry.taxbreak.hdbi is not None else "-"
        texts.append(f"HDBI corrected {corrected.hdbi:.3f}{between} {hdbi_word(corrected.hdbi)}, captured {captured}")
    ct = "" if corrected.delta_ct_ns is None else f", delta_ct {show_time(corrected.delta_ct_ns, unit)}"
    texts.append(
        f"corrected delta_ft {show_time(corrected.delta_ft_ns, unit)}{ct}, "
        f"delta_kt {show_time(corrected.delta_kt_ns, unit)}"
    )
    return texts
