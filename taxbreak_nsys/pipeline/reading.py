"""Read a report in windows: its launching threads, its phases, then its pieces; again until every assumption holds."""

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
from taxbreak_nsys.read.kernel_class_table import load_kernel_classes
from taxbreak_nsys.read.module_table import Pattern, read_patterns
from taxbreak_nsys.read.op_shapes import read_op_shapes
from taxbreak_nsys.read.prescan import CanMark, launching_threads, read_marks
from taxbreak_nsys.read.report_reader import Reader, read_trace
from taxbreak_nsys.read.row_order import unsorted_tables
from taxbreak_nsys.read.sample_reader import SAMPLES, SampleReader, has_samples
from taxbreak_nsys.totals.lost_rows import LostRows
from taxbreak_nsys.totals.warning_facts import Piece


class Reading:
    """Reads one report in windows, and again if an assumption about it proves wrong."""

    def __init__(self, database: Database, path: Path, options: Options, rows: int) -> None:
        """Find the launching threads of the report, which is then read in windows of about `rows` rows.

        Raises TaxbreakError where no thread or too many threads launch work.
        """
        keep_freed_memory()
        self._database, self._path, self._options, self._rows = database, path, options, rows
        self._choice, self._domains = phase_choice(options), Domains(database)
        self._patterns = _patterns(database, options)
        self.cuda_threads, self._threads = launching_threads(database)
        limits.check_threads(self._threads, path)
        if not self._threads:
            check_launches(0, path)

        large = sum(database.layout.rows.values()) > rows
        self._assumptions = Assumptions(unsorted_tables(database) if large else frozenset())

    def sums(self, collector: Callable[[Instances], C]) -> tuple[Sums, LostRows, C]:
        """Return the sums over the report, the instances that they leave out, and the collector that got the pieces."""
        database, options = self._database, self._options
        blocking = BlockingLimits()
        instances: Instances | None = None
        lost: LostRows | None = None
        chains = read_chains(database, self._patterns) if self._patterns else None
        evidence = LayerEvidence(
            chains=chains,
            samples_alone=options.evidence == "samples",
            learned=read_map(options.library_map),
            kernel_classes=load_kernel_classes(options.kernel_classes),
        )
        with (
            database.sibling(counted=False) as other,
            BackgroundTask(lambda: read_marks(other, self._domains, _may_mark(options, self._choice))) as marks,
        ):
            while True:
                database.cleaning.begin_again()
                try:
                    # The reader prefetches the tables while the phases are being found.
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
                # The sums must not contain the lost instances: read again without them.
                instances, blocking = instances.keep(~lost.dropped), blocking.afresh()

    def _reader(self, database: Database, *, launches_only: bool = False) -> Reader:
        return Reader(
            database,
            self.cuda_threads,
            self._domains,
            batch=max(min(BATCH_ROWS, self._rows // 8), 16),
            sorted_tables=self._assumptions.sorted_tables,
            launches_only=launches_only,
        )

    def _pieces(
        self, reader: Reader, instances: Instances, evidence: LayerEvidence, blocking: BlockingLimits
    ) -> Iterator[Piece]:
        """Yield the pieces of one reading; a second thread measures the next piece while the caller uses one."""
        with ExitStack() as stack:
            samples = None
            if self._patterns and has_samples(self._database) and self._assumptions.has_samples:
                numbered = SAMPLES in self._assumptions.sorted_tables
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
            windows = self._windows(reader, instances, evidence, samples)
            yield from stack.enter_context(closing(Prefetcher(windows.pieces(blocking), 1)))

    def _windows(
        self, reader: Reader, instances: Instances, evidence: LayerEvidence, samples: SampleReader | None = None
    ) -> Windows:
        """Return the windows of one reading, under the present assumptions."""
        return Windows(
            reader=reader,
            samples=samples,
            instances=instances,
            threads=self._threads,
            evidence=evidence,
            rows=self._rows,
            assumptions=self._assumptions,
        )

    def _tree(self) -> CallTree | None:
        """Return an empty tree for the stacks of CPU samples if `call_tree` is requested, else None."""
        return CallTree() if "call_tree" in self._options.tables else None

    def _instances(self, marks: Ranges) -> Instances:
        """Return the phase instances of the report, by its marks or else by its launches."""
        instances = find_in_marks(marks, self._threads, self._choice)
        if instances is not None:
            return instances
        with self._database.sibling(counted=False) as other:
            if len(marks):
                instances = find_in_marks(marks, self._threads, self._choice, self.outline(other))
                if instances is not None:
                    return instances
            # Finding or naming steps by their kernels needs the columns of the whole report at once (docs/decisions).
            trace = replace(read_trace(other, self.cuda_threads, launches_only=True), ranges=marks)
            launches = find_launches(trace)
            check_launches(len(launches), self._path)
            return find_instances(trace, launches, self._choice, lambda: read_op_shapes(other, trace.ops))

    def outline(self, database: Database) -> LaunchOutline:
        """Return the outline of the launches; this reads the API calls and device operations once more."""
        while True:
            collected = OutlineCollector()
            try:
                with self._reader(database, launches_only=True) as reader:
                    windows = self._windows(reader, no_instances(), LayerEvidence())
                    for piece in windows.pieces(BlockingLimits()):
                        collected.add(piece)
                return collected.outline()
            except WrongAssumption as wrong:
                self._assumptions = self._assumptions.corrected(wrong)

    def _check_samples(self, sums: Sums) -> None:
        """Raise WrongAssumption where --evidence samples is requested and the phases have no sample."""
        required = self._options.evidence == "samples" and has_samples(self._database)
        if required and self._assumptions.has_samples and not sums.totals.samples.seen:
            raise WrongAssumption(no_samples=True)


def _patterns(database: Database, options: Options) -> Sequence[Pattern] | None:
    """Return the patterns of modules if the report has call chains or the user gives a table; else None."""
    needed = {"SAMPLING_CALLCHAINS", "CUDA_CALLCHAINS"} & set(database.schema) or options.modules is not None
    return read_patterns(options.modules) if needed else None


def _may_mark(options: Options, choice: Choice) -> CanMark | None:
    """Return a predicate for texts that the user's rules match, since these may be operators' or libraries' ranges."""
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
    """Return the choices about phases among the options."""
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
    """Return the instances of the chosen process and thread, without the first `skip` of each phase and thread.

    Raises TaxbreakError where no instance is left, or where the instances have too many phases.
    """
    keep = np.ones(len(instances), bool)
    if options.process is not None:
        keep &= ((instances.thread >> 24) & 0xFFFFFF) == options.process
    if options.thread is not None:
        keep &= (instances.thread & 0xFFFFFF) == options.thread
    if not keep.any():
        threads = sorted({f"{pid(t)}/{tid(t)}" for t in instances.thread.tolist()})
        raise TaxbreakError(
            f"{path}: no phase matches --process, --thread, --start and --end; the launching threads "
            f"(process/thread) are: {', '.join(threads) or 'none in this time'}"
        )
    keep &= _not_skipped(instances, options.skip)
    kept = instances.keep(keep)
    limits.check_entries(kept, path)
    return kept


def _not_skipped(instances: Instances, skip: int) -> Flags:
    """Return a flag per instance: False for the first `skip` of each phase and thread with more than `skip`."""
    if skip < 0:
        raise TaxbreakError(f"--skip {skip}: must not be negative")
    keep = np.ones(len(instances), bool)
    pairs = np.stack([instances.label, instances.thread])
    for pair in np.unique(pairs, axis=1).T if skip else ():
        rows = np.flatnonzero((pair == pairs.T).all(axis=1))
        if len(rows) > skip:
            keep[rows[:skip]] = False
    return keep
