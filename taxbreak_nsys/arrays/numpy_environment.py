"""Environment variables that numpy reads when it is imported; this module does not import it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_CPU_INFO_BYTES = 4096
"""Enough for the first processor in /proc/cpuinfo."""
_OWN: list[str] = []


def numpy_settings() -> dict[str, str]:
    """Return the variables that make numpy fast for this program on this machine.

    numpy's linear algebra is not used, but its idle threads would spin for a tenth of a second. On AMD Zen 4, numpy's
    sort takes 5.5 times as long with AVX-512 as without (numpy/x86-simd-sort issue 6).
    """
    return {"OPENBLAS_NUM_THREADS": "1"} | ({"NPY_DISABLE_CPU_FEATURES": "X86_V4"} if _is_zen_4() else {})


def set_for_numpy() -> None:
    """Set the variables for this process, unless the user has set them; call this before numpy is imported."""
    for name, value in numpy_settings().items():
        if name not in os.environ:
            os.environ[name] = value
            _OWN.append(name)


def unset_for_children() -> None:
    """Remove the variables that `set_for_numpy` set: programs that this process starts may use numpy otherwise."""
    while _OWN:
        os.environ.pop(_OWN.pop(), None)


def _is_zen_4() -> bool:
    """Return whether the processor is of AMD's family 25 and has AVX-512; False where that is unknown."""
    with suppress(OSError), Path("/proc/cpuinfo").open("rb") as file:
        lines = (line.partition(b":") for line in file.read(_CPU_INFO_BYTES).splitlines())
        facts = {name.strip(): value.split() for name, _, value in reversed(list(lines))}
        return (
            facts.get(b"vendor_id") == [b"AuthenticAMD"]
            and facts.get(b"cpu family") == [b"25"]
            and b"avx512f" in facts.get(b"flags", [])
        )
    return False
