"""A bad day: output closed or full, memory that is short, names that are odd. One line each, and no traceback."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.program import COMMAND, one_line, run_program
from tests.support.reports import find_report

COMMANDS = (("analyze",), ("analyze", "-f", "json"), ("diff", "{r}"), ("whatif",), ("doctor",), ("scrub",))


@pytest.fixture
def report() -> Path:
    return find_report("null-kernel")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_full_output_is_one_line(command: tuple[str, ...], report: Path) -> None:
    name, *rest = (part.format(r=report) for part in command)
    with open("/dev/full", "w") as full:
        done = run_program(name, report, *rest, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 74, done.stderr
    assert done.stderr == "taxbreak-nsys: standard output: No space left on device; nothing more could be written\n"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_closed_output_is_one_line(command: tuple[str, ...], report: Path) -> None:
    name, *rest = (part.format(r=report) for part in command)
    shell = 'exec "$@" >&-'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", *COMMAND, name, report, *rest], capture_output=True, text=True, check=False
    )
    assert done.returncode == 74, done.stderr
    assert done.stderr == "taxbreak-nsys: standard output: is closed; nothing more could be written\n"


def test_closed_streams_reach_no_file(report: Path, tmp_path: Path) -> None:
    """With 0 to 2 closed, the next file opened would be number 1, and a note would be written into it."""
    copy = tmp_path / "r.sqlite"
    shutil.copy(report, copy)
    before = copy.read_bytes()
    shell = 'exec "$@" <&- >&- 2>&-'
    subprocess.run(["sh", "-c", shell, "sh", *COMMAND, copy, "-f", "json", "-o", tmp_path / "j"], check=True)
    assert copy.read_bytes() == before
    assert (tmp_path / "j").read_text() == run_program(copy, "-f", "json").stdout


def test_a_reader_that_went_away_is_no_error(report: Path) -> None:
    process = subprocess.Popen([*COMMAND, report, "-f", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait(60) in (0, 1)


@pytest.mark.parametrize("name", ["a" * 300, "x/" * 3000, "nul\0"])
def test_impossible_names_are_one_line(name: str, report: Path) -> None:
    if "\0" not in name:
        one_line(run_program(name))
        one_line(run_program(report, "-f", "json", "-o", name))
        one_line(run_program("store", "query", "SELECT 1", "--store", name))
        one_line(run_program("analyze", report, "--null-report", name))
    from taxbreak_nsys import TaxbreakError, analyze

    with pytest.raises(TaxbreakError):
        analyze(name)


def test_a_name_that_is_no_utf8_is_at_fault(report: Path, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/caf\xe9.sqlite"
    shutil.copy(report, odd)
    said = one_line(run_program(odd))
    assert "not UTF-8" in said
    assert "damaged" not in said
    assert r"caf\xe9.sqlite" in said


@pytest.mark.parametrize("megabytes", [100, 180, 300, 450, 600])
def test_short_memory_is_one_line(megabytes: int) -> None:
    limit = megabytes << 20
    done = run_program(
        find_report("inject"), "-f", "json", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    )
    if done.returncode == 0:
        assert done.stderr == ""
        return
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert "not enough memory" in done.stderr or "Memory allocation" in done.stderr  # the latter is OpenBLAS's own


@pytest.mark.parametrize("url", ["postgresql://u@h:port/d", "postgresql://u@h:99999999/d", "mysql://h/d", "sqlite:///"])
def test_bad_store_url_is_one_line(url: str) -> None:
    one_line(run_program("store", "query", "SELECT 1", "--store", url))


def test_a_hole_behind_a_report_is_refused_at_once(report: Path, tmp_path: Path) -> None:
    for size in (1 << 40, report.stat().st_size + 4096):
        copy = tmp_path / "r.sqlite"
        shutil.copy(report, copy)
        copy.chmod(0o644)
        os.truncate(copy, size)
        assert "behind its last page" in one_line(run_program(copy, timeout=20))


def test_a_hole_that_the_header_counts_is_refused_at_once(report: Path, tmp_path: Path) -> None:
    copy = tmp_path / "r.sqlite"
    data = bytearray(report.read_bytes())
    page = int.from_bytes(data[16:18], "big")
    data[28:32] = ((1 << 40) // page).to_bytes(4, "big")
    copy.write_bytes(data)
    os.truncate(copy, 1 << 40)
    assert "is a hole" in one_line(run_program(copy, timeout=20))
    data[24:28] = b"\0\0\0\1"  # counters that disagree: the number of pages would not hold
    copy.write_bytes(data)
    os.truncate(copy, 1 << 40)
    assert "header is damaged" in one_line(run_program(copy, timeout=20))
