"""`taxbreak_nsys.phase`: marks a phase for nsys, or times it where there is no profiler.

The same script, run twice, gives a report and the reference to correct it by:

    TAXBREAK_REFERENCE=times.json python serve.py
    nsys profile -t cuda,nvtx,osrt -o serve python serve.py
    taxbreak-nsys serve.nsys-rep --reference times.json

Standard library alone; the NVTX range needs the package `nvtx` or PyTorch.
"""

from __future__ import annotations

import atexit
import functools
import inspect
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from taxbreak_nsys.model.name_rules import phase_label

REFERENCE_VARIABLE = "TAXBREAK_REFERENCE"
"""Names the file that the times go to; `%p` in it is replaced by the process id."""

Function = TypeVar("Function", bound=Callable[..., Any])


class phase:
    """Mark a phase: `with phase("decode"): …` or `@phase("decode")`.

    Under nsys it opens an NVTX range of that text. Where the environment names a file in TAXBREAK_REFERENCE it
    records the wall time of each instance instead, and writes the times there when the process ends, as
    `--reference` reads them. `sync` is called before the phase begins and before it ends, in both cases: give it
    what waits for the device (`torch.cuda.synchronize`), or the phase ends when the last launch is queued.

    A label's trailing number is dropped from the times, as it is from a report's phases: `decode_3` is `decode`.
    An instance that raises is not recorded. Safe in several threads; one object may not be entered twice at once.
    """

    def __init__(self, label: str, *, sync: Callable[[], object] | None = None) -> None:
        """Take the range's text and what waits for the device."""
        if not label or not label.strip():
            raise ValueError("phase: give it a label")
        self.label = label
        self.sync = sync
        self._began = 0
        self._pop: Callable[[], object] | None = None

    def __enter__(self) -> phase:
        """Begin an instance."""
        if self.sync is not None:
            self.sync()
        if os.environ.get(REFERENCE_VARIABLE):
            self._began = time.perf_counter_ns()
        else:
            push, self._pop = _nvtx()
            push(self.label)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the instance."""
        try:
            if self.sync is not None:
                self.sync()
        finally:
            if self._pop is not None:
                pop, self._pop = self._pop, None
                pop()
            elif self._began and kind is None:
                _record(phase_label(self.label), time.perf_counter_ns() - self._began)
            self._began = 0

    def __call__(self, function: Function) -> Function:
        """Return the function with every call of it an instance of the phase."""
        if (
            inspect.iscoroutinefunction(function)
            or inspect.isgeneratorfunction(function)
            or inspect.isasyncgenfunction(function)
        ):
            raise TypeError("phase: a generator or async function returns before its work is done: use with inside it")
        label, sync = self.label, self.sync

        @functools.wraps(function)
        def marked(*args: Any, **kwargs: Any) -> Any:
            with phase(label, sync=sync):
                return function(*args, **kwargs)

        return marked  # type: ignore[return-value]


_times: dict[str, list[int]] = {}
_lock = threading.Lock()
_owner = 0


def _record(label: str, ns: int) -> None:
    """Keep one instance's wall time; the first one of a process sees to it that they are written."""
    global _owner
    with _lock:
        if _owner != os.getpid():
            # a forked child has times of its own, and must not write its parent's
            _times.clear()
            _owner = os.getpid()
            atexit.register(_write, _owner)
        _times.setdefault(label, []).append(ns)


def _write(owner: int) -> None:
    """Write the times, whole or not at all; a failure is one line on stderr and never ends the program."""
    target = os.environ.get(REFERENCE_VARIABLE)
    if owner != os.getpid() or not target:
        return
    path = target.replace("%p", str(owner))
    with _lock:
        data = {label: _entry(sorted(times)) for label, times in _times.items()}
    unfinished = None
    try:
        handle, unfinished = tempfile.mkstemp(prefix=".taxbreak-", dir=os.path.dirname(path) or ".")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(data, file, indent=1)
            file.write("\n")
        os.chmod(unfinished, 0o644)
        os.replace(unfinished, path)
    except OSError as error:
        print(f"taxbreak_nsys.phase: {path}: cannot be written ({error.strerror})", file=sys.stderr)
        if unfinished is not None and os.path.exists(unfinished):
            os.unlink(unfinished)


def _entry(times: list[int]) -> dict[str, Any]:
    """Return what a reference file says of a phase; the median is one of the times, as in a report."""
    return {
        "instances": len(times),
        "median_ms": times[(len(times) - 1) // 2] / 1e6,
        "min_ms": times[0] / 1e6,
        "max_ms": times[-1] / 1e6,
    }


@functools.cache
def _nvtx() -> tuple[Callable[[str], object], Callable[[], object]]:
    """Return what pushes and pops an NVTX range: the package nvtx, else PyTorch's; else nothing does, with a note."""
    try:
        import nvtx

        return nvtx.push_range, nvtx.pop_range
    except ImportError:
        pass
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "cuda") and torch.cuda.is_available():
        return torch.cuda.nvtx.range_push, torch.cuda.nvtx.range_pop
    if "NSYS_PROFILING_SESSION_ID" in os.environ:
        print(
            "taxbreak_nsys.phase: marks nothing: install the package nvtx (pip install 'taxbreak-nsys[nvtx]')",
            file=sys.stderr,
        )
    return (lambda text: None), (lambda: None)
