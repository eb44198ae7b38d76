"""Capturing a server that runs: it is started once under `nsys launch`, then recorded by `nsys start` and `nsys stop`.

nsys cannot trace a process that was not started under it; a session that was launched records as often as asked.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from taxbreak_nsys.capture.nsys_command import Plan
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.nsys.nsys_program import Nsys

_OF_START = frozenset(
    {"--sample", "--backtrace", "--cpuctxsw", "--sampling-period", "--samples-per-backtrace", "--output"}
    | {"--force-overwrite", "--capture-range", "--capture-range-end"}
)
"""The options of a `nsys profile` command that belong to `nsys start`; all others belong to `nsys launch`."""
_LAUNCHED = "Launched"
_SESSION_LINE = re.compile(r"^\s*(?P<id>\d+)\s+\S+\s+(?P<state>\S+)\s+\d+\s+(?P<name>\S.*?)\s*$", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z][\w-]*")
_STDERR = 2
_A_YEAR = 365 * 86400.0


@dataclass(frozen=True)
class Session:
    """One session that `nsys sessions list` shows; `state` is `Launched` where it waits to be recorded."""

    id: str
    name: str
    state: str


def launch_command(plan: Plan, session: str, program: Sequence[str], extra: Sequence[str]) -> tuple[str, ...]:
    """Return the `nsys launch` command of a session, from a plan for no program; `extra` options go in unchanged.

    Raises TaxbreakError for a name that nsys does not take.
    """
    if not _NAME.fullmatch(session):
        raise TaxbreakError(f"--session {session!r}: give a name of letters, digits, - and _ that begins with a letter")
    launch = [option for option in plan.command[2:] if option.partition("=")[0] not in _OF_START]
    return ("nsys", "launch", f"--session-new={session}", *launch, *extra, *program)


def start_command(plan: Plan, session: Session, extra: Sequence[str]) -> tuple[str, ...]:
    """Return the `nsys start` command that records a session into the plan's report, with `extra` options unchanged."""
    options = [option for option in plan.command[2:] if option.partition("=")[0] in _OF_START]
    return ("nsys", "start", f"--session={session.name}", *options, *extra)


def sessions(nsys: Nsys) -> list[Session]:
    """Return the sessions of this machine and user."""
    found = _SESSION_LINE.finditer(nsys.ask("sessions", "list"))
    return [Session(line["id"], line["name"], line["state"]) for line in found]


def ready_session(nsys: Nsys, name: str) -> Session:
    """Return the session of a name or id; raises TaxbreakError if there is none, or if it is not ready to record.

    `nsys start` itself succeeds for a session that does not exist, and records nothing.
    """
    known = sessions(nsys)
    session = next((each for each in known if name in (each.name, each.id)), None)
    if session is None:
        there = ", ".join(each.name for each in known) or "none; start one with: taxbreak-nsys capture --session NAME"
        raise TaxbreakError(f"--attach {name}: no such session; the sessions are: {there}")
    if session.state != _LAUNCHED:
        raise TaxbreakError(f"--attach {name}: the session is not ready to be recorded: its state is {session.state}")
    return session


def run_launch(command: Sequence[str]) -> int:
    """Run a session until its program ends, and return the exit status; Ctrl-C goes to the program."""
    process = _started(command, None)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the program received the signal too


def record(start: Sequence[str], report: Path, session: Session, seconds: float | None) -> None:
    """Record a session by the command `start` for some seconds, or until Ctrl-C, which ends a recording early.

    Raises TaxbreakError if nsys writes no report.
    """
    before = report.stat().st_mtime_ns if report.exists() else None
    status = _started(start, _STDERR).wait()
    if status:
        raise TaxbreakError(f"--attach {session.name}: nsys did not start recording (status {status})")
    try:
        time.sleep(_A_YEAR if seconds is None else seconds)
    except KeyboardInterrupt:
        pass
    finally:
        status = _started(("nsys", "stop", f"--session={session.name}"), _STDERR).wait()
    if not report.exists() or report.stat().st_mtime_ns == before:
        raise TaxbreakError(f"{report}: nsys wrote no report (nsys stop ended with status {status})")


def no_cuda_message(session: str, export: Path) -> str:
    """Return why a recording may contain no CUDA work, and the remedy."""
    return (
        f"{export}: {session} made no CUDA calls with device work while it was recorded: send it requests in this "
        "time, or, if its children do the work, start the session with --engine or "
        "--nsys=--trace-fork-before-exec=true"
    )


def _started(command: Sequence[str], stdout: int | None) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, stdout=stdout)
    except OSError as error:
        raise TaxbreakError(f"{command[0]}: cannot be run ({error.strerror})") from error
