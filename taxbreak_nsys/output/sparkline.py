"""Draws a series of numbers as bars in one line of text."""

from __future__ import annotations

from collections.abc import Collection, Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN = "_.-=+*%#"  # for terminals without Unicode


def sparkline(
    values: Sequence[float | int | None], changes: Collection[int] = (), *, width: int = 60, plain: bool = False
) -> str:
    """Return one bar per value, scaled from the lowest to the highest, with `|` before each change.

    None is drawn as a blank. If there are more values than `width`, each bar is the median of a run of values.
    """
    levels = PLAIN if plain else BLOCKS
    run_length = -(-len(values) // width) if values else 1
    drawn: list[float | None] = []
    marks = set()
    for start in range(0, len(values), run_length):
        run = sorted(value for value in values[start : start + run_length] if value is not None)
        drawn.append(run[(len(run) - 1) // 2] if run else None)
        if any(start <= change < start + run_length for change in changes):
            marks.add(len(drawn) - 1)
    known = [value for value in drawn if value is not None]
    if not known:
        return " " * len(drawn)
    low, high = min(known), max(known)
    text = ""
    for place, value in enumerate(drawn):
        if place in marks:
            text += "|"
        if value is None:
            text += " "
        else:
            step = (value - low) / (high - low) if high > low else 0.5
            text += levels[min(int(step * len(levels)), len(levels) - 1)]
    return text
