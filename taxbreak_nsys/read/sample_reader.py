"""CPU samples and context switches of a report: read where the report has them, as far as a moment asks for."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from taxbreak_nsys.arrays.arrow_codes import numbers
from taxbreak_nsys.arrays.intervals import FOREVER, NEVER, Flags, Intervals, Ints
from taxbreak_nsys.model.assumptions import WrongAssumption
from taxbreak_nsys.model.trace_columns import thread_slice
from taxbreak_nsys.read.call_tree import CallTree
from taxbreak_nsys.read.database import Database
from taxbreak_nsys.read.module_table import Pattern
from taxbreak_nsys.read.stack_frames import DEPTH_BITS, KNOWN, OWN, Frames, Modules, Stacks
from taxbreak_nsys.read.table_rows import Column, TableRows
from taxbreak_nsys.read.table_stream import AHEAD_FROM, Stream

SAMPLES = "COMPOSITE_EVENTS"
"""The table whose order is assumed for samples and for their call chains alike."""
_FRAMES = ("first", "caller", "leaf")
_PARTS = ("code", "module", "symbol")


@dataclass(frozen=True)
class CpuSamples:
    """CPU samples of the threads that call CUDA, sorted by (thread, start); columns of one length.

    `first` is the first frame of a known module from the leaf up, `caller` the first whose module stands for
    itself; `leaf` the leaf. `deep` flags chains of more than one frame, `fresh` samples that no earlier window had
    (windows of a report may share samples).
    """

    start: Ints
    thread: Ints
    first: Frames
    caller: Frames
    leaf: Frames
    deep: Flags
    fresh: Flags
    modules: Modules
    switch_start: Ints
    switch_thread: Ints
    switch_in: Flags
    """Context switches of the whole report, sorted by (thread, start)."""
    node: Ints | None = None
    """The node of each sample's stack in `tree`; None where no tree was asked for."""
    tree: CallTree | None = None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.start)

    def on_cpu(self, thread: int) -> Intervals | None:
        """Return when a thread was on a CPU, from its context switches; None where the report has none of it."""
        part = thread_slice(self.switch_thread, thread)
        moment, came = self.switch_start[part], self.switch_in[part]
        if not len(moment):
            return None
        # before the first switch and after the last one the thread was what those say
        big = 1 << 62
        start = np.r_[np.int64(-big), moment]
        end = np.r_[moment, np.int64(big)]
        on = np.r_[not came[0], came]
        return start[on], end[on]


def has_samples(database: Database) -> bool:
    """Return whether a report has the tables of CPU samples and of their call chains."""
    return {"COMPOSITE_EVENTS", "SAMPLING_CALLCHAINS"} <= set(database.schema)


class SampleReader:
    """The CPU samples of some threads, each with the frames that decide; a context manager.

    Samples are read in the order of time, and their ids must rise with it, as they do in nsys's exports; else `until`
    raises WrongAssumption. With `numbered`, SQLite sorts the samples and numbers them in that order.
    """

    def __init__(
        self,
        database: Database,
        threads: Sequence[int],
        patterns: Sequence[Pattern],
        batch: int,
        *,
        numbered: bool = False,
        tree: CallTree | None = None,
    ) -> None:
        """Start reading, `batch` rows of a table at a time; the stacks are put into `tree`, where there is one."""
        self._stack, self._patterns, self._tree = ExitStack(), patterns, tree
        self.modules = Modules()
        listed = json.dumps(list(threads))
        suffix = "_by_time" if numbered else ""
        try:
            events = frames = database
            ahead = database.layout.rows.get("SAMPLING_CALLCHAINS", 0) >= AHEAD_FROM
            if ahead or numbered:
                frames = self._stack.enter_context(database.sibling(sorts=numbered))
            if numbered:
                events = self._stack.enter_context(database.sibling(sorts=True))
            self._events = self._open(_events(events, f"samples{suffix}", listed, batch), ahead=False)
            subject = f"sample_frames{suffix}"
            tables = frames.stream(subject, batch, threads=listed) if numbered else frames.stream(subject, batch)
            self._chains = self._open(self._deciding(frames, tables), ahead=ahead)
            self._switches = _switches(database, listed)
        except BaseException:
            self._stack.close()
            raise
        self._held: TableRows | None = None
        self._last_id = NEVER
        self._seen_until = NEVER

    def _open(self, batches: Generator[TableRows], *, ahead: bool) -> Stream:
        stream = Stream(SAMPLES, batches, ahead=ahead)
        self._stack.callback(stream.close)
        return stream

    def __enter__(self) -> SampleReader:
        """Return the reader."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop reading."""
        self._stack.close()

    def _deciding(self, database: Database, batches: Generator[pa.Table]) -> Generator[TableRows]:
        """Yield the chains with the frames that decide; a chain's id stands for its time."""
        rest: pa.Table | None = None
        last = NEVER
        with closing(batches) as tables:
            for table in tables:
                key = numbers(table["sample_depth"])
                if len(key) and (np.any(key[1:] < key[:-1]) or key[0] < last):
                    raise WrongAssumption(unsorted=SAMPLES)
                last = int(key[-1]) if len(key) else last
                table = table if rest is None else pa.concat_tables([rest, table])
                # the last chain may go on in the next batch
                chain = numbers(table["sample_depth"]) >> DEPTH_BITS
                whole = int(np.searchsorted(chain, chain[-1])) if len(chain) else 0
                rest = table.slice(whole)
                yield self._decided(database, table.slice(0, whole))
        if rest is not None:
            yield self._decided(database, rest)

    def _decided(self, database: Database, table: pa.Table) -> TableRows:
        stacks = Stacks.of(database, table, self.modules, self._patterns)
        found = {name: stacks.first(of) for name, of in zip(_FRAMES, (KNOWN, OWN, None), strict=True)}
        columns: dict[str, Column] = {
            f"{name}_{part}": getattr(of, part) for name, of in found.items() for part in _PARTS
        }
        if self._tree is not None:
            columns["node"] = self._tree.numbered(stacks)
        return TableRows(columns | {"start": stacks.chain, "end": stacks.chain, "deep": stacks.depth > 1})

    def until(self, moment: int) -> CpuSamples:
        """Return the samples that start before a moment, were not dropped, and have a call chain."""
        self._events.until(moment)
        self._join(moment)
        assert self._held is not None
        held = self._held.take(self._held["start"] < moment)
        held = held.take(np.lexsort((held["start"], held["thread"])))
        fresh = held["start"] >= self._seen_until
        first, caller, leaf = (Frames(*(held[f"{name}_{part}"] for part in _PARTS)) for name in _FRAMES)
        return CpuSamples(
            held["start"], held["thread"], first, caller, leaf, held.flag("deep"), fresh, self.modules, *self._switches,
            node=held["node"] if self._tree is not None else None, tree=self._tree,
        )  # fmt: skip

    def _join(self, moment: int) -> None:
        """Give the samples that were read, up to a moment, the frames of their chains."""
        events, _ = self._events.before(moment)
        numbered = events["sample_id"]
        if len(numbered):
            if moment != FOREVER and (np.any(numbered[1:] < numbered[:-1]) or numbered[0] < self._last_id):
                raise WrongAssumption(unsorted=SAMPLES)
            self._last_id = int(numbered.max())
            self._chains.until(self._last_id + 1)
        chains = self._chains.rows
        at = np.minimum(np.searchsorted(chains["start"], numbered), max(len(chains) - 1, 0))
        known = chains["start"][at] == numbered if len(chains) else np.zeros(len(numbered), bool)
        taken = chains.take(at[known])
        columns = {name: column for name, column in taken.columns.items() if name not in ("start", "end")}
        joined = TableRows({"start": events["start"][known], "thread": events["thread"][known]} | columns)
        self._held = joined if self._held is None else TableRows.joined([self._held, joined])
        self._events.drop(moment, self._events.rows["start"] >= moment)
        self._chains.drop(self._last_id + 1, chains["start"] > self._last_id)

    def drop(self, moment: int, until: int) -> None:
        """Drop the samples before a moment; those before `until` have been seen."""
        assert self._held is not None
        self._held = self._held.take(self._held["start"] >= moment)
        self._seen_until = until


def _events(database: Database, subject: str, threads: str, batch: int) -> Generator[TableRows]:
    with closing(database.stream(subject, batch, threads=threads)) as tables:
        for table in tables:
            start = numbers(table["start_ns"])
            columns = {"thread": numbers(table["thread"]), "sample_id": numbers(table["sample_id"])}
            yield TableRows({"start": start, "end": start} | columns)


def _switches(database: Database, threads: str) -> tuple[Ints, Ints, Flags]:
    """Return the context switches of some threads: (start, thread, whether onto a CPU), sorted by (thread, start)."""
    table = database.query("context_switches", threads=threads)
    start, thread = numbers(table["start_ns"]), numbers(table["thread"])
    came = numbers(table["is_in"]) != 0
    # of two switches in one nanosecond the thread left before it came
    by = np.lexsort((came, start, thread))
    return start[by], thread[by], came[by]
