"""The result of an analysis as plain data; every output is made from it and queries nothing else."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.detail_rows import DetailRows
from taxbreak_nsys.model.engine_figures import (
    CommunicationTime,
    GraphPadding,
    Idle,
    OsWait,
    OtherProcessTime,
    Ranks,
)
from taxbreak_nsys.model.phase_verdict import UNJUDGED, Verdict
from taxbreak_nsys.model.report_facts import ReportFacts
from taxbreak_nsys.model.step_counts import PhaseSource, StepCounts

if TYPE_CHECKING:
    import pyarrow as pa

    from taxbreak_nsys.measure.measured import InstanceSums
    from taxbreak_nsys.measure.replay_columns import ReplayPart
    from taxbreak_nsys.phases import Instances

SCHEMA = "taxbreak/2"
"""The version of the JSON output (docs/json.md); new fields do not change it."""

METHOD_VERSION = 4
"""Increased when the same report gives other values than before: stores then analyse it again."""


@dataclass(frozen=True)
class LaunchCounts:
    """Launches of a phase; `graph` counts all graph launches, `unmeasured_graph` those without device time."""

    kernel: int
    graph: int
    memory: int
    unmeasured_graph: int


@dataclass(frozen=True)
class GraphTime:
    """CUDA graphs of a phase: launches, time of the launching calls (ns), sum of the durations of their kernels (ns).

    `device_ns` is None where a graph launch was not measured. `whole` counts the launches whose kernels have no rows:
    graphs traced as a whole, or not measured. `padding` is None where the report does not show the captured sizes, and
    `padding_reason` says why.
    """

    launches: int
    launch_ns: int
    device_ns: int | None
    whole: int = 0
    padding: GraphPadding | None = None
    padding_reason: str | None = None


@dataclass(frozen=True)
class DeviceTime:
    """Device time of a phase in ns; None where a graph launch was not measured."""

    active_ns: int | None
    kernel_sum_ns: int | None
    idle_ns: int | None
    busy_share: float | None
    """The share of the wall time in which a device of the phase is busy; waits for slower ranks are not busy time."""


@dataclass(frozen=True)
class Layers:
    """The three layers of a phase in ns, and HDBI (method sections 4 and 5).

    `library_bound` says that delta_ct is only a bound of the library time: `lower` where the libraries
    `unmarked_libraries` launched kernels and marked no range, `upper` for evidence `subtractive`; None otherwise.
    `hdbi_without_profiler` is None where no sample hit the profiler. Every value is None, with `hdbi_reason`, for a
    phase whose CUDA rows the report lost (method section 5.1).
    """

    delta_ft_ns: int | None
    delta_ct_ns: int | None
    delta_kt_ns: int | None
    launch_excess_ns: int | None
    t_orchestration_ns: int | None
    t_device_active_ns: int | None
    hdbi: float | None
    hdbi_reason: str | None
    evidence: str
    library_interval_ns: tuple[int, int] | None
    ft_includes_library: bool
    hdbi_without_profiler: float | None = None
    library_bound: str | None = None
    unmarked_libraries: tuple[str, ...] = ()


@dataclass(frozen=True)
class SampledState:
    """One state of a phase by its CPU samples; `off_cpu_ns` and `kinds_ns` add up to the state's time.

    `kinds_ns` has the time by the kind of code that the samples hit (`sample_hits.KINDS`).
    """

    samples: int
    on_cpu_ns: int
    off_cpu_ns: int
    kinds_ns: dict[str, int]


@dataclass(frozen=True)
class SampleFigures:
    """A phase by its CPU samples, whichever evidence its layers use; intervals are 95 % confidence intervals.

    `on_cpu_from` is `context_switches` or `samples` (× period; `capped_states` are those where that was longer
    than the state). `enough` says whether they suffice as evidence of the library layer. `profiler_ns`
    is the profiler's own time in all states, `profiler_share` its share of the wall time. `library_missed_ns`, where
    libraries marked ranges, is library time outside them: evidence `ranges` leaves it to the framework, evidence
    `ranges+samples` counts it. `library_missed_modules` are the modules that it lies in, sorted.
    """

    count: int
    period_ns: int
    enough: bool
    on_cpu_from: str
    capped_states: tuple[str, ...]
    profiler_ns: int
    profiler_share: float | None
    profiler_interval_ns: tuple[int, int]
    off_cpu_ns: int
    library_missed_ns: int | None
    library_missed_interval_ns: tuple[int, int] | None
    library_missed_modules: tuple[str, ...]
    profiler_by_state_ns: dict[str, int]
    states: dict[str, SampledState]


@dataclass(frozen=True)
class Corrected:
    """A phase corrected for the profiler's overhead (method section 6), ns; None where `reason` gives the cause.

    `reference_ns` is the un-profiled median wall time, `dilation` the captured median divided by it. `states_ns` add up
    to `wall_ns`: the reference times the instances, or less where the capture without the profiler's own rows already
    took less. `profiler_claimed_ns` is what samples and the profiler's rows say that the profiler took,
    `profiler_removed_ns` what was taken out: no more than the capture is longer than the reference.
    `long_waits` is the number of instances that wait longer than the whole reference: they count with the waits of the
    others.
    """

    dilation: float
    reference_ns: int
    profiler_share: float | None
    wall_ns: int | None
    states_ns: dict[str, int] | None
    delta_ft_ns: int | None
    delta_ct_ns: int | None
    delta_kt_ns: int | None
    t_orchestration_ns: int | None
    hdbi: float | None
    hdbi_interval: tuple[float, float] | None
    reason: str | None
    profiler_claimed_ns: int | None = None
    profiler_removed_ns: int | None = None
    long_waits: int = 0


@dataclass(frozen=True)
class Phase:
    """One entry: a phase label on one thread, or on all its threads together (`process` and `thread` are None).

    `unmeasured_instances` is the number of instances left out because the report lost their CUDA rows. Where that
    holds for all instances, `instances` counts them, and the values of device and layers are None.
    """

    phase: str
    process: int | None
    thread: int | None
    instances: int
    wall_ns: int
    wall_median_ns: int | None
    wall_p99_ns: int | None
    """The 99th percentile of the instances' wall time; None with fewer than 100 instances."""
    cycles: bool
    """Whether an instance is a cycle: from its mark to the next one (method section 2.1)."""
    range_ns: int
    """The sum of the lengths of the marks themselves."""
    between_ns: dict[str, int] | None
    """The part of `states_ns` after the end of the marks; None unless the instances are cycles."""
    helpers_ns: dict[str, int] | None
    """States of helper threads; they count for no layer and no wall time. None without helpers."""
    communication: CommunicationTime | None
    ranks: Ranks | None
    launches: LaunchCounts
    graphs: GraphTime | None
    """None in a phase without CUDA graphs."""
    kernels: int | None
    states_ns: dict[str, int]
    in_os_ns: dict[str, int]
    exposed_ns: dict[str, int] | None
    device: DeviceTime
    taxbreak: Layers
    samples: SampleFigures | None
    corrected: Corrected | None
    phase_source: PhaseSource
    steps: StepCounts | None
    unmeasured_instances: int = 0
    verdict: Verdict = UNJUDGED
    """Known only after the replay of all phases of the thread; UNJUDGED before."""

    @property
    def combined(self) -> bool:
        """Whether the entry stands for several threads."""
        return self.thread is None


@dataclass(frozen=True)
class Outside:
    """Launches and kernels in no phase; `share` is their part of all kernels' device time, None without kernels."""

    kernel_launches: int
    graph_launches: int
    memory_launches: int
    kernels: int
    kernels_without_launch: int
    kernel_sum_ns: int
    share: float | None


@dataclass(frozen=True)
class TracedRanges:
    """The number of operator ranges and of library ranges and calls in the report, and the libraries' names."""

    operator: int
    library: int
    libraries: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """The analysis of one report.

    `entries` has the phases as objects. `taxbreak_nsys.analyze` returns a subclass with pandas frames and figures
    (`notebook.report_result`).
    """

    report: ReportFacts
    t_sys_ns: int
    t_sys_source: str
    entries: tuple[Phase, ...]
    outside: Outside
    idle: tuple[Idle, ...]
    processes: tuple[OtherProcessTime, ...]
    os_waits: tuple[OsWait, ...]
    kernel_rows: tuple[dict[str, Any], ...]
    operator_rows: tuple[dict[str, Any], ...]
    api_rows: tuple[dict[str, Any], ...]
    instances: Instances = field(repr=False)
    replay_part: ReplayPart = field(repr=False)
    """The input of the replays of verdicts and `whatif`: a small report as a whole, stretches of a large report."""
    step_sums: InstanceSums = field(repr=False)
    """Sums per instance of `instances`: states, exposed time, device time, launches."""
    traced_ranges: TracedRanges
    sample_rows: tuple[dict[str, Any], ...] = ()
    symbol_rows: tuple[dict[str, Any], ...] = ()
    intervals: pa.Table | None = field(default=None, repr=False)
    """Every host interval, in a temporary file that is mapped into memory; None unless requested."""
    t_base_ns: int | None = None
    """T_base of the subtraction (method section 4, Eq. 5); None where no launch lies in an operator range."""
    thread_names: Mapping[int, str] = field(default_factory=dict, repr=False)
    """Thread names by globalTid, as far as the report has them."""
    details: DetailRows = field(default_factory=DetailRows, repr=False)
    """The tables requested by `Options.tables`."""

    def to_arrow(self) -> pa.Table:
        """Return the phases as an Arrow table, one row per entry; nested keys are joined by a dot."""
        import pyarrow as pa

        rows = [_flat(phase_dict(entry, states_of_samples=False)) for entry in self.entries]
        # A nested object may be null in one row; take its columns from a row where it is present.
        keys = list(dict.fromkeys(key for row in rows for key in row))
        nested = {key for key in keys if any(other.startswith(f"{key}.") for other in keys)}
        return pa.Table.from_pylist([{key: row.get(key) for key in keys if key not in nested} for row in rows])

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of a report (docs/json.md) as plain Python data."""
        report = dataclasses.asdict(self.report)
        report["traced"] = list(self.report.traced)
        report["warnings"] = list(report["warnings"])
        return json_head() | {
            "report": report,
            "t_sys_ns": self.t_sys_ns,
            "t_sys_source": self.t_sys_source,
            "phases": [phase_dict(entry) for entry in self.entries],
            "outside": dataclasses.asdict(self.outside),
            "processes": [_lists(dataclasses.asdict(process)) for process in self.processes],
            "os_waits": [_lists(dataclasses.asdict(wait)) for wait in self.os_waits],
            "idle": [dataclasses.asdict(idle) for idle in self.idle],
            "kernels": list(self.kernel_rows),
            "operators": list(self.operator_rows),
        }

    def to_json(self, indent: int | None = 2) -> str:
        """Return `to_dict` as JSON text; `indent=None` gives one line."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)

    def phase(self, label: str, thread: int | None = None) -> Phase:
        """Return one entry by label: on `thread` (TID) if given, else the combined entry, else the first.

        Raises TaxbreakError where no entry matches.
        """
        named = [entry for entry in self.entries if entry.phase == label]
        if thread is not None:
            named = [entry for entry in named if entry.thread == thread]
        if not named:
            known = ", ".join(sorted({entry.phase for entry in self.entries})) or "none"
            raise TaxbreakError(f"{self.report.path}: no phase {label!r}; the phases are: {known}")
        return next((entry for entry in named if entry.combined), named[0])


def schema_path() -> Path:
    """Return the path of the packaged JSON schema of the output."""
    return Path(__file__).resolve().parent / "data" / f"{SCHEMA.replace('/', '-')}.schema.json"


def json_head() -> dict[str, Any]:
    """Return the first fields of every JSON document and line: the schema and the program's version."""
    from taxbreak_nsys import __version__

    return {"schema": SCHEMA, "tool_version": __version__}


def phase_dict(entry: Phase, *, states_of_samples: bool = True) -> dict[str, Any]:
    """Return a phase as the JSON object of method section 7; `states_of_samples` keeps `samples.states`."""
    data: dict[str, Any] = _lists(dataclasses.asdict(entry))
    if data["samples"] and not states_of_samples:
        del data["samples"]["states"]
    return data


def _lists(value: Any) -> Any:
    """Return the data with tuples converted to lists, as in JSON."""
    if isinstance(value, dict):
        return {key: _lists(inner) for key, inner in value.items()}
    return [_lists(inner) for inner in value] if isinstance(value, tuple | list) else value


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
