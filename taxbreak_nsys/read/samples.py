"""CPU samples, call chains and context switches of a report: read where the report has them.

Only the two frames of a chain that decide are kept: the first that a known module has, from the leaf up, and
the first whose module stands for itself (neither the driver nor a compiler: those belong to who called them).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from taxbreak_nsys.codes import integers, numbers
from taxbreak_nsys.intervals import Flags, Intervals, Ints, percentile
from taxbreak_nsys.modules import CLASS, Pattern, classify, file_name, read_patterns
from taxbreak_nsys.read.database import Database
from taxbreak_nsys.read.trace import thread_slice

_DEPTH_BITS = 12
_KNOWN = [CLASS[name] for name in ("profiler", "library", "compiler", "driver", "framework", "interpreter")]
_OWN = [CLASS[name] for name in ("profiler", "library", "framework", "interpreter")]
_NEAR = 10
"""The period that the report states is in ns where it is within one part in this many of the spacing."""


@dataclass(frozen=True)
class Frames:
    """One frame for each of some call chains: module class (`modules.CLASS`), module and symbol ids; 0: none."""

    code: Ints
    module: Ints
    symbol: Ints

    def __getitem__(self, index: Ints | Flags) -> Frames:
        """Return the frames of some chains."""
        return Frames(self.code[index], self.module[index], self.symbol[index])


@dataclass(frozen=True)
class Names:
    """What the ids of `Frames` stand for."""

    module_class: dict[int, int]
    module_name: dict[int, str]
    """The name to show, of the table of modules."""
    module_file: dict[int, str]


@dataclass(frozen=True)
class Samples:
    """The CPU samples of the threads that call CUDA, sorted by (thread, start); columns of one length.

    `first` is the first frame of a known module from the leaf up, `caller` the first whose module stands for
    itself; `leaf` the leaf. `period_ns` is the time between two samples of a thread that stays on the CPU.
    """

    start: Ints
    thread: Ints
    first: Frames
    caller: Frames
    leaf: Frames
    names: Names
    symbols: dict[int, str]
    period_ns: int
    has_chains: bool
    """False where the samples have no more than a leaf."""
    switch_start: Ints
    switch_thread: Ints
    switch_in: Flags
    """Context switches, sorted by (thread, start)."""

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


@dataclass(frozen=True)
class Chains:
    """The call chains of CUDA API calls, one entry a chain, sorted by `chain`.

    `library` tells whether a CUDA library is in the chain, `decided` whether that can be said: the chain
    reaches a library, a framework or the interpreter. `operator` is a code into `operators`, -1 for none.
    """

    chain: Ints
    """The callchainId by which API calls refer to it."""
    library: Flags
    decided: Flags
    operator: Ints
    operators: tuple[str, ...]

    def of(self, chain: Ints) -> Ints:
        """Return the index of each callchainId, -1 for what is not here (-1: no chain was taken)."""
        if not len(self.chain):
            return np.full(len(chain), -1, np.int64)
        at = np.minimum(np.searchsorted(self.chain, chain), len(self.chain) - 1)
        return np.where(self.chain[at] == chain, at, -1)


@dataclass(frozen=True)
class _Stack:
    """The frames of many chains, sorted by (chain, depth), and where each chain begins."""

    chain: Ints
    row: Ints
    frame: Ints
    code: Ints
    names: Names

    def first(self, classes: Sequence[int] | None) -> Frames:
        """Return for each chain its first frame of some classes (None: any), from the leaf up."""
        which = np.arange(len(self.row)) if classes is None else np.flatnonzero(_one_of(self.code, classes))
        row = self.row[which]
        first = which[np.r_[True, row[1:] != row[:-1]]] if len(row) else which
        found = [np.zeros(len(self.chain), np.int64) for _ in range(3)]
        at = self.row[first]
        found[0][at] = self.code[first]
        found[1][at], found[2][at] = self.frame[first] >> 32, self.frame[first] & 0xFFFFFFFF
        return Frames(*found)


def _one_of(code: Ints, classes: Sequence[int]) -> Flags:
    table = np.zeros(len(CLASS), bool)
    table[list(classes)] = True
    return np.asarray(table[code])


def _read_stack(database: Database, subject: str, patterns: Sequence[Pattern]) -> _Stack:
    table = database.query(subject)
    key, frame = numbers(table["sample_depth"]), numbers(table["module_symbol"])
    if np.any(key[1:] < key[:-1]):
        order = np.argsort(key, kind="stable")
        key, frame = key[order], frame[order]
    chain = key >> _DEPTH_BITS
    begins = np.r_[True, chain[1:] != chain[:-1]] if len(chain) else np.zeros(0, bool)
    # hashing tells the few modules apart faster than sorting millions of rows does
    encoded = integers(frame >> 32).dictionary_encode()
    module_ids = numbers(encoded.dictionary)
    paths = strings(database, module_ids)
    codes, shown = classify([paths.get(i, "") for i in module_ids.tolist()], patterns)
    names = Names(
        dict(zip(module_ids.tolist(), codes, strict=True)),
        dict(zip(module_ids.tolist(), shown, strict=True)),
        {i: file_name(paths.get(i, "")) for i in module_ids.tolist()},
    )
    code = np.array(codes, np.int64)[numbers(encoded.indices)] if len(frame) else np.empty(0, np.int64)
    return _Stack(chain[begins], np.cumsum(begins) - 1, frame, code, names)


def strings(database: Database, ids: Ints) -> dict[int, str]:
    """Return the texts of some StringIds."""
    distinct = np.unique(ids)
    if not len(distinct):
        return {}
    table = database.query("event_names", ids=json.dumps(distinct.tolist()))
    if not len(table):
        return {}
    return dict(zip(table["name_id"].to_pylist(), table["name"].to_pylist(), strict=True))


def read_evidence(
    database: Database, callchain_id: Ints, own_modules: Path | None = None
) -> tuple[Samples | None, Chains | None]:
    """Read the CPU samples and the call chains of API calls, each None where the report has none.

    `callchain_id` are those of the report's API calls; `own_modules` is a table of modules to look into before the
    one that comes with the package. Raises TaxbreakError where that table or the report cannot be read.
    """
    if not {"SAMPLING_CALLCHAINS", "CUDA_CALLCHAINS"} & set(database.schema) and own_modules is None:
        return None, None
    patterns = read_patterns(own_modules)
    return read_samples(database, patterns), read_chains(database, patterns, callchain_id)


def read_samples(database: Database, patterns: Sequence[Pattern]) -> Samples | None:
    """Read the CPU samples; None where the report has none, of threads that call CUDA, with a call chain.

    Raises TaxbreakError where the file is damaged.
    """
    if not {"COMPOSITE_EVENTS", "SAMPLING_CALLCHAINS"} <= set(database.schema):
        return None
    table = database.query("samples")
    if not len(table):
        return None
    sample, start, thread = (numbers(table[name]) for name in ("sample_id", "start_ns", "thread"))
    stack = _read_stack(database, "sample_frames", patterns)
    at = np.searchsorted(stack.chain, sample)
    at = np.minimum(at, max(len(stack.chain) - 1, 0))
    known = stack.chain[at] == sample if len(stack.chain) else np.zeros(len(sample), bool)
    if not known.any():
        return None
    order = np.flatnonzero(known)
    order = order[np.lexsort((start[order], thread[order]))]
    at, start, thread = at[order], start[order], thread[order]
    first, caller, leaf = (stack.first(classes)[at] for classes in (_KNOWN, _OWN, None))
    symbols = strings(database, np.r_[first.symbol, caller.symbol, leaf.symbol])
    depths = np.bincount(stack.row, minlength=len(stack.chain))
    switches = database.query("context_switches")
    switch_start, switch_thread = numbers(switches["start_ns"]), numbers(switches["thread"])
    switch_in = numbers(switches["is_in"]) != 0
    # of two switches in one nanosecond the thread left before it came
    by = np.lexsort((switch_in, switch_start, switch_thread))
    return Samples(
        start, thread, first, caller, leaf, stack.names, symbols, _period(database, start, thread),
        bool(np.mean(depths[at] > 1) > 0.5), switch_start[by], switch_thread[by], switch_in[by],
    )  # fmt: skip


def _period(database: Database, start: Ints, thread: Ints) -> int:
    """Return the time between samples in ns.

    The report states a period without its unit: ns where the kernel's CPU clock triggered the samples, cycles
    where a hardware counter did. What the samples themselves show decides: the lower quartile of the gaps
    between a thread's samples, which are longer only where the thread was off the CPU. The stated figure is
    taken where it is close to that.
    """
    same = thread[1:] == thread[:-1]
    seen = percentile((start[1:] - start[:-1])[same], 25)
    stated = None
    for row in database.query("report_facts").to_pylist():
        if row["name"] == "LINUX_PERF_OPTIONS:SAMPLING_PERIOD" and str(row["value"]).isdigit():
            stated = int(row["value"])
    if seen is None:
        return stated or 1
    return stated if stated and abs(stated - seen) * _NEAR <= seen else max(seen, 1)


def read_chains(database: Database, patterns: Sequence[Pattern], callchain_id: Ints) -> Chains | None:
    """Read the call chains of CUDA API calls (`--cudabacktrace`); None where the report has none."""
    if "CUDA_CALLCHAINS" not in database.schema:
        return None
    stack = _read_stack(database, "launch_frames", patterns)
    if not len(stack.chain):
        return None
    library = np.zeros(len(stack.chain), bool)
    library[stack.row[stack.code == CLASS["library"]]] = True
    decided = library.copy()
    decided[stack.row[_one_of(stack.code, [CLASS["framework"], CLASS["interpreter"]])]] = True
    symbol_ids = stack.frame & 0xFFFFFFFF
    texts = strings(database, symbol_ids)
    names: dict[str, int] = {}
    of_symbol = {i: names.setdefault(op, len(names)) for i, text in texts.items() if (op := operator_of(text))}
    found = np.array([of_symbol.get(i, -1) for i in symbol_ids.tolist()], np.int64)
    operator = np.full(len(stack.chain), -1, np.int64)
    at = np.flatnonzero(found >= 0)[::-1]
    # backwards, so that the frame nearest to the leaf, the innermost operator, is written last
    operator[stack.row[at]] = found[at]
    return Chains(_as_referred_to(stack.chain, callchain_id), library, decided, operator, tuple(names))


def _as_referred_to(chain: Ints, callchain_id: Ints) -> Ints:
    """Return the ids by which API calls refer to chains.

    nsys 2023.4 numbers the chains from 1 and refers to them from 0, so that each call seems to have the stack
    of the one before it. Told by: some call refers to 0, which is no chain, and none to the last chain, yet
    with one added every reference is a chain.
    """
    used = np.unique(callchain_id[callchain_id >= 0])
    off_by_one = (
        len(used) and used[0] == 0 and chain[0] > 0 and used[-1] < chain[-1] and bool(np.isin(used + 1, chain).all())
    )
    return chain - 1 if off_by_one else chain


def operator_of(symbol: str) -> str | None:
    """Return the framework operator that a symbol is the entry of: `at::_ops::mm::call(…)` is `aten::mm`."""
    if not symbol.startswith("at::_ops::"):
        return None
    name, colons, rest = symbol.removeprefix("at::_ops::").partition("::")
    return f"aten::{name}" if colons and rest.startswith(("call", "redispatch")) else None
