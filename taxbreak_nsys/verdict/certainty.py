"""What makes the target of a verdict uncertain: library time that counts as framework time."""

from __future__ import annotations

from taxbreak_nsys.attribution.layers import LOWER, misses_library_time
from taxbreak_nsys.result import Phase


def uncertainty(entry: Phase) -> str | None:
    """Return why the target `framework` of a phase is not certain, with the libraries' names; None where it is certain.

    Library time that counts as framework time makes the framework's lever look better than it is. A target `library`
    stays the target with more library time.
    """
    layers, samples = entry.taxbreak, entry.samples
    if layers.library_bound == LOWER:
        names = " and ".join(layers.unmarked_libraries)
        return f"{names} launched kernels and marked no range, so library time counts as framework time"
    if samples is None or not misses_library_time(entry) or not layers.delta_ft_ns:
        return None
    share = (samples.library_missed_ns or 0) / layers.delta_ft_ns
    modules = f" ({', '.join(samples.library_missed_modules)})" if samples.library_missed_modules else ""
    return f"CPU samples find {share:.0%} of the framework time in libraries outside their ranges{modules}"
