"""What the samples hit: by layer and module, and the hottest symbols of each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from taxbreak_nsys.breakdown import Entry
from taxbreak_nsys.columns import Columns
from taxbreak_nsys.intervals import Flags, Ints
from taxbreak_nsys.read.trace import pid, tid
from taxbreak_nsys.samples import KIND, KINDS, Sampled
from taxbreak_nsys.states import STATE
from taxbreak_nsys.strata import SPLIT_STATES, apportion, split_of
from taxbreak_nsys.words import STATES

Row = dict[str, Any]
NO_SYMBOL = "[no symbol]"


def layer_of(state: str, kind: str) -> str:
    """Return the layer that a sample lies in: by what it hit in a split state, else the profiler or the state."""
    if kind == "profiler":
        return "profiler"
    if state in SPLIT_STATES:
        return "library" if kind == "library" else "framework"
    return "launch path" if state == "launch" else state


def rows(columns: Columns, entries: Sequence[Entry]) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Return rows a (phase, thread, layer, kind, module), and rows with the symbol as well; largest time first.

    Times add up to the phase's time on the CPU that samples stand for.
    """
    sampled = columns.sampled
    if sampled is None:
        return (), ()
    by_module: list[Row] = []
    by_symbol: list[Row] = []
    for label, thread, _ in entries:
        instances = columns.instances
        which = (instances.label == instances.labels.index(label)) & (instances.thread == thread)
        head = {"phase": label, "process": pid(thread), "thread": tid(thread)}
        index, ns = _weights(sampled, which)
        by_module += _grouped(sampled, index, ns, head, with_symbol=False)
        by_symbol += _grouped(sampled, index, ns, head, with_symbol=True)
    return tuple(by_module), tuple(by_symbol)


def _weights(sampled: Sampled, which: Flags) -> tuple[Ints, Ints]:
    """Return the samples of some instances and what each stands for, ns: they add up to the kinds of `split_of`."""
    held = np.flatnonzero((sampled.instance >= 0) & which[np.maximum(sampled.instance, 0)])
    ns = np.zeros(len(held), np.int64)
    for stratum in split_of(sampled, which).strata:
        in_state = sampled.state[held] == STATE[stratum.state]
        for kind, time in stratum.kinds_ns.items():
            mine = np.flatnonzero(in_state & (sampled.kind[held] == KIND[kind]))
            ns[mine] = apportion(time, [1] * len(mine))
    return held, ns


def _grouped(sampled: Sampled, index: Ints, ns: Ints, head: Row, *, with_symbol: bool) -> list[Row]:
    names, frame = sampled.source.names, sampled.frame
    total = int(ns.sum())
    found: dict[tuple[str, ...], list[int]] = {}
    columns = zip(
        sampled.state[index].tolist(), sampled.kind[index].tolist(), frame.module[index].tolist(),
        frame.symbol[index].tolist(), ns.tolist(), strict=True,
    )  # fmt: skip
    for state, kind, module, symbol, time in columns:
        key: tuple[str, ...] = (
            layer_of(STATES[state], KINDS[kind]), KINDS[kind],
            names.module_name.get(module, ""), names.module_file.get(module, ""),
        )  # fmt: skip
        if with_symbol:
            key += (_symbol(sampled.source.symbols.get(symbol, "")),)
        entry = found.setdefault(key, [0, 0])
        entry[0] += 1
        entry[1] += time
    keys = ("layer", "kind", "module", "file", "symbol")
    return [
        head
        | dict(zip(keys, key, strict=False))
        | {"samples": count, "total_ns": time, "share": time / total if total else None}
        for key, (count, time) in sorted(found.items(), key=lambda item: (-item[1][1], item[0]))
    ]


def _symbol(name: str) -> str:
    """Return a symbol to show: nsys gives the address where it has no name."""
    return NO_SYMBOL if not name or name.startswith("0x") else name


def unknown_modules(sampled: Sampled) -> list[tuple[str, int]]:
    """Return the modules that no pattern knows and that samples in phases were in at the leaf, most first."""
    leaf = sampled.source.leaf
    held = (sampled.instance >= 0) & (leaf.code == 0) & (leaf.module != 0)
    module, count = np.unique(leaf.module[held], return_counts=True)
    names: dict[str, int] = {}
    for one, samples in zip(module.tolist(), count.tolist(), strict=True):
        name = sampled.source.names.module_file.get(one, "")
        names[name] = names.get(name, 0) + samples
    return sorted(names.items(), key=lambda item: (-item[1], item[0]))
