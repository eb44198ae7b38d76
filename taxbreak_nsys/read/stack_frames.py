"""Call chains: which frames of a chain decide whose time it is.

Only the two frames of a chain that decide are kept: the first that a known module has, from the leaf up, and
the first whose module stands for itself (neither the driver nor a compiler: those belong to who called them).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from taxbreak_nsys.arrays import arrow_codes
from taxbreak_nsys.arrays.arrow_codes import integers, numbers
from taxbreak_nsys.arrays.intervals import Flags, Ints
from taxbreak_nsys.read.database import Database
from taxbreak_nsys.read.module_table import CLASS, Pattern, classify, file_name

DEPTH_BITS = 12
KNOWN = [CLASS[name] for name in ("profiler", "library", "compiler", "driver", "framework", "interpreter")]
OWN = [CLASS[name] for name in ("profiler", "library", "framework", "interpreter")]


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
class Modules:
    """What the module ids of `Frames` stand for; it grows as chains are read."""

    code: dict[int, int] = field(default_factory=dict)
    name: dict[int, str] = field(default_factory=dict)
    """The name to show, of the table of modules."""
    file: dict[int, str] = field(default_factory=dict)

    def learn(self, database: Database, ids: Sequence[int], patterns: Sequence[Pattern]) -> None:
        """Look up the modules that are not known yet."""
        fresh = [one for one in ids if one not in self.code]
        if not fresh:
            return
        paths = symbol_texts(database, np.array(fresh, np.int64))
        found, shown = classify([paths.get(one, "") for one in fresh], patterns)
        self.code.update(zip(fresh, found, strict=True))
        self.name.update(zip(fresh, shown, strict=True))
        self.file.update({one: file_name(paths.get(one, "")) for one in fresh})


@dataclass(frozen=True)
class Stacks:
    """The frames of many chains, sorted by (chain, depth).

    `chain` holds the chains' ids; the other columns are over frames: `row` is the place of the frame's chain in
    `chain`, `level` the frame's depth (0: the leaf), `frame` module * 2^32 + symbol, `code` the class of its module.
    """

    chain: Ints
    row: Ints
    level: Ints
    frame: Ints
    code: Ints

    @classmethod
    def of(cls, database: Database, table: pa.Table, modules: Modules, patterns: Sequence[Pattern]) -> Stacks:
        """Return the chains of rows of `sample_frames` or `launch_frames`."""
        key, frame = numbers(table["sample_depth"]), numbers(table["module_symbol"])
        if np.any(key[1:] < key[:-1]):
            order = np.argsort(key, kind="stable")
            key, frame = key[order], frame[order]
        chain = key >> DEPTH_BITS
        begins = np.r_[True, chain[1:] != chain[:-1]] if len(chain) else np.zeros(0, bool)
        # hashing finds the few distinct modules faster than sorting millions of rows does
        encoded = integers(frame >> 32).dictionary_encode()
        ids = numbers(encoded.dictionary).tolist()
        modules.learn(database, ids, patterns)
        known = np.array([modules.code[one] for one in ids], np.int64)
        code = known[numbers(encoded.indices)] if len(frame) else np.empty(0, np.int64)
        return cls(
            chain=chain[begins], row=np.cumsum(begins) - 1, level=key & ((1 << DEPTH_BITS) - 1), frame=frame, code=code
        )

    def first(self, classes: Sequence[int] | None) -> Frames:
        """Return for each chain its first frame of some classes (None: any), from the leaf up."""
        which = np.arange(len(self.row)) if classes is None else np.flatnonzero(in_classes(self.code, classes))
        row = self.row[which]
        first = which[np.r_[True, row[1:] != row[:-1]]] if len(row) else which
        found = [np.zeros(len(self.chain), np.int64) for _ in range(3)]
        at = self.row[first]
        found[0][at] = self.code[first]
        found[1][at], found[2][at] = self.frame[first] >> 32, self.frame[first] & 0xFFFFFFFF
        return Frames(*found)

    @property
    def depth(self) -> Ints:
        """How many frames each chain has."""
        return np.bincount(self.row, minlength=len(self.chain)).astype(np.int64)


def in_classes(code: Ints, classes: Sequence[int]) -> Flags:
    """Return which frames are of some module classes."""
    table = np.zeros(len(CLASS), bool)
    table[list(classes)] = True
    return np.asarray(table[code])


def symbol_texts(database: Database, ids: Ints) -> dict[int, str]:
    """Return the texts of some StringIds."""
    distinct = np.unique(ids)
    if not len(distinct):
        return {}
    table = database.query("event_names", ids=json.dumps(distinct.tolist()))
    if not len(table):
        return {}
    return dict(zip(numbers(table["name_id"]).tolist(), arrow_codes.texts(table["name"]).to_pylist(), strict=True))
