"""Every layout that nsys has exported since 2020 gives the same figures for the same events."""

from __future__ import annotations

from pathlib import Path

import pytest

from taxbreak_nsys import TaxbreakError, analyze
from taxbreak_nsys.model.name_rules import STATES
from tests.support.report_builder import (
    ACTIVE_OF_A_STEP,
    PID,
    STATES_OF_A_STEP,
    US,
    VARIATIONS,
    VERSIONS,
    Variation,
    Version,
    build,
)


@pytest.mark.parametrize("variation", VARIATIONS, ids=lambda v: v.name)
@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.name)
def test_same_figures_in_every_layout(version: Version, variation: Variation, tmp_path: Path) -> None:
    result = analyze(build(tmp_path / "report.sqlite", version, variation))
    assert [(e.phase, e.process, e.thread, e.instances) for e in result.entries] == [
        ("prefill", PID, PID, 1),
        ("decode", PID, PID, 3),
    ]
    for entry in result.entries:
        steps = entry.instances
        assert entry.wall_ns == 100 * US * steps
        assert entry.states_ns == {state: STATES_OF_A_STEP.get(state, 0) * US * steps for state in STATES}
        assert entry.device.active_ns == ACTIVE_OF_A_STEP * US * steps
        assert entry.device.idle_ns == (100 - ACTIVE_OF_A_STEP) * US * steps
        assert entry.kernels == entry.launches.kernel == 2 * steps
        assert entry.taxbreak.evidence == "ranges"
    assert result.outside.kernels == 0
    assert result.report.schema_version == version.schema
    assert "rows_left_out" not in {warning.code for warning in result.report.warnings}


def test_two_processes_in_a_layout_that_does_not_tell_them_apart(tmp_path: Path) -> None:
    path = build(tmp_path / "report.sqlite", VERSIONS[0], Variation(second_process=True))
    with pytest.raises(TaxbreakError, match="does not say which of several processes"):
        analyze(path)


def test_two_processes_share_correlation_ids_but_no_kernels(tmp_path: Path) -> None:
    path = build(tmp_path / "report.sqlite", VERSIONS[3], Variation(second_process=True))
    entries = [e for e in analyze(path).entries if not e.combined]
    assert {(e.process, e.kernels) for e in entries if e.phase == "decode"} == {(PID, 6), (PID + 1, 6)}
