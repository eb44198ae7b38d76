"""What this machine permits a profiler to do."""

from __future__ import annotations

import os
import re
from pathlib import Path

from taxbreak_nsys.nsys.nsys_program import Nsys

PARANOID_FILE = Path("/proc/sys/kernel/perf_event_paranoid")
MOST_PARANOID = 2
"""The highest perf_event_paranoid at which nsys may sample a process tree without root."""


def paranoid_level() -> int | None:
    """Return the kernel's perf_event_paranoid, or None where there is no such thing."""
    try:
        return int(PARANOID_FILE.read_text())
    except (OSError, ValueError):
        return None


def sampling_problem(nsys: Nsys | None) -> str | None:
    """Return why CPU sampling of a process tree will not work, with the remedy, or None where it will.

    What nsys itself says counts most: it also sees a container that forbids the system call.
    """
    said = re.search(r"CPU Profiling Environment \(process-tree\):\s*(\w+)", nsys.ask("status", "-e")) if nsys else None
    if said and said[1] == "OK":
        return None
    level = paranoid_level()
    if level is not None and level > MOST_PARANOID and os.geteuid() != 0:
        return (
            f"perf_event_paranoid is {level}; run 'sudo sysctl kernel.perf_event_paranoid={MOST_PARANOID}', or as root"
        )
    if said:
        return (
            "nsys says so ('nsys status -e'); in a container allow perf_event_open, as with "
            "'docker run --cap-add=SYS_ADMIN' or a seccomp profile that permits it"
        )
    return None
