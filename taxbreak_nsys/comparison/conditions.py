"""Differences between two captures besides the program: shown before any metric, each with its effect on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from taxbreak_nsys.comparison.sample_changes import PhaseSamples
from taxbreak_nsys.result import Result


@dataclass(frozen=True)
class Condition:
    """One difference in how the two sides were captured, and its effect on the comparison.

    `stretches_host` is True if the tracing itself differs, so that host times of the two sides cannot be compared.
    """

    name: str
    before: str
    after: str
    effect: str
    stretches_host: bool


def differences(before: Sequence[Result], after: Sequence[Result]) -> list[Condition]:
    """Return the differences in machine, profiler and trace settings."""
    old, new = capture_settings(before), capture_settings(after)
    return [
        Condition(name=name, before=old[name], after=new[name], effect=effect, stretches_host=stretches)
        for name, _, effect, stretches in _CONDITIONS
        if old[name] != new[name]
    ]


def capture_settings(results: Sequence[Result]) -> dict[str, str]:
    """Return the capture settings of a side's reports, by the name of each condition."""
    return {name: _distinct_values(results, value) for name, value, _, _ in _CONDITIONS}


def stretches_host(name: str) -> bool:
    """Return whether a difference in this setting makes host times incomparable."""
    return any(stretches for known, _, _, stretches in _CONDITIONS if known == name)


def evidence_condition(before: PhaseSamples, after: PhaseSamples) -> Condition | None:
    """Return the difference in evidence for the library layer of a phase; None if both sides use the same."""
    if before.evidences == after.evidences:
        return None
    return Condition(
        name=f"evidence of {before.label}" + (f" and {after.label}" if after.label != before.label else ""),
        before=", ".join(sorted(before.evidences)),
        after=", ".join(sorted(after.evidences)),
        effect="framework and library are separated in different ways: only their sum is compared",
        stretches_host=False,
    )


def graph_condition(before: PhaseSamples, after: PhaseSamples) -> Condition | None:
    """Return the difference in how the CUDA graphs of a phase were traced; None if there is none."""
    if before.graphs_traced_as(after):
        return None
    return Condition(
        name=f"CUDA graphs of {before.label}" + (f" and {after.label}" if after.label != before.label else ""),
        before=f"traced {', '.join(sorted(before.graph_traces))}",
        after=f"traced {', '.join(sorted(after.graph_traces))}",
        effect="tracing the nodes makes the launch of a graph several times as long, and only then are its kernels in "
        "the report: host times are not comparable, kernels are not counted",
        stretches_host=True,
    )


def _distinct_values(results: Sequence[Result], value: Callable[[Result], str]) -> str:
    return ", ".join(sorted({value(result) for result in results}))


def _traced(result: Result) -> str:
    return ", ".join(sorted(result.report.traced)) or "unknown"


def _operator_ranges(result: Result) -> str:
    return "traced" if result.traced_ranges.operator else "none"


def _library_ranges(result: Result) -> str:
    return "traced" if result.traced_ranges.library else "none"


_CONDITIONS: tuple[tuple[str, Callable[[Result], str], str, bool], ...] = (
    ("GPU", lambda r: r.report.gpu or "unknown", "device times are of different machines", False),
    ("CPU", lambda r: r.report.cpu or "unknown", "host times are of different machines", False),
    (
        "nsys version", lambda r: r.report.nsys_version or "unknown",
        "versions cost the host different amounts of time: host times are not comparable", True,
    ),
    ("traced", _traced, "tracing slows the host: host times are not comparable", True),
    (
        "operator ranges", _operator_ranges,
        "they alone add about a quarter to the host's time: host times are not comparable", True,
    ),
    ("library ranges", _library_ranges, "each range slows the host: host times are not comparable", True),
    (
        "T_sys source", lambda r: r.t_sys_source,
        "the launch path's floor (T_sys) has different sources, which changes HDBI too", False,
    ),
)  # fmt: skip
