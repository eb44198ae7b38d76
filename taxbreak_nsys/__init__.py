"""TaxBreak for Nsight Systems: which layer of the software stack costs host time, from one nsys report.

`analyze`, `compare`, `whatif` and `gate` take reports; `phase(label)` marks a phase in the program to be captured; the
rest of the package may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taxbreak_nsys.api import analyze as analyze
    from taxbreak_nsys.api import compare as compare
    from taxbreak_nsys.api import gate as gate
    from taxbreak_nsys.api import whatif as whatif
    from taxbreak_nsys.errors import TaxbreakError as TaxbreakError
    from taxbreak_nsys.phase_marker import phase as phase
    from taxbreak_nsys.result import Result as Result

__version__ = "0.1.0"
__all__ = ["Result", "TaxbreakError", "__version__", "analyze", "compare", "gate", "phase", "whatif"]

_HOMES = {
    **dict.fromkeys(("analyze", "compare", "gate", "whatif"), "api"),
    "Result": "result",
    "TaxbreakError": "errors",
    "phase": "phase_marker",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the command line must answer --help quickly."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names, so that a notebook completes those that are not imported yet."""
    return list(__all__)
