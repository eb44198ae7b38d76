"""The waits of a phase as an un-profiled run has them, without single instances that wait for something else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from taxbreak_nsys.arrays.intervals import Ints, percentile
from taxbreak_nsys.totals.sampled_split import Split, Stratum, apportion

WAITS = ("device_wait", "os_wait")
"""The states that an un-profiled run waits for as long: not scaled."""


@dataclass(frozen=True)
class TypicalWaits:
    """The waits of all instances, ns by state; those of `replaced` instances are the mean of the others."""

    waits_ns: Mapping[str, int]
    captured_ns: Mapping[str, int]
    replaced: int

    @classmethod
    def of(cls, waits: Ints, reference_ns: int) -> TypicalWaits:
        """Compare the waits (instances, `WAITS`) with the median wall time of an un-profiled run, ns.

        An instance whose waits alone are longer than the reference is not an instance that a median describes: the
        first decode step after a prefill waits until the device has done the prefill's work. The mean waits of the
        other instances stand for it, unless the median instance waits longer than the reference as well.
        """
        captured = waits.sum(axis=0)
        each = waits.sum(axis=1)
        usual = waits[each <= reference_ns]
        replaced = len(waits) - len(usual)
        typical = captured
        if (percentile(each, 50) or 0) > reference_ns:
            replaced = 0
        elif replaced:
            typical = usual.sum(axis=0) * len(waits) // len(usual)
        return cls(_by_state(typical), _by_state(captured), replaced)

    def in_split(self, split: Split) -> Split:
        """Return the samples of a phase with the waits at their typical length."""
        if not self.replaced:
            return split
        return replace(split, strata=tuple(self._stratum(stratum) for stratum in split.strata))

    def _stratum(self, stratum: Stratum) -> Stratum:
        captured = self.captured_ns.get(stratum.state, 0)
        if not captured:
            return stratum

        def scaled(ns: int) -> int:
            return ns * self.waits_ns[stratum.state] // captured

        on_cpu = scaled(stratum.on_cpu_ns)
        parts = apportion(on_cpu, list(stratum.kinds_ns.values()))
        return replace(
            stratum,
            time_ns=scaled(stratum.time_ns),
            on_cpu_ns=on_cpu,
            kinds_ns=dict(zip(stratum.kinds_ns, parts, strict=True)),
            trials_ns=scaled(stratum.trials_ns),
        )


def _by_state(columns: Ints) -> dict[str, int]:
    return dict(zip(WAITS, columns.tolist(), strict=True))
