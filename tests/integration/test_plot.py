"""The figure: what is drawn adds up, and every format is what it says it is."""

from __future__ import annotations

import os
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from taxbreak_nsys.cli.all_commands import app
from taxbreak_nsys.output.layer_stack import device_busy_ns, phase_title, stack_parts
from tests.support.program import run_program

pytest.importorskip("matplotlib", reason="no matplotlib (the extra dev)")


@pytest.mark.parametrize(("suffix", "magic"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_formats(suffix: str, magic: bytes, report, tmp_path: Path) -> None:
    target = tmp_path / f"figure.{suffix}"
    run = CliRunner().invoke(app, ["plot", str(report("llama-1b")), str(report("graph-graph")), "-o", str(target)])
    assert run.exit_code == 0, run.exception
    assert target.read_bytes().startswith(magic)
    again = tmp_path / f"again.{suffix}"
    CliRunner().invoke(app, ["plot", str(report("llama-1b")), str(report("graph-graph")), "-o", str(again)])
    assert again.read_bytes() == target.read_bytes()


def test_svg_text_is_text_and_says_what_is_not_measured(report, tmp_path: Path) -> None:
    target = tmp_path / "figure.svg"
    CliRunner().invoke(app, ["plot", str(report("graph-graph")), "-o", str(target)])
    text = " ".join(ElementTree.parse(target).getroot().itertext())
    assert "HDBI not measured" in text
    assert "--cuda-graph-trace=node" in text
    assert "decode_eager" in text


def test_parts_add_up_to_the_wall_time(any_report: Path) -> None:
    from taxbreak_nsys import analyze

    result = analyze(any_report)
    for entry in result.entries:
        parts = stack_parts(entry)
        assert sum(part.ns for part in parts) == entry.wall_ns
        busy = device_busy_ns(entry)
        if busy is None:
            assert all(part.exposed_ns is None for part in parts)
        else:
            assert sum(part.exposed_ns for part in parts) == entry.wall_ns - busy
    titles = [phase_title(entry, result.entries) for entry in result.entries]
    assert len(set(titles)) == len(titles)


def test_wrong_use_is_one_line(report, tmp_path: Path) -> None:
    for name in ("figure.gif", "figure", "missing/figure.svg"):
        run = CliRunner().invoke(app, ["plot", str(report("null-kernel")), "-o", str(tmp_path / name)])
        assert run.exit_code != 0
        assert re.fullmatch(r".*figure.*", str(run.exception))
    assert list(tmp_path.iterdir()) == []


def test_a_home_folder_that_cannot_be_written_is_no_news(report, tmp_path: Path) -> None:
    target = tmp_path / "figure.svg"
    done = run_program("plot", str(report("null-kernel")), "-o", str(target), env={**os.environ, "HOME": "/dev/null"})
    assert (done.returncode, done.stderr) == (0, f"wrote {target}\n")
