"""A series of numbers in a line of text."""

from __future__ import annotations

from collections.abc import Collection, Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN = "_.-=+*%#"  # for a terminal that has no other


def sparkline(
    values: Sequence[float | int | None], changes: Collection[int] = (), *, width: int = 60, plain: bool = False
) -> str:
    """Return the values as bars from the lowest to the highest, a bar before each change.

    A value that is None is a blank. More values than `width` are drawn as medians of equal runs.
    """
    levels = PLAIN if plain else BLOCKS
    runs = -(-len(values) // width) if values else 1
    drawn: list[float | None] = []
    marks = set()
    for start in range(0, len(values), runs):
        held = sorted(value for value in values[start : start + runs] if value is not None)
        drawn.append(held[(len(held) - 1) // 2] if held else None)
        if any(start <= change < start + runs for change in changes):
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
