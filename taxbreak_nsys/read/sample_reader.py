"""Reads CPU samples with their call chains, up to a requested time, and the context switches of a report."""

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
"""The table that WrongAssumption names if samples or their call chains are not sorted by time."""
_FRAMES = ("first", "caller", "leaf")
_PARTS = ("code", "module", "symbol")


@dataclass(frozen=True)
class CpuSamples:
    """CPU samples of the threads that call CUDA, sorted by (thread, start); columns of equal length.

    Searching from the leaf up, `first` is the first frame in a known module and `caller` the first frame in a module
    that acts on its own behalf (`stack_frames`). `deep` flags chains of more than one frame, `fresh` samples that no
    earlier window contained (windows of a report may share samples).
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
    """The node of each sample's stack in `tree`; None without a tree."""
    tree: CallTree | None = None

    def __len__(self) -> int:
        return len(self.start)

    def on_cpu(self, thread: int) -> Intervals | None:
        """Return the intervals (ns) in which a thread was on a CPU; None without context switches of the thread."""
        part = thread_slice(self.switch_thread, thread)
        moment, switched_in = self.switch_start[part], self.switch_in[part]
        if not len(moment):
            return None
        # A first switch off the CPU implies that the thread was on it before; after the last switch nothing changes.
        far = 1 << 62
        start = np.r_[np.int64(-far), moment]
        end = np.r_[moment, np.int64(far)]
        running = np.r_[not switched_in[0], switched_in]
        return start[running], end[running]


def has_samples(database: Database) -> bool:
    """Return whether a report has the tables of CPU samples and of their call chains."""
    return {"COMPOSITE_EVENTS", "SAMPLING_CALLCHAINS"} <= set(database.schema)


class SampleReader:
    """The CPU samples of some threads, each with its deciding frames (`stack_frames`); a context manager.

    Samples are read in the order of time. Their ids must increase with time, as they do in nsys's exports; otherwise
    `until` raises WrongAssumption. With `numbered`, SQLite sorts the samples by time and numbers them in that order.
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
        """Start reading, `batch` rows of a table at a time; with `tree`, all stacks are added to it."""
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
        self._joined: TableRows | None = None
        self._last_id = NEVER
        self._seen_until = NEVER

    def _open(self, batches: Generator[TableRows], *, ahead: bool) -> Stream:
        stream = Stream(SAMPLES, batches, ahead=ahead)
        self._stack.callback(stream.close)
        return stream

    def __enter__(self) -> SampleReader:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop reading and close the connections."""
        self._stack.close()

    def _deciding(self, database: Database, batches: Generator[pa.Table]) -> Generator[TableRows]:
        """Yield one row per chain with its deciding frames; `start` and `end` hold the sample's id."""
        rest: pa.Table | None = None
        last = NEVER
        with closing(batches) as tables:
            for table in tables:
                key = numbers(table["sample_depth"])
                if len(key) and (np.any(key[1:] < key[:-1]) or key[0] < last):
                    raise WrongAssumption(unsorted=SAMPLES)
                last = int(key[-1]) if len(key) else last
                table = table if rest is None else pa.concat_tables([rest, table])
                # Hold back the last chain: it may continue in the next batch.
                chain = numbers(table["sample_depth"]) >> DEPTH_BITS
                whole = int(np.searchsorted(chain, chain[-1])) if len(chain) else 0
                rest = table.slice(whole)
                yield self._decided(database, table.slice(0, whole))
        if rest is not None:
            yield self._decided(database, rest)

    def _decided(self, database: Database, table: pa.Table) -> TableRows:
        stacks = Stacks.of(database, table, self.modules, self._patterns)
        deciding = {name: stacks.first(classes) for name, classes in zip(_FRAMES, (KNOWN, OWN, None), strict=True)}
        columns: dict[str, Column] = {
            f"{name}_{part}": getattr(frames, part) for name, frames in deciding.items() for part in _PARTS
        }
        if self._tree is not None:
            columns["node"] = self._tree.numbered(stacks)
        return TableRows(columns | {"start": stacks.chain, "end": stacks.chain, "deep": stacks.depth > 1})

    def until(self, moment: int) -> CpuSamples:
        """Read on as needed and return the samples before a moment (ns) that have a call chain and were not dropped."""
        self._events.until(moment)
        self._join(moment)
        assert self._joined is not None
        rows = self._joined.take(self._joined["start"] < moment)
        rows = rows.take(np.lexsort((rows["start"], rows["thread"])))
        first, caller, leaf = (Frames(*(rows[f"{name}_{part}"] for part in _PARTS)) for name in _FRAMES)
        switch_start, switch_thread, switch_in = self._switches
        return CpuSamples(
            start=rows["start"],
            thread=rows["thread"],
            first=first,
            caller=caller,
            leaf=leaf,
            deep=rows.flag("deep"),
            fresh=rows["start"] >= self._seen_until,
            modules=self.modules,
            switch_start=switch_start,
            switch_thread=switch_thread,
            switch_in=switch_in,
            node=rows["node"] if self._tree is not None else None,
            tree=self._tree,
        )

    def _join(self, moment: int) -> None:
        """Join the samples before a moment (ns) with the frames of their chains."""
        events, _ = self._events.before(moment)
        sample_id = events["sample_id"]
        if len(sample_id):
            if moment != FOREVER and (np.any(sample_id[1:] < sample_id[:-1]) or sample_id[0] < self._last_id):
                raise WrongAssumption(unsorted=SAMPLES)
            self._last_id = int(sample_id.max())
            self._chains.until(self._last_id + 1)
        chains = self._chains.rows
        at = np.minimum(np.searchsorted(chains["start"], sample_id), max(len(chains) - 1, 0))
        known = chains["start"][at] == sample_id if len(chains) else np.zeros(len(sample_id), bool)
        taken = chains.take(at[known])
        columns = {name: column for name, column in taken.columns.items() if name not in ("start", "end")}
        joined = TableRows({"start": events["start"][known], "thread": events["thread"][known]} | columns)
        self._joined = joined if self._joined is None else TableRows.joined([self._joined, joined])
        self._events.drop(moment, self._events.rows["start"] >= moment)
        self._chains.drop(self._last_id + 1, chains["start"] > self._last_id)

    def drop(self, moment: int, until: int) -> None:
        """Drop the samples before `moment` (ns); samples before `until` are no longer `fresh`."""
        assert self._joined is not None
        self._joined = self._joined.take(self._joined["start"] >= moment)
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
    switched_in = numbers(table["is_in"]) != 0
    # Two switches in the same nanosecond: the thread left the CPU before it came back.
    order = np.lexsort((switched_in, start, thread))
    return start[order], thread[order], switched_in[order]
