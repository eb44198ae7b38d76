"""Frames of call chains, and the frames that decide to whom a CPU sample's time is attributed.

For that, two frames per chain are kept: the first one, from the leaf up, in a known module, and the first one in a
module that acts on its own behalf (not the driver or a compiler, whose work belongs to their caller).
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
"""Bits of the frame depth in the combined key chain * 4096 + depth (`sql/sample_frames.sql`)."""
KNOWN = [CLASS[name] for name in ("profiler", "library", "compiler", "driver", "framework", "interpreter")]
OWN = [CLASS[name] for name in ("profiler", "library", "framework", "interpreter")]


@dataclass(frozen=True)
class Frames:
    """One frame per call chain: module class (`module_table.CLASS`), StringIds ids of module and symbol; 0 for none."""

    code: Ints
    module: Ints
    symbol: Ints

    def __getitem__(self, index: Ints | Flags) -> Frames:
        return Frames(self.code[index], self.module[index], self.symbol[index])


@dataclass(frozen=True)
class Modules:
    """Class, name to show and file name of the module ids in `Frames`; grows as chains are read."""

    code: dict[int, int] = field(default_factory=dict)
    name: dict[int, str] = field(default_factory=dict)
    """The name to show, from the table of modules."""
    file: dict[int, str] = field(default_factory=dict)

    def learn(self, database: Database, ids: Sequence[int], patterns: Sequence[Pattern]) -> None:
        """Add the modules of `ids` that are not known yet."""
        fresh = [module for module in ids if module not in self.code]
        if not fresh:
            return
        paths = symbol_texts(database, np.array(fresh, np.int64))
        codes, names = classify([paths.get(module, "") for module in fresh], patterns)
        self.code.update(zip(fresh, codes, strict=True))
        self.name.update(zip(fresh, names, strict=True))
        self.file.update({module: file_name(paths.get(module, "")) for module in fresh})


@dataclass(frozen=True)
class Stacks:
    """The frames of many chains, sorted by (chain, depth).

    `chain` holds one id per chain. The other columns hold one value per frame: `row` is the index of the frame's chain
    in `chain`, `level` the frame's depth (0: the leaf), `frame` module * 2^32 + symbol, `code` the module's class.
    """

    chain: Ints
    row: Ints
    level: Ints
    frame: Ints
    code: Ints

    @classmethod
    def of(cls, database: Database, table: pa.Table, modules: Modules, patterns: Sequence[Pattern]) -> Stacks:
        """Return the stacks in rows of `sample_frames` or `launch_frames` (`sql/`); adds to `modules`."""
        key, frame = numbers(table["sample_depth"]), numbers(table["module_symbol"])
        if np.any(key[1:] < key[:-1]):
            order = np.argsort(key, kind="stable")
            key, frame = key[order], frame[order]
        chain = key >> DEPTH_BITS
        begins = np.r_[True, chain[1:] != chain[:-1]] if len(chain) else np.zeros(0, bool)
        # Millions of frames have few distinct modules: hashing finds them faster than sorting.
        encoded = integers(frame >> 32).dictionary_encode()
        ids = numbers(encoded.dictionary).tolist()
        modules.learn(database, ids, patterns)
        known = np.array([modules.code[module] for module in ids], np.int64)
        code = known[numbers(encoded.indices)] if len(frame) else np.empty(0, np.int64)
        return cls(
            chain=chain[begins], row=np.cumsum(begins) - 1, level=key & ((1 << DEPTH_BITS) - 1), frame=frame, code=code
        )

    def first(self, classes: Sequence[int] | None) -> Frames:
        """Return each chain's first frame, from the leaf up, whose module has one of the classes (None: any)."""
        which = np.arange(len(self.row)) if classes is None else np.flatnonzero(in_classes(self.code, classes))
        row = self.row[which]
        first = which[np.r_[True, row[1:] != row[:-1]]] if len(row) else which
        frames = Frames(*(np.zeros(len(self.chain), np.int64) for _ in range(3)))
        at = self.row[first]
        frames.code[at] = self.code[first]
        frames.module[at], frames.symbol[at] = self.frame[first] >> 32, self.frame[first] & 0xFFFFFFFF
        return frames

    @property
    def depth(self) -> Ints:
        """The number of frames of each chain."""
        return np.bincount(self.row, minlength=len(self.chain)).astype(np.int64)


def in_classes(code: Ints, classes: Sequence[int]) -> Flags:
    """Flag the codes that are among some module classes."""
    table = np.zeros(len(CLASS), bool)
    table[list(classes)] = True
    return np.asarray(table[code])


def symbol_texts(database: Database, ids: Ints) -> dict[int, str]:
    """Return {id: text} of some ids of StringIds; ids without a row are missing."""
    distinct = np.unique(ids)
    if not len(distinct):
        return {}
    table = database.query("event_names", ids=json.dumps(distinct.tolist()))
    if not len(table):
        return {}
    return dict(zip(numbers(table["name_id"]).tolist(), arrow_codes.texts(table["name"]).to_pylist(), strict=True))
