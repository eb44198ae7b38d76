"""Checks if this machine permits CPU sampling."""

from __future__ import annotations

import os
import re
from pathlib import Path

from taxbreak_nsys.nsys.nsys_program import Nsys

PARANOID_FILE = Path("/proc/sys/kernel/perf_event_paranoid")
MOST_PARANOID = 2
"""The highest perf_event_paranoid at which nsys may sample a process tree without root."""


def paranoid_level() -> int | None:
    """Return the kernel's perf_event_paranoid, or None if the kernel has no such setting."""
    try:
        return int(PARANOID_FILE.read_text())
    except (OSError, ValueError):
        return None


def sampling_problem(nsys: Nsys | None) -> str | None:
    """Return why CPU sampling of a process tree will not work, with the remedy after `; `; None if it will work.

    The answer of `nsys status -e` takes precedence, because it also covers containers that forbid the system call.
    """
    answer = nsys.ask("status", "-e") if nsys else ""
    status = re.search(r"CPU Profiling Environment \(process-tree\):\s*(\w+)", answer)
    if status and status[1] == "OK":
        return None
    level = paranoid_level()
    if level is not None and level > MOST_PARANOID and os.geteuid() != 0:
        return (
            f"perf_event_paranoid is {level}; run 'sudo sysctl kernel.perf_event_paranoid={MOST_PARANOID}', or as root"
        )
    if status:
        return (
            "nsys says so ('nsys status -e'); in a container allow perf_event_open, for example with "
            "'docker run --cap-add=SYS_ADMIN' or a seccomp profile that permits it"
        )
    return None
