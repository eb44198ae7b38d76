"""The options of an analysis."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from taxbreak_nsys.phases import PhaseRule


@dataclass(frozen=True)
class Options:
    """The options of an analysis; the command line and the Python API both build this object.

    `rules` define the user's own phases and override every other source of phases. `phases` is one of
    `phases.SOURCES` (None: `best`). `instances` is the span of one instance (method section 2.1; None: a cycle for an
    engine's marks, the range otherwise). `engine` names the engine whose marks are the phases, `phase_rules` is a file
    with more engines, `by_batch` splits phases by the number of requests.

    `window` is (start, end) in ns of the session; `process` and `thread` are the ids that nsys shows; `skip` leaves out
    that many first instances of each phase and thread with more instances.

    `t_sys_ns` or `null_report` gives the floor of the launch path; `evidence` forces one of `layers.EVIDENCES`;
    `modules` is a table of the user's own modules; `reference` is a file of un-profiled times (`FILE#SET` for a file
    with several sets); `library_map` is a file that `library-map` wrote.
    """

    rules: tuple[PhaseRule, ...] = ()
    window: tuple[int, int] | None = None
    process: int | None = None
    thread: int | None = None
    t_sys_ns: int | None = None
    null_report: Path | None = None
    evidence: str | None = None
    skip: int = 0
    phases: str | None = None
    instances: Literal["range", "cycle"] | None = None
    engine: str | None = None
    phase_rules: Path | None = None
    by_batch: bool = False
    modules: Path | None = None
    reference: str | None = None
    library_map: Path | None = None
    tables: frozenset[str] = frozenset()
    """The tables of details to make in addition to the phases, names of `detail_rows.DETAIL_TABLES`."""
    tree_depth: int | None = None
    """The deepest level of rows in the tables of ranges and of calls; time of deeper rows counts for the row above."""
    kernel_classes: Path | None = None
    """A user's table of kernel classes, tried before the built-in one."""
