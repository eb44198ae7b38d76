"""The layers of phases as a figure for a paper or a slide: the stacked bars of the HTML report, with matplotlib."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.output.layer_stack import COLOURS, TITLES, Part, device_busy_ns, phase_title, stack_parts
from taxbreak_nsys.output.units import show_time

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from taxbreak_nsys.result import Phase, Result

FORMATS = ("svg", "png", "pdf")
MOST_BARS = 40


# names are never parsed as TeX; text is stored as text, so that it can be edited and searched
_STYLE: Any = {
    "text.usetex": False,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "svg.hashsalt": "taxbreak",
    "font.size": 9,
}


def write_figure(results: Sequence[Result], path: Path, format: str, *, per_step: bool, threads: bool) -> None:
    """Write the figure of `draw_figure` to a file; `format` is one of `FORMATS`."""
    figure = draw_figure(results, per_step=per_step, threads=threads)
    stamp: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[format]
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        figure.savefig(path, format=format, dpi=200, metadata=stamp)


def save_figure(figure: Figure, path: Path, *, force: bool) -> None:
    """Write a figure completely or not at all; raises TaxbreakError if the file's suffix is not one of `FORMATS`."""
    from taxbreak_nsys.output.output_files import write_whole

    format = path.suffix.removeprefix(".").lower()
    if format not in FORMATS:
        raise TaxbreakError(f"{path}: the name must end in {', '.join('.' + name for name in FORMATS)}")
    write_whole(path, lambda file: figure.savefig(file, format=format, dpi=200), force=force)


def draw_figure(results: Sequence[Result], *, per_step: bool, threads: bool) -> Figure:
    """Return the phases of the results as stacked bars: solid parts are exposed, hatched parts hidden.

    `per_step` draws the mean ms per step instead of shares of the wall time; `threads` also draws each thread of a
    phase that has an entry for all its threads. Raises TaxbreakError if matplotlib is not installed, or for more than
    `MOST_BARS` phases.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it reports a home folder that cannot be written
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch
    except ImportError as error:
        raise TaxbreakError(
            f"a figure needs {error.name}; install it with: pip install 'taxbreak-nsys[plot]'"
        ) from error
    bars = _bars(results, threads)
    if len(bars) > MOST_BARS:
        raise TaxbreakError(
            f"{len(bars)} phases are too many for a figure (at most {MOST_BARS}); choose some with --phase, --thread"
        )
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7, 1.2 + 0.62 * len(bars)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        keys = {"device"}
        for y, (entry, title) in enumerate(bars):
            keys |= _draw(axes, y, entry, title, per_step)
        axes.set_ylim(len(bars) - 0.4, -0.55)
        axes.set_yticks([])
        axes.set_xlim(left=0)
        axes.set_xlabel("ms per step" if per_step else "% of the wall time")
        axes.spines[["left", "right", "top"]].set_visible(False)
        handles = [Patch(facecolor=COLOURS[key], label=TITLES[key]) for key in TITLES if key in keys]
        handles += [
            Patch(facecolor="0.6", label="exposed (device idle)"),
            Patch(facecolor="0.6", edgecolor="white", hatch="////", label="hidden behind device work"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def _bars(results: Sequence[Result], threads: bool) -> list[tuple[Phase, str]]:
    """Return the phases to draw with their titles; equal phases of several reports are next to each other."""
    bars = []
    for number, result in enumerate(results):
        several = {entry.phase for entry in result.entries if entry.combined}
        for entry in result.entries:
            if threads or entry.combined or entry.phase not in several:
                title = phase_title(entry, result.entries)
                name = f"{title}, {Path(result.report.path).stem}" if len(results) > 1 else title
                bars.append((title, number, entry, name))
    first = {title: place for place, (title, *_) in reversed(list(enumerate(bars)))}
    bars.sort(key=lambda bar: (first[bar[0]], bar[1]))
    return [(entry, name) for _, _, entry, name in bars]


def _draw(axes: Any, y: int, entry: Phase, title: str, per_step: bool) -> set[str]:
    """Draw one phase and return the keys of its layers."""
    scale = 1 / (1e6 * max(entry.instances, 1)) if per_step else 100 / max(entry.wall_ns, 1)
    parts = stack_parts(entry)
    busy = device_busy_ns(entry)
    left = 0.0

    def put(part: Part, ns: int, hatch: str | None) -> None:
        nonlocal left
        if ns:
            axes.barh(
                y, ns * scale, 0.36, left=left, color=part.colour, edgecolor="white", linewidth=0.4, hatch=hatch
            )  # fmt: skip
            left += ns * scale

    for part in parts:
        if busy is None or part.exposed_ns is None:
            put(part, part.ns, "..")
        else:
            put(part, part.exposed_ns, None)
    if busy is not None:
        for part in parts:
            if part.exposed_ns is not None:
                put(part, part.ns - part.exposed_ns, "////")
        axes.barh(
            y + 0.26, busy * scale, 0.1, left=(entry.wall_ns - busy) * scale, color=COLOURS["device"], linewidth=0
        )  # fmt: skip
    else:
        axes.text(
            0, y + 0.3, f"device time and exposed time not measured: {entry.taxbreak.hdbi_reason}",
            va="center", fontsize=6, parse_math=False, wrap=False,
        )  # fmt: skip
    hdbi = "not measured" if entry.taxbreak.hdbi is None else f"{entry.taxbreak.hdbi:.3f}"
    step = show_time(entry.wall_ns // max(entry.instances, 1))
    axes.text(0, y - 0.3, f"{title}: {step} per step, HDBI {hdbi}", va="center", parse_math=False)
    return {part.key for part in parts}
