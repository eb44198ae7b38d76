"""`capture --session` and `--attach`: a server is started under nsys once and recorded while it runs."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from taxbreak_nsys import TaxbreakError
from taxbreak_nsys.capture.nsys_command import EVIDENCES
from taxbreak_nsys.capture.nsys_session import sessions
from taxbreak_nsys.cli.all_commands import app
from tests.support.fake_nsys import CALLS, RECORDS_NOTHING, SESSIONS
from tests.support.program import COMMAND, run_program
from tests.support.real_nsys import need_nsys
from tests.support.reports import ROOT, SAMPLES

LISTS = ROOT / "tests" / "support" / "nsys_options"
READY = "         1031671        00:05                    Launched      1 srv"
BUSY = "         1031672        00:07                  Collection      1 other"


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[str]]]:
    """Put an nsys on PATH with a session that is ready and one that is not; return what it was called with."""
    program = tmp_path / "bin" / "nsys"
    program.parent.mkdir()
    stand_in = ROOT / "tests" / "support" / "fake_nsys.py"
    parts = [sys.executable, stand_in, LISTS / "2023.4.txt", SAMPLES / "llama-1b.sqlite"]
    program.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, parts))} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv(SESSIONS, f"{READY}\n{BUSY}")
    monkeypatch.setenv(CALLS, str(tmp_path / "calls"))
    monkeypatch.chdir(tmp_path)

    def called() -> list[list[str]]:
        held = tmp_path / "calls"
        return [shlex.split(line) for line in held.read_text().splitlines()] if held.exists() else []

    return called


def run(*arguments: str):
    return CliRunner().invoke(app, ["capture", *arguments])


@pytest.mark.parametrize("evidence", list(EVIDENCES))
def test_both_halves_together_have_the_options_of_profile(calls, evidence: str) -> None:
    options = ("--evidence", evidence, "-o", "run", "--dry-run")
    whole = shlex.split(run(*options, "--", "serve", "--port=1").stdout)
    launch = shlex.split(run(*options, "--session", "srv", "--", "serve", "--port=1").stdout)
    start = shlex.split(run(*options, "--attach", "srv").stdout)
    assert launch[:3] == ["nsys", "launch", "--session-new=srv"]
    assert launch[-2:] == whole[-2:] == ["serve", "--port=1"]
    assert start[:3] == ["nsys", "start", "--session=srv"]
    assert sorted([*launch[3:-2], *start[3:]]) == sorted(whole[2:-2])
    names = {option.partition("=")[0] for option in launch[3:-2]}
    assert {"--trace", "--cuda-graph-trace"} <= names
    assert not names & {"--sample", "--backtrace", "--output", "--cpuctxsw"}
    assert calls() == []


def test_each_half_belongs_to_a_command_of_the_real_nsys() -> None:
    nsys = need_nsys()
    for evidence in EVIDENCES:
        launch = run("--evidence", evidence, "--session", "srv", "--dry-run", "--", "serve").stdout
        known = nsys.ask("launch", "--help")
        for option in shlex.split(launch)[2:-1]:
            assert f"{option.partition('=')[0]}=" in known, option


def test_a_session_runs_the_program_and_passes_its_status_on(calls) -> None:
    done = run("--session", "srv", "--engine", "vllm", "--nsys=--wait=all", "--", "sh", "-c", "exit 7")
    assert done.exit_code == 7
    assert "--attach srv --evidence ranges --seconds 10" in done.stderr
    [launch] = calls()
    assert "--trace-fork-before-exec=true" in launch
    assert "--wait=all" in launch


def test_attach_records_exports_and_analyses(calls, tmp_path: Path) -> None:
    for name in ("srv", "1031671"):
        done = run("--attach", name, "--seconds", "0.2", "-o", "run", "--force-overwrite", "--nsys=--stats=false")
        assert done.exit_code == 0, done.output
        assert "HDBI 0.059" in done.stdout
    start, stop = calls()[-2:]
    assert start[:2] == ["start", "--session=srv"]
    assert start[-1] == "--stats=false"
    assert stop == ["stop", "--session=srv"]
    assert (tmp_path / "run.sqlite").exists()
    again = run("--attach", "srv", "-o", "run")
    assert "--force-overwrite" in str(again.exception)
    assert len(calls()) == 4, "nothing is recorded where the report could not be written"


def test_ctrl_c_ends_a_recording(calls, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "capture", "--attach", "srv", "-o", "run"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, preexec_fn=_interruptible,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not any(call[0] == "start" for call in calls()) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "HDBI 0.059" in out
    assert "recording srv: Ctrl-C ends the recording" in err
    assert [call[0] for call in calls()] == ["start", "stop"]


def _interruptible() -> None:
    """Undo what a shell does to programs in the background: they ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--attach", "nosuch"], "--attach nosuch: no such session; the sessions are: srv, other"),
        (["--attach", "other"], "not ready to be recorded: its state is Collection"),
        (["--attach", "srv", "--", "true"], "give neither a COMMAND nor --session"),
        (["--attach", "srv", "--session", "srv"], "give neither a COMMAND nor --session"),
        (["--session", "my server", "--", "true"], "give a name of letters"),
        (["--session", "srv"], "Missing argument 'COMMAND...'"),
        (["--seconds", "3", "--", "true"], "--seconds needs --attach"),
        ([], "Missing argument 'COMMAND...'"),
    ],
)
def test_wrong_use_is_one_line(calls, arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert isinstance(done.exception, TaxbreakError)
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)
    assert calls() == []


def test_a_recording_without_a_report_is_an_error(calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RECORDS_NOTHING, "1")
    done = run("--attach", "srv", "--seconds", "0.1", "-o", "run")
    assert "run.nsys-rep: nsys wrote no report" in str(done.exception)


def test_a_real_session_is_recorded_while_it_runs(tmp_path: Path) -> None:
    nsys = need_nsys()
    name = f"taxbreak-test-{os.getpid()}"
    program = "import time\nfor _ in range(600):\n    time.sleep(0.05)"
    server = subprocess.Popen(
        [*COMMAND, "capture", "--session", name, "--evidence", "light", "--", sys.executable, "-c", program],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while server.poll() is None and not any(
            each.name == name and each.state == "Launched" for each in sessions(nsys)
        ):
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)
        if not any(each.name == name for each in sessions(nsys)):
            pytest.skip("nsys cannot launch a session here")
        done = run_program("capture", "--attach", name, "--evidence", "light", "--seconds", "1", "-o", tmp_path / "run")
        # no GPU is needed to see that a part of the run was recorded; without CUDA rows the analysis refuses it
        assert (tmp_path / "run.sqlite").exists(), done.stderr
        assert done.returncode == 2
        assert f"{name} made no CUDA calls with device work while it was recorded" in done.stderr.splitlines()[-1]
        assert server.poll() is None, "the server goes on"
    finally:
        subprocess.run([str(nsys.program), "shutdown", f"--session={name}", "--kill=sigterm"], check=False)
        server.kill()
        server.wait()
