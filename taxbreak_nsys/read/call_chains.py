"""The call chains of CUDA API calls (`--cudabacktrace`)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.arrow_codes import numbers
from taxbreak_nsys.arrays.intervals import Flags, Ints, begins
from taxbreak_nsys.read.database import Database
from taxbreak_nsys.read.module_table import CLASS, Pattern
from taxbreak_nsys.read.stack_frames import Modules, Stacks, in_classes, symbol_texts
from taxbreak_nsys.read.table_rows import TableRows

_DECIDING = ("library", "framework", "interpreter")
_NO_DEPTH = 1 << 40
"""Depth that stands for "no operator entry in this chain"; larger than any frame's depth."""


@dataclass(frozen=True)
class Chains:
    """The call chains of CUDA API calls, one entry per chain, sorted by `chain`.

    `library` flags chains with a frame in a CUDA library. `decided` flags chains complete enough to judge that: those
    with a frame in a library, a framework or the interpreter. `operator` is an index into `operators`, -1 for none.
    """

    chain: Ints
    """The callchainId by which API calls refer to it."""
    library: Flags
    decided: Flags
    operator: Ints
    operators: tuple[str, ...]

    def of(self, chain: Ints) -> Ints:
        """Return the index of each callchainId, -1 where it is unknown or itself -1 (no chain was recorded)."""
        if not len(self.chain):
            return np.full(len(chain), -1, np.int64)
        at = np.minimum(np.searchsorted(self.chain, chain), len(self.chain) - 1)
        return np.where(self.chain[at] == chain, at, -1)


def read_chains(database: Database, patterns: Sequence[Pattern]) -> Chains | None:
    """Read the call chains of CUDA API calls (`--cudabacktrace`); None where the report has none.

    The frames are read in batches; only a few bytes per chain stay in memory.
    """
    if "CUDA_CALLCHAINS" not in database.schema:
        return None
    modules, symbols = Modules(), _OperatorSymbols(database)
    parts = []
    with closing(database.stream("launch_frames")) as tables:
        for table in tables:
            stacks = Stacks.of(database, table, modules, patterns)
            if len(stacks.chain):
                parts.append(_verdicts(stacks, symbols))
    if not parts:
        return None
    rows = TableRows.joined(parts)
    # A chain may span batches. Sorted by depth, its innermost operator comes first.
    rows = rows.take(np.lexsort((rows["operator_depth"], rows["chain"])))
    first = begins(rows["chain"][1:] != rows["chain"][:-1])
    operator, names = symbols.codes(rows["operator_symbol"][first])
    return Chains(
        chain=_referenced_ids(rows["chain"][first], _references(database)),
        library=np.logical_or.reduceat(rows.flag("library"), first),
        decided=np.logical_or.reduceat(rows.flag("decided"), first),
        operator=operator,
        operators=names,
    )


def _verdicts(stacks: Stacks, symbols: _OperatorSymbols) -> TableRows:
    """Return one row per chain of a batch: `library`, `decided`, and the innermost operator's symbol and depth."""
    count = len(stacks.chain)
    library, decided = np.zeros(count, bool), np.zeros(count, bool)
    library[stacks.row[stacks.code == CLASS["library"]]] = True
    decided[stacks.row[in_classes(stacks.code, [CLASS[name] for name in _DECIDING])]] = True
    symbol = stacks.frame & 0xFFFFFFFF
    at = np.flatnonzero(symbols.flags(symbol))[::-1]
    operator, depth = np.full(count, -1, np.int64), np.full(count, _NO_DEPTH, np.int64)
    # `at` runs from the outermost frame to the leaf, so the innermost operator is written last and stays.
    operator[stacks.row[at]], depth[stacks.row[at]] = symbol[at], stacks.level[at]
    return TableRows(
        {"chain": stacks.chain, "library": library, "decided": decided}
        | {"operator_symbol": operator, "operator_depth": depth}
    )


class _OperatorSymbols:
    """Recognizes symbols that are entry points of framework operators; each symbol's text is queried once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known = np.empty(0, np.int64)
        self._operators: dict[int, str] = {}

    def flags(self, symbol: Ints) -> Flags:
        """Flag the symbols that are entry points of operators."""
        fresh = np.setdiff1d(symbol, self._known)
        texts = symbol_texts(self._database, fresh)
        self._operators |= {number: name for number, text in texts.items() if (name := operator_name(text))}
        self._known = np.union1d(self._known, fresh)
        return np.isin(symbol, list(self._operators))

    def codes(self, symbol: Ints) -> tuple[Ints, tuple[str, ...]]:
        """Return the operator code of each symbol (-1: no operator), and the operator names by code."""
        names: dict[str, int] = {}
        code = {number: names.setdefault(self._operators[number], len(names)) for number in sorted(self._operators)}
        return np.array([code.get(number, -1) for number in symbol.tolist()], np.int64), tuple(names)


def _references(database: Database) -> Ints:
    """Return the distinct callchainIds of API calls, sorted."""
    with closing(database.stream("api_chains")) as tables:
        parts = [np.unique(numbers(table["callchain_id"])) for table in tables]
    distinct = np.unique(np.concatenate(parts))
    return distinct[distinct >= 0]


def _referenced_ids(chain: Ints, used: Ints) -> Ints:
    """Return the callchainIds by which API calls refer to the chains `chain`; `used` are the references, sorted.

    nsys 2023.4 numbers chains from 1 but references them from 0, so each call would get the stack of the call before
    it. Such a report is recognized by three facts: a call refers to 0, which is no chain; no call refers to the last
    chain; every reference plus one is a chain.
    """
    off_by_one = (
        len(used) and used[0] == 0 and chain[0] > 0 and used[-1] < chain[-1] and bool(np.isin(used + 1, chain).all())
    )
    return chain - 1 if off_by_one else chain


def operator_name(symbol: str) -> str | None:
    """Return the operator whose entry point a symbol is, None for others: `at::_ops::mm::call(…)` gives `aten::mm`."""
    if not symbol.startswith("at::_ops::"):
        return None
    name, colons, rest = symbol.removeprefix("at::_ops::").partition("::")
    return f"aten::{name}" if colons and rest.startswith(("call", "redispatch")) else None
