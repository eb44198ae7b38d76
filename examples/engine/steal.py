"""Takes a share of one core from everything of lower priority: `steal.py CORE SHARE TURN`, until a line comes in.

In every turn of TURN us the program works for SHARE of it and sleeps for the rest. At the end it prints the share that
it really had. Best as root, with real-time priority; where that is not allowed, with the highest usual priority.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time


def main() -> None:
    """Take turns."""
    core, share, turn = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]) * 1000
    os.sched_setaffinity(0, {core})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    except PermissionError:
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, -20)
    print("taking", flush=True)
    began, had = time.perf_counter_ns(), time.thread_time_ns()
    turns = 0
    while turns % 100 or not select.select([sys.stdin], [], [], 0)[0]:
        turns += 1
        until = time.thread_time_ns() + round(share * turn)
        while time.thread_time_ns() < until:
            pass
        rest = began + turns * turn - time.perf_counter_ns()
        if rest > 0:
            time.sleep(rest / 1e9)
    print((time.thread_time_ns() - had) / (time.perf_counter_ns() - began))


if __name__ == "__main__":
    main()
