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
"""Deeper than any frame: the chain holds no entry of an operator."""


@dataclass(frozen=True)
class Chains:
    """The call chains of CUDA API calls, one entry per chain, sorted by `chain`.

    `library` flags chains that hold a frame of a CUDA library, `decided` chains for which that can be said: those that
    reach a library, a framework or the interpreter. `operator` is a code into `operators`, -1 for none.
    """

    chain: Ints
    """The callchainId by which API calls refer to it."""
    library: Flags
    decided: Flags
    operator: Ints
    operators: tuple[str, ...]

    def of(self, chain: Ints) -> Ints:
        """Return the index of each callchainId, -1 where it is unknown (as -1 is, which means no chain was taken)."""
        if not len(self.chain):
            return np.full(len(chain), -1, np.int64)
        at = np.minimum(np.searchsorted(self.chain, chain), len(self.chain) - 1)
        return np.where(self.chain[at] == chain, at, -1)


def read_chains(database: Database, patterns: Sequence[Pattern]) -> Chains | None:
    """Read the call chains of CUDA API calls (`--cudabacktrace`); None where the report has none.

    The frames are read in batches, and a few bytes are kept per chain.
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
    # a chain may lie in several batches: the entry of its frame nearest to the leaf comes first
    rows = rows.take(np.lexsort((rows["operator_depth"], rows["chain"])))
    first = begins(rows["chain"][1:] != rows["chain"][:-1])
    operator, names = symbols.codes(rows["operator_symbol"][first])
    return Chains(
        chain=_as_referred_to(rows["chain"][first], _references(database)),
        library=np.logical_or.reduceat(rows.flag("library"), first),
        decided=np.logical_or.reduceat(rows.flag("decided"), first),
        operator=operator,
        operators=names,
    )


def _verdicts(stacks: Stacks, symbols: _OperatorSymbols) -> TableRows:
    """Return a row per chain of a batch: what its frames say, and the innermost operator's symbol with its depth."""
    count = len(stacks.chain)
    library, decided = np.zeros(count, bool), np.zeros(count, bool)
    library[stacks.row[stacks.code == CLASS["library"]]] = True
    decided[stacks.row[in_classes(stacks.code, [CLASS[name] for name in _DECIDING])]] = True
    symbol = stacks.frame & 0xFFFFFFFF
    at = np.flatnonzero(symbols.flags(symbol))[::-1]
    operator, depth = np.full(count, -1, np.int64), np.full(count, _NO_DEPTH, np.int64)
    # backwards, so that the frame nearest to the leaf, the innermost operator, is written last
    operator[stacks.row[at]], depth[stacks.row[at]] = symbol[at], stacks.level[at]
    return TableRows(
        {"chain": stacks.chain, "library": library, "decided": decided}
        | {"operator_symbol": operator, "operator_depth": depth}
    )


class _OperatorSymbols:
    """Which symbols are entries of framework operators; each symbol's text is asked for once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known = np.empty(0, np.int64)
        self._operators: dict[int, str] = {}

    def flags(self, symbol: Ints) -> Flags:
        """Return which frames are entries of operators."""
        fresh = np.setdiff1d(symbol, self._known)
        texts = symbol_texts(self._database, fresh)
        self._operators |= {number: name for number, text in texts.items() if (name := operator_name(text))}
        self._known = np.union1d(self._known, fresh)
        return np.isin(symbol, list(self._operators))

    def codes(self, symbol: Ints) -> tuple[Ints, tuple[str, ...]]:
        """Return the operator's code of each symbol (-1 for -1), and the operators' names by code."""
        names: dict[str, int] = {}
        code = {number: names.setdefault(self._operators[number], len(names)) for number in sorted(self._operators)}
        return np.array([code.get(number, -1) for number in symbol.tolist()], np.int64), tuple(names)


def _references(database: Database) -> Ints:
    """Return the distinct ids by which API calls refer to chains, sorted."""
    with closing(database.stream("api_chains")) as tables:
        parts = [np.unique(numbers(table["callchain_id"])) for table in tables]
    distinct = np.unique(np.concatenate(parts))
    return distinct[distinct >= 0]


def _as_referred_to(chain: Ints, used: Ints) -> Ints:
    """Return the ids by which API calls refer to chains; `used` are the references, sorted.

    nsys 2023.4 numbers the chains from 1 and refers to them from 0, so that each call seems to have the stack of the
    call before it. The sign of it: some call refers to 0, which is no chain, and none to the last chain, yet with one
    added every reference is a chain.
    """
    off_by_one = (
        len(used) and used[0] == 0 and chain[0] > 0 and used[-1] < chain[-1] and bool(np.isin(used + 1, chain).all())
    )
    return chain - 1 if off_by_one else chain


def operator_name(symbol: str) -> str | None:
    """Return the framework operator that a symbol is the entry of: `at::_ops::mm::call(…)` is `aten::mm`."""
    if not symbol.startswith("at::_ops::"):
        return None
    name, colons, rest = symbol.removeprefix("at::_ops::").partition("::")
    return f"aten::{name}" if colons and rest.startswith(("call", "redispatch")) else None
