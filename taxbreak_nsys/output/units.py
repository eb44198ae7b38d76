"""Shows times (integer ns) and shares as text with a unit."""

from __future__ import annotations

UNITS = {"nsec": ("ns", 1), "usec": ("us", 1_000), "msec": ("ms", 1_000_000), "sec": ("s", 1_000_000_000)}
"""The values of nsys's `--timeunit`, each with the unit's symbol and its number of ns."""


def show_time(ns: int | None, unit: str | None = None) -> str:
    """Return a time with its unit: `unit` (a key of `UNITS`), or the most readable unit if it is None.

    A time that is None is shown as `not measured`.
    """
    if ns is None:
        return "not measured"
    if unit is None:
        size = abs(ns)
        unit = "nsec" if size < 1_000 else "usec" if size < 1_000_000 else "msec" if size < 10_000_000_000 else "sec"
    sign, factor = UNITS[unit]
    return f"{ns} ns" if factor == 1 else f"{ns / factor:,.{3 if ns < 10 * factor else 1}f} {sign}"


def show_share(part: int | None, whole: int) -> str:
    """Return a part of a whole in per cent with one decimal; a dash if `part` is None or `whole` is 0."""
    return "-" if part is None or not whole else f"{100 * part / whole:.1f}"
