"""What `whatif --graphs` leaves outside of the graphs: the host's input, and what an engine does between its marks."""

from __future__ import annotations

from pathlib import Path

import pytest

from taxbreak_nsys.pipeline.analysis import analyze_report
from taxbreak_nsys.replay.prediction import Prediction, Replay
from taxbreak_nsys.replay.scenarios import Scenario
from tests.support.engine_reports import MEMCPY, EngineReport

FROM_HOST, ON_DEVICE = 1, 8
STEP, STEPS = 1_000, 6


def steps(*, copy_kind: int, mark: int | None) -> EngineReport:
    """Steps of 1000 us: a kernel, at 300 us a copy, then four more kernels 100 us apart, and a wait at 900 us.

    The steps are an engine's, marked for `mark` us, or a program's own ranges (None).
    """
    report = EngineReport()
    thread = report.thread()
    for step in range(STEPS):
        zero = 1_000 + step * STEP
        if mark is None:
            report.range(thread, "decode", zero, zero + 950)
        else:
            report.mark(thread, 0, 1, zero, zero + mark)
        for at in (10, 400, 500, 600, 700):
            report.kernels(thread, (zero + at, zero + at + 5), [(zero + at + 10, zero + at + 15)])
        report.copy(thread, (zero + 300, zero + 305), (zero + 310, zero + 312))
        report.tables[MEMCPY][-1]["copyKind"] = copy_kind
        report.call(thread, "cudaDeviceSynchronize_v3020", zero + 900, zero + 905)
    if mark is not None:
        report.mark(thread, 0, 0, 1_000 + STEPS * STEP, 1_010 + STEPS * STEP)
    return report


def predicted(path: Path, report: EngineReport) -> tuple[int, Prediction]:
    """Return the median predicted step, ns, and the prediction."""
    replay = Replay(analyze_report(report.write(path)))
    (decode,) = [found for found in replay.predict(Scenario(graphs=True)) if found.phase == "decode"]
    assert decode.predicted_wall_median_ns is not None
    return decode.predicted_wall_median_ns, decode


def test_the_host_still_prepares_what_it_copies(tmp_path: Path) -> None:
    on_device, one_graph = predicted(tmp_path / "device.sqlite", steps(copy_kind=ON_DEVICE, mark=None))
    from_host, behind_copy = predicted(tmp_path / "host.sqlite", steps(copy_kind=FROM_HOST, mark=None))
    assert (one_graph.graphs, behind_copy.graphs) == (STEPS, STEPS)
    # the graph begins with the launch at 400 us instead of that at 10 us
    assert from_host - on_device == pytest.approx(390_000, abs=15_000)


def test_an_engine_samples_beside_its_graphs(tmp_path: Path) -> None:
    whole, _ = predicted(tmp_path / "whole.sqlite", steps(copy_kind=ON_DEVICE, mark=800))
    part, _ = predicted(tmp_path / "part.sqlite", steps(copy_kind=ON_DEVICE, mark=550))
    # the launches at 600 us and 700 us are behind the mark: from 505 us to 705 us the host's time stays
    assert part - whole == pytest.approx(200_000, abs=15_000)
