"""Target files of pictures: their default names, and opening them in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def target_path(given: Path | None, reports: Sequence[Path], suffix: str) -> Path:
    """Return `given`, or by default the first report's name with `suffix` in the current folder."""
    if given is not None:
        return given
    more = f"_and_{len(reports) - 1}_more" if len(reports) > 1 else ""
    return Path(f"{reports[0].stem}{more}{suffix}")


def open_file(path: Path) -> bool:
    """Open a file in the browser; return False if there is no browser."""
    import webbrowser

    return webbrowser.open(path.resolve().as_uri())
