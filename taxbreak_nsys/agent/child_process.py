"""The process that answers one call: `python -m taxbreak_nsys.agent.child_process BYTES query|command ARGUMENTS…`.

A huge or hostile report can crash this process, but not the server. The server holds the other end of the process's
standard input, so the process ends when the server does.
"""

from __future__ import annotations

import os
import resource
import runpy
import sys
import threading

from taxbreak_nsys.arrays.thread_start import start_thread

OUT_OF_MEMORY = 3
"""The exit code of a call that exceeded its memory limit."""


def main() -> None:
    """Limit this process's memory, then answer the call."""
    most_bytes, kind, *arguments = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_DATA, (int(most_bytes), int(most_bytes)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    start_thread(threading.Thread(target=_end_with_server, daemon=True))
    try:
        if kind == "query":
            from taxbreak_nsys.agent.read_only_query import print_answer

            print_answer(*arguments)
        else:
            sys.argv = ["taxbreak-nsys", *arguments]
            runpy.run_module("taxbreak_nsys", run_name="__main__")
    except MemoryError:
        sys.exit(OUT_OF_MEMORY)


def _end_with_server() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
