"""Times for people: nanoseconds in a unit that reads well."""

from __future__ import annotations

UNITS = {"nsec": ("ns", 1), "usec": ("us", 1_000), "msec": ("ms", 1_000_000), "sec": ("s", 1_000_000_000)}
"""nsys's names for `--timeunit`: the sign and the number of ns."""


def show_time(ns: int | None, unit: str | None = None) -> str:
    """Return a time with its unit, in the one given (a name of `UNITS`) or the one that reads best."""
    if ns is None:
        return "not measured"
    if unit is None:
        size = abs(ns)
        unit = "nsec" if size < 1_000 else "usec" if size < 1_000_000 else "msec" if size < 10_000_000_000 else "sec"
    sign, factor = UNITS[unit]
    return f"{ns} ns" if factor == 1 else f"{ns / factor:,.{3 if ns < 10 * factor else 1}f} {sign}"


def show_share(part: int | None, whole: int) -> str:
    """Return part of whole in per cent, or a dash where either is not known."""
    return "-" if part is None or not whole else f"{100 * part / whole:.1f}"
