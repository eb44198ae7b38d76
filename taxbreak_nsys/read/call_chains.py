"""The call chains of CUDA API calls (`--cudabacktrace`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.read.database import Database
from taxbreak_nsys.read.module_table import CLASS, Pattern
from taxbreak_nsys.read.stack_frames import Modules, Stacks, in_classes, symbol_texts


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


def read_chains(database: Database, patterns: Sequence[Pattern], callchain_id: Ints) -> Chains | None:
    """Read the call chains of CUDA API calls (`--cudabacktrace`); None where the report has none."""
    if "CUDA_CALLCHAINS" not in database.schema:
        return None
    stack = Stacks.of(database, database.query("launch_frames"), Modules(), patterns)
    if not len(stack.chain):
        return None
    library = np.zeros(len(stack.chain), bool)
    library[stack.row[stack.code == CLASS["library"]]] = True
    decided = library.copy()
    decided[stack.row[in_classes(stack.code, [CLASS["framework"], CLASS["interpreter"]])]] = True
    symbol_ids = stack.frame & 0xFFFFFFFF
    texts = symbol_texts(database, symbol_ids)
    names: dict[str, int] = {}
    of_symbol = {i: names.setdefault(op, len(names)) for i, text in texts.items() if (op := operator_name(text))}
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


def operator_name(symbol: str) -> str | None:
    """Return the framework operator that a symbol is the entry of: `at::_ops::mm::call(…)` is `aten::mm`."""
    if not symbol.startswith("at::_ops::"):
        return None
    name, colons, rest = symbol.removeprefix("at::_ops::").partition("::")
    return f"aten::{name}" if colons and rest.startswith(("call", "redispatch")) else None
