"""A phase split by its CPU samples, state by state, with 95 % intervals (method section 4).

A state's time on the CPU comes from the context switches if the report has them, else from samples × period, capped at
the state's time; the rest is off the CPU. The state's time on the CPU is split in proportion to the kinds of its
samples, in whole ns by the largest remainder (`apportion`), so that all parts add up to the state. A state on the CPU
without a sample keeps its own layer, with an interval from 0 to its whole time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from taxbreak_nsys.arrays.intervals import Ints
from taxbreak_nsys.measure.sample_hits import KIND, KINDS
from taxbreak_nsys.model.name_rules import FRAMEWORK_STATES, STATES
from taxbreak_nsys.result import SampledState, SampleFigures

SPLIT_STATES = (*FRAMEWORK_STATES, "library")
"""The states whose samples make up delta_ft and delta_ct."""

_Z = 1.959964
_SMALL_SHARE = 20
"""A library time is precise enough if its interval is narrower than the time itself, or than 1 / 20 of framework and
library time together (a phase that hardly uses a library)."""


@dataclass(frozen=True)
class Stratum:
    """One state of one thread in a phase with its samples; ns and counts.

    `kinds_ns` add up to `on_cpu_ns`. For the intervals, `trials` samples stand for `trials_ns`: for the time on the CPU
    if it comes from context switches, else for the whole state. `undecided` samples may or may not be a library's.
    `capped` says that samples × period exceeded the state's time.
    """

    state: str
    time_ns: int
    samples: int
    on_cpu_ns: int
    kinds_ns: dict[str, int]
    counts: dict[str, int]
    undecided: int
    trials: int
    trials_ns: int
    capped: bool

    @property
    def library_ns(self) -> int:
        """The library time, ns; without samples all of the `library` state and 0 of the others."""
        return self.kinds_ns.get("library", 0) if self.samples or self.state != "library" else self.on_cpu_ns

    @property
    def profiler_ns(self) -> int:
        """The profiler's own time, ns: all of the `profiler` state, the share of profiler samples in the others."""
        return self.time_ns if self.state == "profiler" else self.kinds_ns.get("profiler", 0)

    @property
    def framework_ns(self) -> int:
        """The time on the CPU without library and profiler time, ns."""
        return self.on_cpu_ns - self.library_ns - self.kinds_ns.get("profiler", 0)


@dataclass(frozen=True)
class Split:
    """The strata of a phase."""

    strata: tuple[Stratum, ...]
    period_ns: int
    on_cpu_from: str

    @property
    def samples(self) -> int:
        """The number of samples."""
        return sum(stratum.samples for stratum in self.strata)


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Return `total` split in proportion to weights: integers that add up to it, by the largest remainder.

    Each part is the floor of its exact share; the rest goes, 1 each, to the parts with the largest remainders (on a
    tie the first). If all weights are 0, all parts are 0.
    """
    whole = sum(weights)
    if not whole:
        return [0] * len(weights)
    parts = [total * weight // whole for weight in weights]
    rest = [total * weight % whole for weight in weights]
    for index in sorted(range(len(weights)), key=lambda i: (-rest[i], i))[: total - sum(parts)]:
        parts[index] += 1
    return parts


@dataclass(frozen=True)
class Counted:
    """The sample counts of one thread's phase: columns over `name_rules.STATES`, ns and samples.

    `counts` is (states, kinds). `on_cpu` is valid if `switched`: the report has context switches of the thread.
    """

    counts: Ints
    undecided: Ints
    time: Ints
    on_cpu: Ints
    switched: bool
    period_ns: int


def split_counts(counted: Counted) -> Split:
    """Return the states of one thread's phase split by its samples; states without time and samples are left out."""
    strata = []
    for code, state in enumerate(STATES):
        counts = counted.counts[code].tolist()
        taken, total = sum(counts), int(counted.time[code])
        if not total and not taken:
            continue
        by_samples = taken * counted.period_ns
        on_cpu = int(counted.on_cpu[code]) if counted.switched else min(total, by_samples)
        parts = apportion(on_cpu, counts)
        hit = [(name, k) for name, k in KIND.items() if counts[k]]
        strata.append(
            Stratum(
                state=state, time_ns=total, samples=taken, on_cpu_ns=on_cpu,
                kinds_ns={name: parts[k] for name, k in hit},
                counts={name: counts[k] for name, k in hit},
                undecided=int(counted.undecided[code]),
                trials=taken if counted.switched else max(taken, round(total / counted.period_ns)),
                trials_ns=on_cpu if counted.switched else total,
                capped=not counted.switched and by_samples > total,
            )
        )  # fmt: skip
    return Split(tuple(strata), counted.period_ns, "context_switches" if counted.switched else "samples")


def merged(splits: Sequence[Split]) -> Split:
    """Return the strata of several threads as one."""
    sources = {split.on_cpu_from for split in splits}
    strata = tuple(stratum for split in splits for stratum in split.strata)
    return Split(strata, splits[0].period_ns, sources.pop() if len(sources) == 1 else "both")


def sampled_layers(split: Split) -> tuple[int, int]:
    """Return (delta_ft, delta_ct) in ns from the samples of `SPLIT_STATES`; time off the CPU is left out.

    The profiler's samples count as framework time, as under every other evidence (method section 5);
    `profiler_in_layers` returns their time.
    """
    strata = [stratum for stratum in split.strata if stratum.state in SPLIT_STATES]
    return sum(s.on_cpu_ns - s.library_ns for s in strata), sum(s.library_ns for s in strata)


def profiler_in_layers(split: Split) -> int:
    """Return the profiler's own time in `SPLIT_STATES`, ns."""
    return sum(stratum.profiler_ns for stratum in split.strata if stratum.state in SPLIT_STATES)


def library_outside_ranges(split: Split) -> int:
    """Return the time of library samples in the framework's states, ns: outside every library range."""
    return sum(stratum.library_ns for stratum in split.strata if stratum.state in FRAMEWORK_STATES)


def wilson(hits: float, trials: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share (Wilson 1927); (0, 1) without trials."""
    if not trials:
        return 0.0, 1.0
    share, z2 = hits / trials, _Z * _Z
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z * ((share * (1 - share) + z2 / (4 * trials)) / trials) ** 0.5 / (1 + z2 / trials)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def total_interval(figure: int, parts: Iterable[tuple[int, int, int, int]]) -> tuple[int, int]:
    """Return the 95 % interval of a figure that is a sum over strata, in ns.

    `parts` are (sampled time, ns; hits; undecided samples; trials). The Wilson intervals of the strata are combined by
    the variances recovered from them (Zou and Donner 2008): the squared distances of their ends from the estimates add
    up.
    """
    below, above, most = 0.0, 0.0, 0
    for time, hits, perhaps, trials in parts:
        share = hits / trials if trials else 0.0
        low, _ = wilson(hits, trials)
        _, high = wilson(hits + perhaps, trials)
        below += (time * (share - low)) ** 2
        above += (time * (high - share)) ** 2
        most += time
    return max(round(figure - below**0.5), 0), max(min(round(figure + above**0.5), most), figure)


def library_interval(
    split: Split, states: Sequence[str] = SPLIT_STATES, *, with_undecided: bool = True
) -> tuple[int, int]:
    """Return the 95 % interval of the library time in the given states, ns.

    With `with_undecided`, samples whose chain leaves open whether a library called count in the upper end.
    """
    strata = [s for s in split.strata if s.state in states]
    return total_interval(
        sum(s.library_ns for s in strata),
        ((s.trials_ns, s.counts.get("library", 0), s.undecided * with_undecided, s.trials) for s in strata),
    )


def profiler_interval(split: Split) -> tuple[int, int]:
    """Return the 95 % interval of the profiler's own time in a phase, ns."""
    own = sum(s.time_ns for s in split.strata if s.state == "profiler")
    strata = [s for s in split.strata if s.state != "profiler"]
    low, high = total_interval(
        sum(s.profiler_ns for s in strata),
        ((s.trials_ns, s.counts.get("profiler", 0), 0, s.trials) for s in strata),
    )
    return low + own, high + own


def precise_enough(split: Split) -> bool:
    """Return whether the interval of the library time is narrow enough (see _SMALL_SHARE).

    Undecided samples do not widen the interval here: more samples would not decide them.
    """
    framework, library = sampled_layers(split)
    host = framework - profiler_in_layers(split) + library
    low, high = library_interval(split, with_undecided=False)
    return split.samples > 0 and high - low < max(library, host // _SMALL_SHARE)


def sample_figures(split: Split, evidence: str, wall_ns: int, library_modules: Iterable[str]) -> SampleFigures:
    """Return the sample figures of a phase for the result; `wall_ns` is its wall time.

    `library_modules` are the library modules of the samples outside library ranges.
    """
    by_state = {name: [s for s in split.strata if s.state == name] for name in STATES}
    missed = None
    if evidence in ("ranges", "ranges+samples"):
        missed = library_outside_ranges(split)
    own = sum(s.profiler_ns for s in split.strata)
    return SampleFigures(
        count=split.samples,
        period_ns=split.period_ns,
        enough=precise_enough(split),
        on_cpu_from=split.on_cpu_from,
        capped_states=tuple(name for name, strata in by_state.items() if any(s.capped for s in strata)),
        profiler_ns=own,
        profiler_share=own / wall_ns if wall_ns else None,
        profiler_interval_ns=profiler_interval(split),
        off_cpu_ns=sum(s.time_ns - s.on_cpu_ns for s in split.strata),
        library_missed_ns=missed,
        library_missed_interval_ns=library_interval(split, FRAMEWORK_STATES) if missed is not None else None,
        library_missed_modules=tuple(sorted(library_modules)) if missed else (),
        profiler_by_state_ns={name: sum(s.profiler_ns for s in strata) for name, strata in by_state.items()},
        states={name: _state_figures(strata) for name, strata in by_state.items() if strata},
    )


def _state_figures(strata: Sequence[Stratum]) -> SampledState:
    kinds = {name: sum(s.kinds_ns.get(name, 0) for s in strata) for name in KINDS}
    return SampledState(
        sum(s.samples for s in strata),
        sum(s.on_cpu_ns for s in strata),
        sum(s.time_ns - s.on_cpu_ns for s in strata),
        {name: ns for name, ns in kinds.items() if ns},
    )
