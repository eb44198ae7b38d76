"""What a user can choose of an analysis."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from taxbreak_nsys.phases import PhaseRule


@dataclass(frozen=True)
class Options:
    """What a user can choose of an analysis.

    `window` is (start, end) in ns of the session; `process` and `thread` are the ids that nsys shows; `t_sys_ns`
    or `null_report` give the floor of the launch path; `evidence` forces one of `layers.EVIDENCES`. `phases` is
    one of `phases.SOURCES` (None: the best), `engine` the name of the engine whose marks are meant, `phase_rules`
    a file of more engines; `by_batch` splits phases by the number of requests. `modules` is a table of modules
    of the user's, `reference` a file of un-profiled times (`FILE#SET` where it holds several), `library_map` what
    `library-map` learned from another report.
    """

    rules: tuple[PhaseRule, ...] = ()
    window: tuple[int, int] | None = None
    process: int | None = None
    thread: int | None = None
    t_sys_ns: int | None = None
    null_report: Path | None = None
    evidence: str | None = None
    skip: int = 0
    """Leave out the first so many instances of each phase and thread, where it has more."""
    phases: str | None = None
    engine: str | None = None
    phase_rules: Path | None = None
    by_batch: bool = False
    modules: Path | None = None
    reference: str | None = None
    library_map: Path | None = None
    tables: frozenset[str] = frozenset()
    """The tables of details to make beside the phases, of `detail_rows.DETAIL_TABLES`."""
    range_depth: int | None = None
    """The table of ranges leaves out what lies deeper than this, and counts its time for the range around it."""
    kernel_classes: Path | None = None
    """A user's table of kernel classes, tried before the built-in one."""
