"""Stretches of a large report: contiguous, the same for verdict and `whatif`, whatever the windows of reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from taxbreak_nsys import Result
from taxbreak_nsys.pipeline.analysis import analyze_report, measure_report
from taxbreak_nsys.replay import stretches
from taxbreak_nsys.replay.levers import LEVERS
from taxbreak_nsys.replay.prediction import Replay
from taxbreak_nsys.replay.scenarios import Scenario
from tests.support.simulated_program import Instruction, Launch, Python, Simulation, Step, Synchronise

WHOLE = 10**9
"""Rows of a window that is larger than any report here."""


@pytest.fixture(autouse=True)
def small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take reports of more than 400 launches for large."""
    monkeypatch.setattr(stretches, "WHOLE_LAUNCHES", 400)
    monkeypatch.setattr(stretches, "LEAST_LAUNCHES", 60)


def program(steps: int) -> list[Instruction]:
    """Return steps of two kinds; each waits for the one before, so that backlog crosses their ends."""
    kinds: list[Instruction] = []
    for number in range(steps):
        short = Step(f"decode_{number}", (*(Launch(40), Python(9 + number % 3)) * 5, Synchronise(leave=5)))
        long = Step(f"prefill_{number}", (*(Launch(90), Python(30)) * 12, Synchronise(leave=12)))
        kinds += [long if number % 8 == 0 else short]
    return [*kinds, Step("decode_999", (Launch(5), Synchronise()))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Simulation().run(program(120)).write(tmp_path / "large.sqlite")


def windows(result: Result) -> list[tuple[int, int]]:
    chosen = result.replay_part.windows
    assert chosen is not None
    return [span for spans in chosen.values() for span in spans]


@pytest.mark.parametrize("rows", [150, 400, 900])
def test_the_choice_does_not_depend_on_how_the_report_is_read(path: Path, rows: int) -> None:
    whole, windowed = analyze_report(path, window_rows=WHOLE), analyze_report(path, window_rows=rows)
    assert windows(windowed) == windows(whole)
    assert [entry.verdict for entry in windowed.entries] == [entry.verdict for entry in whole.entries]


def test_stretches_hold_whole_instances_in_a_row_and_few_launches(path: Path) -> None:
    result = analyze_report(path)
    instances = result.instances
    launches = result.replay_part.columns.launches
    assert len(launches) < 400 < 120 * 5
    for low, high in windows(result):
        inside = np.flatnonzero((instances.end > low) & (instances.start < high))
        assert np.all(np.diff(inside) == 1)
        assert instances.start[inside[0]] == low
        assert instances.end[inside[-1]] == high
    labels = {instances.labels[code] for low, high in windows(result)
              for code in instances.label[(instances.start >= low) & (instances.end <= high)].tolist()}  # fmt: skip
    assert labels == {"decode", "prefill"}


def test_unchanged_stretches_give_back_what_was_measured(path: Path) -> None:
    for one in Replay(analyze_report(path)).predict(Scenario()):
        assert one.replayed_instances < one.instances
        assert one.predicted_wall_ns == one.wall_ns
        assert one.unchanged_error == 0


def test_stretches_say_what_the_whole_says(path: Path) -> None:
    result = analyze_report(path)
    sampled, whole = Replay(result), Replay.of_columns(*measure_report(path))
    for lever in LEVERS:
        for part, all_of_it in zip(sampled.predict(lever.half), whole.predict(lever.half), strict=True):
            if part.reason is None:
                assert all_of_it.replayed_instances == all_of_it.instances
                assert part.saved_share == pytest.approx(all_of_it.saved_share, abs=0.05), lever.name


def test_an_instance_longer_than_a_stretch_is_replayed_in_its_middle(tmp_path: Path) -> None:
    body = (Launch(4), Python(20)) * 900
    path = Simulation().run([Step("long", (*body, Synchronise()))]).write(tmp_path / "long.sqlite")
    result = analyze_report(path)
    ((low, high),) = windows(result)
    assert result.instances.start[0] < low < high < result.instances.end[0]
    (entry,) = result.entries
    assert entry.verdict.target == "framework_library"
    assert entry.verdict.savings["framework_library"] == pytest.approx(0.4, abs=0.02)
