"""Which way of finding phases a report gets: rules, an engine's marks, the outermost ranges, the launches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.choices import PhasesFrom
from taxbreak_nsys.model.launches import Launches
from taxbreak_nsys.model.step_counts import COUNTS, UNKNOWN, PhaseSource
from taxbreak_nsys.model.trace_columns import Ranges, Trace, runs, thread_slice
from taxbreak_nsys.phases import engine_marks, nvtx_ranges
from taxbreak_nsys.phases.instances import ALL, Instances, ThreadPhases, assemble
from taxbreak_nsys.phases.nvtx_ranges import PhaseRule
from taxbreak_nsys.read.op_shapes import OpShapes

SOURCES = tuple(source.value for source in PhasesFrom)
"""Where phases may come from: the best that there is; NVTX ranges, or else `all`; the launches, or else `all`;
`all` alone."""


@dataclass(frozen=True)
class Choice:
    """What a user can choose of the phases.

    `rules` override everything; `window` (ns) keeps the instances that lie wholly inside it; `source` is one of
    SOURCES; `engine` asks for one engine's marks; `engines` are the known ones (default: those of the package);
    `by_batch` splits phases by the number of requests.
    """

    rules: tuple[PhaseRule, ...] = ()
    window: tuple[int, int] | None = None
    source: str = "best"
    engine: str | None = None
    engines: tuple[engine_marks.Engine, ...] | None = None
    by_batch: bool = False


def find_instances(
    trace: Trace, launches: Launches, choice: Choice | None = None, shapes: Callable[[], OpShapes] | None = None
) -> Instances:
    """Find the phase instances of every launching thread.

    With rules, ranges of any depth whose text a rule finds; else the marks of a known engine; else the outermost
    ranges that are neither a library's nor an operator's; else steps found in the launches (where `shapes` can
    be read); else the thread is one phase, `all`. Raises TaxbreakError where what was asked for is not in the
    report.
    """
    choice = choice or Choice()
    threads = launches.thread[[low for low, _ in runs(launches.thread)]].tolist()
    if choice.rules:
        return assemble(_by_batch(nvtx_ranges.by_rules(trace.ranges, threads, choice.rules), choice), choice.window)
    found: list[ThreadPhases] = []
    ways: list[Callable[[Sequence[int]], list[ThreadPhases]]] = []
    if choice.source in ("best", "marks"):
        known = engine_marks.load_engines() if choice.engines is None else choice.engines
        marked = engine_marks.recognise(trace.ranges, known, choice.engine)
        if marked is not None:
            ways.append(lambda left: _by_engine(trace, launches, left, marked, shapes))
        ways.append(lambda left: nvtx_ranges.by_outermost(trace.ranges, left))
    why: dict[int, str] = {}
    if choice.source in ("best", "auto") and shapes is not None:
        read = shapes

        def auto(left: Sequence[int]) -> list[ThreadPhases]:
            from taxbreak_nsys.phases.step_detection import by_launches

            steps, reasons = by_launches(trace, launches, left, read)
            why.update(reasons)
            return steps

        ways.append(auto)
    ways.append(lambda left: _whole_threads(trace, launches, left, choice.window, why))
    for way in ways:
        found += way([thread for thread in threads if all(thread != one.thread for one in found)])
    return assemble(_by_batch(found, choice), choice.window)


def find_in_marks(ranges: Ranges, threads: Sequence[int], choice: Choice) -> Instances | None:
    """Find the phase instances as `find_instances` does where the marks alone tell them for every thread.

    `ranges` are at least those that may be marks, `threads` the launching threads. None where it takes a look at the
    launches: a thread that nobody marked, steps that do not say what they are.
    """
    if choice.rules:
        return assemble(_by_batch(nvtx_ranges.by_rules(ranges, threads, choice.rules), choice), choice.window)
    if choice.source not in ("best", "marks"):
        return None
    found: list[ThreadPhases] = []
    known = engine_marks.load_engines() if choice.engines is None else choice.engines
    marked = engine_marks.recognise(ranges, known, choice.engine)
    if marked is not None:
        found = engine_marks.by_engine(ranges, threads, marked)
        if any(engine_marks.STEP in one.labels for one in found):
            return None
    found += nvtx_ranges.by_outermost(
        ranges, [thread for thread in threads if all(thread != one.thread for one in found)]
    )
    if {one.thread for one in found} != set(threads):
        return None
    return assemble(_by_batch(found, choice), choice.window)


def _by_engine(
    trace: Trace,
    launches: Launches,
    threads: Sequence[int],
    marked: engine_marks.Marked,
    shapes: Callable[[], OpShapes] | None,
) -> list[ThreadPhases]:
    found = engine_marks.by_engine(trace.ranges, threads, marked)
    if shapes is None or not any(engine_marks.STEP in one.labels for one in found):
        return found
    from taxbreak_nsys.phases.step_detection import name_steps

    read = shapes()
    return [name_steps(trace, launches, one, read) for one in found]


def _whole_threads(
    trace: Trace, launches: Launches, threads: Sequence[int], window: tuple[int, int] | None, why: dict[int, str]
) -> list[ThreadPhases]:
    """Return each thread as one phase; of a thread that a time filter cuts, the part inside."""
    found = []
    for thread in threads:
        low, high = _whole(trace, launches, thread)
        if window:
            low, high = max(low, window[0]), min(high, window[1])
        source = PhaseSource(ALL, evidence=why.get(thread, "no usable NVTX range"))
        if high > low:
            found.append(ThreadPhases(np.array([low]), np.array([high]), thread, np.array([0]), (ALL,), source))
    return found


def _whole(trace: Trace, launches: Launches, thread: int) -> tuple[int, int]:
    """Return the span from a thread's first launch to the end of its last API call or device operation."""
    mine = thread_slice(launches.thread, thread)
    last = int(trace.api.end[trace.api.thread_slice(thread)].max())
    ops = (launches.of_op >= mine.start) & (launches.of_op < mine.stop)
    if ops.any():
        last = max(last, int(trace.ops.end[ops].max()))
    return int(launches.start[mine].min()), last


def _by_batch(found: Sequence[ThreadPhases], choice: Choice) -> Sequence[ThreadPhases]:
    """Split each label by the number of requests, where that was asked for and the marks say it."""
    if not choice.by_batch:
        return found
    if not any(one.counts is not None and np.any(one.counts[:, 0] != UNKNOWN) for one in found):
        raise TaxbreakError(
            "--by batch: no phase of the report says how many requests it works on; serving engines' marks do "
            f"({', '.join(engine.name for engine in choice.engines or engine_marks.load_engines())})"
        )
    split = []
    for one in found:
        counts = np.full((len(one.start), len(COUNTS)), UNKNOWN) if one.counts is None else one.counts
        labels: dict[str, int] = {}
        code = []
        for label, requests in zip(one.label.tolist(), counts[:, 0].tolist(), strict=True):
            name = one.labels[label] if requests == UNKNOWN else f"{one.labels[label]}[batch={requests}]"
            code.append(labels.setdefault(name, len(labels)))
        split.append(replace(one, label=np.array(code, np.int64), labels=tuple(labels)))
    return split
