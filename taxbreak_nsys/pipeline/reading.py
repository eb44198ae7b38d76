"""Reads a report in windows: who launches, which phases there are, then its pieces, until every assumption holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from taxbreak_nsys.arrays.allocator import keep_freed_memory
from taxbreak_nsys.arrays.background import BackgroundTask, Prefetcher
from taxbreak_nsys.arrays.intervals import Flags
from taxbreak_nsys.attribution.learned_map import read_map
from taxbreak_nsys.errors import NoCudaWorkError, TaxbreakError
from taxbreak_nsys.measure.blocking import BlockingLimits
from taxbreak_nsys.measure.measure import LayerEvidence
from taxbreak_nsys.model.assumptions import Assumptions, WrongAssumption
from taxbreak_nsys.model.launch_outline import LaunchOutline
from taxbreak_nsys.model.launches import find_launches
from taxbreak_nsys.model.trace_columns import Ranges, pid, tid
from taxbreak_nsys.options import Options
from taxbreak_nsys.phases import Choice, Instances, find_in_marks, find_instances
from taxbreak_nsys.phases.engine_marks import load_engines
from taxbreak_nsys.phases.instances import no_instances
from taxbreak_nsys.pipeline import limits
from taxbreak_nsys.pipeline.collector import C
from taxbreak_nsys.pipeline.outlining import OutlineCollector
from taxbreak_nsys.pipeline.sums import Sums
from taxbreak_nsys.pipeline.windows import Windows
from taxbreak_nsys.read.call_chains import read_chains
from taxbreak_nsys.read.call_tree import CallTree
from taxbreak_nsys.read.conversion import Domains
from taxbreak_nsys.read.database import BATCH_ROWS, Database
from taxbreak_nsys.read.module_table import Pattern, read_patterns
from taxbreak_nsys.read.op_shapes import read_op_shapes
from taxbreak_nsys.read.prescan import CanMark, launching_threads, read_marks
from taxbreak_nsys.read.report_reader import Reader, read_trace
from taxbreak_nsys.read.row_order import unsorted_tables
from taxbreak_nsys.read.sample_reader import SAMPLES, SampleReader, has_samples
from taxbreak_nsys.totals.lost_rows import LostRows
from taxbreak_nsys.totals.warning_facts import Piece


class Reading:
    """Reads one report in windows, again where an assumption about it proves wrong."""

    def __init__(self, database: Database, path: Path, options: Options, rows: int) -> None:
        """Look for the launching threads of a report, to be read in windows of about `rows` rows."""
        keep_freed_memory()
        self._database, self._path, self._options, self._rows = database, path, options, rows
        self._choice, self._domains = phase_choice(options), Domains(database)
        self._patterns = _patterns(database, options)
        self._callers, self._threads = launching_threads(database)
        limits.check_threads(np.array(self._threads), path)
        if not self._threads:
            check_launches(0, path)

        large = sum(database.layout.rows.values()) > rows
        self._assumptions = Assumptions(unsorted_tables(database) if large else frozenset())

    def sums(self, collector: Callable[[Instances], C]) -> tuple[Sums, LostRows, C]:
        """Return the sums over the report, the instances that they leave out, and the collector of the same pieces."""
        database, options = self._database, self._options
        blocking = BlockingLimits()
        instances: Instances | None = None
        lost: LostRows | None = None
        chains = read_chains(database, self._patterns) if self._patterns else None
        evidence = LayerEvidence(None, chains, options.evidence == "samples", read_map(options.library_map))
        with (
            database.sibling(counted=False) as other,
            BackgroundTask(lambda: read_marks(other, self._domains, _may_mark(options, self._choice))) as marks,
        ):
            while True:
                database.cleaning.begin_again()
                try:
                    # the tables are prefetched while the phases are looked for
                    with self._reader(database) as reader:
                        instances = instances or selected(self._instances(marks.result()), options, self._path)
                        sums, collected = Sums.over(instances, self._assumptions, options), collector(instances)
                        for piece in self._pieces(reader, instances, evidence, blocking):
                            sums.add(piece)
                            collected.add(piece)
                        self._check_samples(sums)
                except WrongAssumption as wrong:
                    self._assumptions, blocking = self._assumptions.corrected(wrong), blocking.afresh()
                    continue
                settled = blocking.settle()
                if settled is not None:
                    blocking = settled
                    continue
                if lost is not None:
                    return sums, lost, collected
                lost = sums.totals.lost_rows()
                if not lost.dropped.any():
                    return sums, lost, collected
                # the sums over the instances that are whole need another reading
                instances, blocking = instances.keep(~lost.dropped), blocking.afresh()

    def _reader(self, database: Database, *, launches_only: bool = False) -> Reader:
        batch = max(min(BATCH_ROWS, self._rows // 8), 16)
        tables = self._assumptions.sorted_tables
        return Reader(database, self._callers, self._domains, batch, tables, launches_only=launches_only)

    def _pieces(
        self, reader: Reader, instances: Instances, evidence: LayerEvidence, blocking: BlockingLimits
    ) -> Iterator[Piece]:
        """Yield the pieces of one reading; the next one is measured, in another thread, while one is used."""
        assumptions = self._assumptions
        with ExitStack() as stack:
            samples = None
            if self._patterns and has_samples(self._database) and assumptions.has_samples:
                numbered = SAMPLES in assumptions.sorted_tables
                samples = stack.enter_context(
                    SampleReader(
                        self._database,
                        reader.threads,
                        self._patterns,
                        reader.batch,
                        numbered=numbered,
                        tree=self._tree(),
                    )
                )
            windows = Windows(reader, samples, instances, self._threads, evidence, self._rows, assumptions)
            yield from stack.enter_context(closing(Prefetcher(windows.pieces(blocking), 1)))

    def _tree(self) -> CallTree | None:
        """Return a tree for the stacks of CPU samples, where one was asked for."""
        return CallTree() if "call_tree" in self._options.tables else None

    def _instances(self, marks: Ranges) -> Instances:
        """Return the phase instances of the report: by its marks, or else by its launches."""
        instances = find_in_marks(marks, self._threads, self._choice)
        if instances is not None:
            return instances
        with self._database.sibling(counted=False) as other:
            if len(marks):
                instances = find_in_marks(marks, self._threads, self._choice, self.outline(other))
                if instances is not None:
                    return instances
            # steps that must be found or named by their kernels: docs/decisions says why these columns are kept whole
            trace = replace(read_trace(other, self._callers, launches_only=True), ranges=marks)
            launches = find_launches(trace)
            check_launches(len(launches), self._path)
            return find_instances(trace, launches, self._choice, lambda: read_op_shapes(other, trace.ops))

    def outline(self, database: Database) -> LaunchOutline:
        """Return the outline of the launches, from a reading of its own: of calls and device operations alone."""
        nothing, evidence = no_instances(), LayerEvidence()
        while True:
            collected = OutlineCollector()
            try:
                with self._reader(database, launches_only=True) as reader:
                    windows = Windows(reader, None, nothing, self._threads, evidence, self._rows, self._assumptions)
                    for piece in windows.pieces(BlockingLimits()):
                        collected.add(piece)
                return collected.outline()
            except WrongAssumption as wrong:
                self._assumptions = self._assumptions.corrected(wrong)

    def _check_samples(self, sums: Sums) -> None:
        """Raise WrongAssumption where samples were to replace the marks of libraries and there are none."""
        asked = self._options.evidence == "samples" and has_samples(self._database)
        if asked and self._assumptions.has_samples and not sums.totals.samples.seen:
            raise WrongAssumption(no_samples=True)


def _patterns(database: Database, options: Options) -> Sequence[Pattern] | None:
    """Return the patterns of modules, where the report has call chains or the user has a table of modules."""
    asked = {"SAMPLING_CALLCHAINS", "CUDA_CALLCHAINS"} & set(database.schema) or options.modules is not None
    return read_patterns(options.modules) if asked else None


def _may_mark(options: Options, choice: Choice) -> CanMark | None:
    """Return a test for texts that the user's own rules match; they may be an operator's or a library's."""
    patterns = [rule.pattern for rule in options.rules]
    if not patterns and options.phase_rules is not None:
        marks = [mark for engine in choice.engines or () for mark in engine.marks]
        patterns = [pattern for mark in marks for pattern in (mark.text, mark.tail) if pattern is not None]
    return (lambda text: any(pattern.search(text) for pattern in patterns)) if patterns else None


def check_launches(launches: int, path: Path) -> None:
    """Raise TaxbreakError where a report has no launch."""
    if not launches:
        raise NoCudaWorkError(
            f"{path}: no CUDA launch with device work; capture with 'nsys profile -t cuda,nvtx,osrt' around the "
            "part that uses the GPU"
        )


def phase_choice(options: Options) -> Choice:
    """Return what of the options is about phases."""
    return Choice(
        rules=options.rules,
        window=options.window,
        source=options.phases or "best",
        engine=options.engine,
        engines=load_engines(options.phase_rules),
        by_batch=options.by_batch,
        instances=options.instances,
    )


def selected(instances: Instances, options: Options, path: Path) -> Instances:
    """Keep the instances of the process and thread that were asked for, as many phases as can be summed up."""
    keep = np.ones(len(instances), bool)
    if options.process is not None:
        keep &= ((instances.thread >> 24) & 0xFFFFFF) == options.process
    if options.thread is not None:
        keep &= (instances.thread & 0xFFFFFF) == options.thread
    if not keep.any():
        threads = sorted({f"{pid(t)}/{tid(t)}" for t in instances.thread.tolist()})
        raise TaxbreakError(
            f"{path}: no phase is left by the choice of --process, --thread, --start and --end; the launching "
            f"threads (process/thread) are: {', '.join(threads) or 'none in that time'}"
        )
    keep &= _after(instances, options.skip)
    kept = instances.keep(keep)
    limits.check_entries(kept, path)
    return kept


def _after(instances: Instances, skip: int) -> Flags:
    """Return which instances are beyond the first `skip` of their phase and thread; a phase of no more stays whole."""
    if skip < 0:
        raise TaxbreakError(f"--skip {skip}: must not be negative")
    keep = np.ones(len(instances), bool)
    pairs = np.stack([instances.label, instances.thread])
    for pair in np.unique(pairs, axis=1).T if skip else ():
        mine = np.flatnonzero((pair == pairs.T).all(axis=1))
        if len(mine) > skip:
            keep[mine[:skip]] = False
    return keep
