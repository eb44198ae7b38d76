"""What differs between two captures besides the program: said before any metric, with what it does to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from taxbreak_nsys.comparison.sample_changes import PhaseSamples
from taxbreak_nsys.result import Result


@dataclass(frozen=True)
class Condition:
    """One difference in how the two sides were captured, and what it does to the comparison.

    `stretches_host` tells that host times of the two sides cannot be compared: the tracing itself differs.
    """

    name: str
    before: str
    after: str
    effect: str
    stretches_host: bool


def differences(before: Sequence[Result], after: Sequence[Result]) -> list[Condition]:
    """Return what differs in machine, profiler and trace settings."""
    one, other = capture_settings(before), capture_settings(after)
    return [
        Condition(name, one[name], other[name], effect, stretches)
        for name, _, effect, stretches in _CONDITIONS
        if one[name] != other[name]
    ]


def capture_settings(results: Sequence[Result]) -> dict[str, str]:
    """Return how the reports of a side were captured, by the name of each condition."""
    return {name: _all(results, value) for name, value, _, _ in _CONDITIONS}


def stretches_host(name: str) -> bool:
    """Return whether a difference in this setting makes host times incomparable."""
    return any(stretches for known, _, _, stretches in _CONDITIONS if known == name)


def evidence_condition(before: PhaseSamples, after: PhaseSamples) -> Condition | None:
    """Return the difference in evidence for the library layer of a phase, None where there is none."""
    if before.evidences == after.evidences:
        return None
    return Condition(
        f"evidence of {before.label}" + (f" and {after.label}" if after.label != before.label else ""),
        ", ".join(sorted(before.evidences)), ", ".join(sorted(after.evidences)),
        "framework and library are told apart in different ways: only their sum is compared", False,
    )  # fmt: skip


def _all(results: Sequence[Result], of: Callable[[Result], str]) -> str:
    return ", ".join(sorted({of(result) for result in results}))


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
        "versions cost the host different amounts of time: its times are not comparable", True,
    ),
    ("traced", _traced, "what is traced slows the host: its times are not comparable", True),
    (
        "operator ranges", _operator_ranges,
        "they alone add about a quarter to the host's time: its times are not comparable", True,
    ),
    ("library ranges", _library_ranges, "each slows the host: its times are not comparable", True),
    (
        "T_sys source", lambda r: r.t_sys_source,
        "the launch path's floor has different sources: HDBI differs by that too", False,
    ),
)  # fmt: skip
