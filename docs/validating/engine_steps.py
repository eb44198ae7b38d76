"""Tables of docs/validation-engine.md: steps, costs, correction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from validating.numbers import ms, share, table

Record = dict[str, Any]
Records = dict[str, Record]

SETTINGS = {
    "light": "cuda, nvtx",
    "os": "+ OS calls",
    "ranges": "+ OS calls, cuBLAS ranges",
    "samples": "+ OS calls, samples at 4 kHz",
    "light24": "cuda, nvtx",
    "os24": "+ OS calls",
    "samples24": "+ OS calls, samples at 4 kHz",
    "whole24": "cuda, nvtx, graphs as a whole",
}
MODES = {"e": "eager", "g": "graphs", "tp": "graphs, 2 GPUs", "tp-e": "eager, 2 GPUs"}
RUNS = (
    *(
        ("a", f"{mode}-{setting}", mode, setting)
        for mode, settings in {
            "e": ("light", "os", "ranges", "samples", "light24", "samples24"),
            "g": ("light", "os", "ranges", "samples", "samples24", "whole24"),
            "tp": ("light", "os24"),
            "tp-e": ("light",),
        }.items()
        for setting in settings
    ),
    *(
        ("b", f"b/{run or mode}-{setting}", mode, setting)
        for mode in "eg"
        for setting, run in {"light": f"llama-{mode}", "os": "", "ranges": "", "samples24": ""}.items()
    ),
)
"""Captures whose bare times were measured in the same process: host, run, mode and trace setting."""


@dataclass(frozen=True)
class Step:
    """Decode steps of one capture and number of requests: on the workload's own clock and by the program, ns."""

    host: str
    mode: str
    setting: str
    nsys: str
    batch: int
    bare: list[int]
    captured: list[int]
    phase: Record

    @property
    def bare_ns(self) -> float:
        """The median bare step."""
        return median(self.bare)

    @property
    def captured_ns(self) -> float:
        """The median captured step by the workload's own clock."""
        return median(self.captured)

    @property
    def off(self) -> float:
        """How far the program's median step is from the workload's."""
        return self.phase["wall_median_ns"] / self.captured_ns - 1

    @property
    def corrected(self) -> float | None:
        """The corrected HDBI."""
        value: float | None = (self.phase["corrected"] or {}).get("hdbi")
        return value

    @property
    def active_ns(self) -> float:
        """Device active per step."""
        return float(self.phase["taxbreak"]["t_device_active_ns"] / self.phase["instances"])

    @property
    def expected(self) -> float:
        """HDBI of a step whose host never waits: device active over device active and the bare step."""
        return self.active_ns / (self.active_ns + self.bare_ns)

    @property
    def left_out(self) -> float:
        """The part of the captured step in no layer, but the profiler's: waits, copies, launch time above T_sys."""
        wall = self.phase["wall_ns"] - self.phase["states_ns"]["profiler"]
        return float(1 - self.phase["taxbreak"]["t_orchestration_ns"] / wall)

    def expected_layers(self, left_out: float) -> float:
        """HDBI where only the layers' part of the bare step counts as orchestration."""
        return self.active_ns / (self.active_ns + self.bare_ns * (1 - left_out))

    @property
    def slowed(self) -> bool:
        """Whether the capture was slower than the bare steps; where it was not, the host changed in between."""
        return self.captured_ns >= self.bare_ns

    @property
    def note(self) -> str:
        """What keeps the step from being judged."""
        if not self.paired:
            return "ranks not paired"
        return "" if self.slowed else "bare was slower"

    @property
    def paired(self) -> bool:
        """Whether several ranks were read as one group (always, with one)."""
        return "2 GPUs" not in self.mode or self.phase["ranks"] is not None


def steps(records: Records) -> Iterator[Step]:
    """Yield the decode steps of every capture in RUNS, by number of requests."""
    for host, run, mode, setting in RUNS:
        record = records[run]
        for batch in record["arguments"]["batches"]:
            yield Step(
                host=host.upper(),
                mode=MODES[mode],
                setting=SETTINGS[setting],
                nsys=record["report"]["nsys_version"].rpartition(".")[0],
                batch=batch,
                bare=record["bare_ns"][str(batch)],
                captured=record["captured_ns"][str(batch)],
                phase=record["phases"][f"decode[batch={batch}]"],
            )


def percent(value: float, digits: int = 1) -> str:
    """Return a share of one as a signed percentage."""
    return f"{100 * value:+.{digits}f} %"


def step_table(records: Records) -> str:
    """The program's step against the workload's own clock."""
    rows = [
        (
            step.host,
            step.mode,
            step.setting,
            step.nsys,
            step.batch,
            ms(step.bare_ns),
            ms(step.captured_ns),
            ms(step.phase["wall_median_ns"]),
            percent(step.off),
        )
        for step in steps(records)
    ]
    head = (
        "host",
        "mode",
        "traced",
        "nsys",
        "requests",
        "bare, ms",
        "captured, own clock, ms",
        "captured, the program's step, ms",
        "off by",
    )
    return table(head, rows)


def correction_table(records: Records) -> str:
    """HDBI as captured and corrected, against what follows from the bare step."""
    rows = []
    for step in steps(records):
        corrected, layers = step.corrected, step.expected_layers(usual_left_out(records, step))
        offs = (
            ("-", "-") if corrected is None else [percent(corrected / value - 1) for value in (step.expected, layers)]
        )
        rows.append(
            (
                step.host,
                step.mode,
                step.setting,
                step.nsys,
                step.batch,
                ms(step.bare_ns),
                f"{step.captured_ns / step.bare_ns:.2f}",
                ms(step.active_ns, 3),
                share(step.phase["taxbreak"]["hdbi"]),
                share(corrected),
                share(step.expected),
                offs[0],
                share(layers),
                offs[1],
                step.note,
            )
        )
    head = (
        "host",
        "mode",
        "traced",
        "nsys",
        "requests",
        "bare step, ms",
        "dilation",
        "device active per step, ms",
        "HDBI captured",
        "HDBI corrected",
        "expected of the whole step",
        "off by",
        "expected of its layers",
        "off by",
        "note",
    )
    return table(head, rows)


def usual_left_out(records: Records, step: Step) -> float:
    """Return the median of `left_out` over the captures of the same host, mode and requests that have no samples.

    With samples the profiler's share of the states is not known by state.
    """
    like = (step.host, step.mode, step.batch)
    return median(
        other.left_out
        for other in steps(records)
        if (other.host, other.mode, other.batch) == like and "samples" not in other.setting
    )


def judged(records: Records, mode: str) -> list[Step]:
    """Return the steps of a mode whose correction can be judged: ranks paired, and slower captured than bare."""
    return [
        step
        for step in steps(records)
        if step.mode == mode and step.corrected is not None and step.paired and step.slowed
    ]


def correction_offs(records: Records, mode: str) -> list[float]:
    """Return how far the corrected HDBI is from the expected, of the steps that can be judged."""
    return [(step.corrected or 0) / step.expected - 1 for step in judged(records, mode)]


def layer_offs(records: Records, mode: str) -> list[float]:
    """Return how far the corrected HDBI is from what is expected of the layers' part of the bare step."""
    return [
        (step.corrected or 0) / step.expected_layers(usual_left_out(records, step)) - 1
        for step in judged(records, mode)
    ]


def captured_offs(records: Records, mode: str) -> list[float]:
    """Return how far HDBI as captured is from the expected, of the same steps."""
    return [step.phase["taxbreak"]["hdbi"] / step.expected - 1 for step in judged(records, mode)]


def active_spread(records: Records, mode: str) -> str:
    """Return how far device active per step lies apart over the trace settings of a mode, one request."""
    values = [step.active_ns for step in steps(records) if step.mode == MODES[mode] and step.batch == 1]
    return f"{ms(min(values), 3)} to {ms(max(values), 3)} ms"


def left_out_span(records: Records, mode: str) -> str:
    """Return which part of a captured step is neither orchestration nor the profiler's, by the captures of a mode.

    Captures with samples are not in it: of them the profiler's share of other states is left out as well.
    """
    shares = [step.left_out for step in steps(records) if step.mode == mode and "samples" not in step.setting]
    return f"{100 * min(shares):.0f} to {100 * max(shares):.0f} %"


def without_marks(records: Records) -> list[tuple[str, str, str, bool]]:
    """Return (run, steps of the workload, steps found without marks, whether they agree) of every capture."""
    rows = []
    for run, record in records.items():
        if "counts" in record:
            counts = record["counts"]
            own = {"prefill": counts["own_prefills"], "decode": counts["own_steps"]}
            found = counts["found"]
            shown = [", ".join(f"{steps} {phase}" for phase, steps in sorted(which.items())) for which in (own, found)]
            rows.append((run, *shown, own == found))
    return rows


def without_marks_table(records: Records) -> str:
    """Steps that the program finds when it ignores the marks."""
    rows = [(run, own, found, "yes" if same else "**no**") for run, own, found, same in without_marks(records)]
    return table(("capture", "workload", "found without marks", "the same"), rows)
