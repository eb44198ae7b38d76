"""What an engine that runs ahead waits for: the event of the step before, as far as the report tells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from taxbreak_nsys.arrays.intervals import FOREVER
from taxbreak_nsys.model import name_rules
from taxbreak_nsys.options import Options
from taxbreak_nsys.pipeline.analysis import analyze_report, measure_report
from taxbreak_nsys.replay.prediction import Replay
from taxbreak_nsys.replay.scenarios import Scenario
from taxbreak_nsys.result import Result
from tests.support.engine_reports import EngineReport
from tests.support.reports import find_report

STEP = 1_000
STEPS = 8
SYNCHRONISATION = "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION"


def running_ahead(number_of: Callable[[int], int] | None = None) -> EngineReport:
    """Steps of 1000 us, whose three kernels take 250 us each; a step waits for the event of the step before.

    Each step creates two events: one that the copy stream waits for, one that is recorded behind the copy. `number_of`
    gives the number that nsys states for the nth event; None: 100 and on.
    """
    report, number = EngineReport(), number_of or (lambda nth: 100 + nth)
    thread = report.thread()
    process = thread & ~0xFFFFFF
    for step in range(STEPS):
        zero = 1_000 + step * STEP
        report.mark(thread, 0, 1, zero, zero + 700)
        for launch in range(3):
            at = zero + 10 + 230 * launch
            report.kernels(thread, (at, at + 10), [(max(at + 20, zero + 30 + 250 * launch), zero + 280 + 250 * launch)])
        report.call(thread, "cudaEventCreateWithFlags_v11010", zero + 710, zero + 712)
        report.call(thread, "cudaEventRecordWithFlags_v11010", zero + 715, zero + 717)
        report.call(thread, "cudaStreamWaitEvent_v3020", zero + 720, zero + 725)
        synchronised(report, process, zero + 721, number(2 * step))
        report.call(thread, "cudaEventCreateWithFlags_v11010", zero + 730, zero + 732)
        report.call(thread, "cudaEventRecordWithFlags_v11010", zero + 735, zero + 737)
        if step:
            # in the report the device is done when the host asks, as in an eager step
            report.call(thread, "cudaEventSynchronize_v3020", zero + 850, zero + 860)
            synchronised(report, process, zero + 851, number(2 * step - 1))
        report.call(thread, "cudaEventQuery_v3020", zero + 870, zero + 875)
        synchronised(report, process, zero + 871, 7)
    report.mark(thread, 0, 0, 1_000 + STEPS * STEP, 1_010 + STEPS * STEP)
    return report


def synchronised(report: EngineReport, process: int, at: int, event: int) -> None:
    row = {"start": report.at(at), "end": report.at(at) + 500, "globalPid": process, "correlationId": 0}
    report.add(SYNCHRONISATION, **row, syncType=2, eventId=event)


def records(result: Result) -> tuple[list[int], list[int]]:
    """Return the starts of the waits for events and the times when these were recorded, ns."""
    columns = result.replay_part.columns
    assert columns.recorded is not None
    waits = columns.api.named(name_rules.waits_for_event)
    return columns.api.start[waits].tolist(), columns.recorded[waits].tolist()


def test_a_wait_is_for_the_event_of_the_step_before(tmp_path: Path) -> None:
    report = running_ahead()
    starts, recorded = records(analyze_report(report.write(tmp_path / "ahead.sqlite")))
    assert starts == [report.at(1_000 + step * STEP + 850) for step in range(1, STEPS)]
    assert recorded == [report.at(1_000 + step * STEP + 735) for step in range(STEPS - 1)]


def test_numbers_that_jump_tell_nothing_across_the_jump(tmp_path: Path) -> None:
    # from the 4th step on the numbers are 10 higher: another thread created events that the report lost
    report = running_ahead(lambda nth: 100 + nth + (10 if nth >= 8 else 0))
    _, recorded = records(analyze_report(report.write(tmp_path / "jump.sqlite")))
    known = [report.at(1_000 + step * STEP + 735) for step in range(STEPS)]
    assert recorded == [*known[:3], FOREVER, *known[4:-1]]


def test_numbers_in_use_again_tell_nothing(tmp_path: Path) -> None:
    report = running_ahead(lambda nth: 100 + nth % 2)
    _, recorded = records(analyze_report(report.write(tmp_path / "again.sqlite")))
    assert set(recorded) == {FOREVER}


def test_a_report_without_the_table_tells_nothing(tmp_path: Path) -> None:
    report = running_ahead()
    del report.tables[SYNCHRONISATION]
    assert analyze_report(report.write(tmp_path / "without.sqlite")).replay_part.columns.recorded is None


@pytest.mark.parametrize("whole", [False, True])
def test_steps_that_run_ahead_overlap_in_a_forecast(tmp_path: Path, whole: bool) -> None:
    """Without framework time the device's 750 us bound a step: a host that runs ahead hides its own time.

    If each step waited for its own kernels, the host's way from there to the next launch would add to them.
    """

    def predicted(report: EngineReport, name: str) -> int:
        path = report.write(tmp_path / name)
        replay = Replay.of_columns(*measure_report(path, Options())) if whole else Replay(analyze_report(path))
        (decode,) = [found for found in replay.predict(Scenario(framework=0.0, library=0.0)) if found.phase == "decode"]
        assert decode.predicted_wall_median_ns is not None
        return decode.predicted_wall_median_ns

    without = running_ahead()
    del without.tables[SYNCHRONISATION]
    ahead, alone = predicted(running_ahead(), "ahead.sqlite"), predicted(without, "without.sqlite")
    assert ahead == pytest.approx(750_000, rel=0.01)
    assert alone > ahead + 15_000


@pytest.mark.parametrize("name", ["vllm-eager", "vllm-graph", "vllm-mixed", "vllm-olmoe-eager", "vllm-sampled"])
def test_work_before_the_record_is_done_when_the_wait_ends(name: str) -> None:
    """What a wait cannot return before: every kernel that its thread launched before the event was recorded."""
    columns = analyze_report(find_report(name)).replay_part.columns
    assert columns.recorded is not None
    launch = columns.launches.of_op
    own = launch >= 0
    called, thread = columns.launches.start[launch[own]], columns.launches.thread[launch[own]]
    known = np.flatnonzero(columns.recorded < FOREVER)
    assert len(known) >= 5
    for call in known.tolist():
        before = (called < columns.recorded[call]) & (thread == columns.api.thread[call])
        assert before.any()
        assert columns.ops.end[own][before].max() <= columns.api.end[call]
        # and the event is not of this step: it runs ahead
        marked = columns.instances.start[columns.instances.thread == columns.api.thread[call]]
        step = np.searchsorted(marked, [columns.recorded[call], columns.api.start[call]], side="right")
        assert step[0] == step[1] - 1
