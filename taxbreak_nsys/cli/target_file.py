"""Files that pictures are written to: their names where none is given, and how a desktop opens them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def target_path(given: Path | None, reports: Sequence[Path], suffix: str) -> Path:
    """Return the file to write: the one given, else the first report's name with `suffix` in the current folder."""
    if given is not None:
        return given
    more = f"_and_{len(reports) - 1}_more" if len(reports) > 1 else ""
    return Path(f"{reports[0].stem}{more}{suffix}")


def open_file(path: Path) -> bool:
    """Show a file in the desktop's browser; return False where there is none."""
    import webbrowser

    return webbrowser.open(path.resolve().as_uri())
