"""The sums behind the detail tables (idle gaps, nested ranges, kernel classes …); only for the requested tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import FOREVER, Intervals, Ints
from taxbreak_nsys.measure.kernel_runs import KernelRuns
from taxbreak_nsys.model.detail_rows import DETAIL_TABLES, DetailRows
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.options import Options
from taxbreak_nsys.phases.phase_threads import PhaseThreads
from taxbreak_nsys.read.kernel_class_table import load_kernel_classes
from taxbreak_nsys.totals.call_tree_totals import CallTreeTotals
from taxbreak_nsys.totals.class_totals import ClassTotals
from taxbreak_nsys.totals.exposed_piece import ExposedPiece
from taxbreak_nsys.totals.folded_calls import folded_calls
from taxbreak_nsys.totals.fusion_totals import FusionTotals
from taxbreak_nsys.totals.gap_totals import GapTotals
from taxbreak_nsys.totals.range_totals import RangeTotals
from taxbreak_nsys.totals.range_tree import RangeTree
from taxbreak_nsys.totals.sample_totals import SampleTotals
from taxbreak_nsys.totals.sampled_split import Split
from taxbreak_nsys.totals.warning_facts import Piece


@dataclass(frozen=True)
class EntryFacts:
    """Facts about the phases that the tables need; columns over the phase entries.

    `wall` is in ns, `steps` the number of instances, `tokens` is None if the marks do not give it, `measured` is False
    if device time is unknown.
    """

    wall: Ints
    steps: Ints
    tokens: Sequence[int | None]
    measured: list[bool]


class DetailTotals:
    """Adds up the tables of `Options.tables`, piece by piece."""

    def __init__(self, entries: PhaseThreads, options: Options) -> None:
        """Raises ValueError for an unknown table, TaxbreakError for an unreadable table of kernel classes."""
        wanted = options.tables
        unknown = set(wanted) - set(DETAIL_TABLES)
        if unknown:
            raise ValueError(f"no table {min(unknown)!r}; the tables are: {', '.join(DETAIL_TABLES)}")
        self._entries, self._tree, self._depth = entries, RangeTree(), options.tree_depth
        self._kernel_classes = load_kernel_classes(options.kernel_classes) if wanted else ()
        self._ranges = RangeTotals(entries, self._tree) if "ranges" in wanted else None
        asked = {"gaps", "gap_trace"} & set(wanted)
        self._gaps = GapTotals(entries, self._tree, keep="gap_trace" in asked) if asked else None
        self._classes = ClassTotals(entries) if "classes" in wanted else None
        self._fusion = FusionTotals(entries, self._kernel_classes) if "fusion" in wanted else None
        self._calls = CallTreeTotals(entries) if "call_tree" in wanted else None
        self.symbols: dict[int, str] = {}
        """The texts of the symbol ids that `symbol_ids` asks for."""

    def add(self, piece: Piece, launch_entry: Ints) -> None:
        """Add a piece, with the entry of each of its launches; pieces come in the order of time."""
        tables = [totals for totals in self._all if totals is not None]
        if tables:
            by_range = self._ranges is not None or self._gaps is not None
            by_launch = self._classes is not None or self._fusion is not None
            part = ExposedPiece.of(
                piece, self._entries, self._tree, launch_entry, ranges=by_range, launches=by_launch
            )  # fmt: skip
            for totals in tables:
                totals.add(part)

    def keep_runs_within(self, spans: Intervals) -> None:
        """Drop the places of fusion candidates outside spans of time, which are disjoint and sorted."""
        if self._fusion is not None:
            self._fusion.keep_within(spans)

    @property
    def runs(self) -> KernelRuns | None:
        """The places of fusion candidates by the `number` of their rows; None if they were not requested."""
        return None if self._fusion is None else self._fusion.places()

    @property
    def _all(self) -> tuple[RangeTotals | GapTotals | ClassTotals | FusionTotals | CallTreeTotals | None, ...]:
        return self._ranges, self._gaps, self._classes, self._fusion, self._calls

    @property
    def symbol_ids(self) -> Ints:
        """The StringIds of the symbols in the call tree."""
        return self._calls.symbol_ids if self._calls is not None else np.empty(0, np.int64)

    def rows(
        self,
        op_names: Sequence[str],
        facts: EntryFacts,
        samples: SampleTotals,
        splits: list[Split | None],
    ) -> DetailRows:
        """Return the rows of all tables; `op_names` are the names of device operations by their code.

        `samples` and `splits` (the strata of each entry) are the samples for the call tree. A table that was not
        requested is None.
        """
        gaps, ranges, by_class = self._gaps, self._ranges, self._classes
        if gaps is not None:
            gaps.finish()
        calls = None if self._calls is None else tuple(self._calls.rows(samples, splits, self.symbols, facts.measured))
        return DetailRows(
            gaps=None if gaps is None else tuple(gaps.rows(facts.measured)),
            gap_summary=None if gaps is None else tuple(gaps.largest(self._kernel_classes, facts.measured)),
            gap_trace=None if gaps is None else self._gap_columns(gaps, facts.measured),
            ranges=None if ranges is None else tuple(ranges.rows(facts.wall, facts.steps, facts.measured, self._depth)),
            fusion=None if self._fusion is None else tuple(self._fusion.rows(facts.wall, facts.steps)),
            call_tree=calls,
            calls=None if calls is None else tuple(folded_calls(calls, self._depth)),
            classes=None
            if by_class is None
            else tuple(by_class.rows(op_names, self._kernel_classes, facts.steps, facts.tokens, facts.measured)),
        )

    def _gap_columns(self, gaps: GapTotals, measured: list[bool]) -> Mapping[str, object] | None:
        if not gaps.keeps:
            return None
        single = gaps.take_single(measured)
        start, launch_start = single["start"], single["launch_start"]
        launch_start[launch_start == FOREVER] = -1
        return {
            "start_ns": start,
            "duration_ns": np.subtract(single["end"], start, out=single["end"]),
            "instance": single["instance"],
            "state": (single["state"], STATES),
            "range": (single["node"], tuple(self._tree.paths)),
            "name": (single["op"], gaps.op_names),
            "launch_start_ns": launch_start,
        }
