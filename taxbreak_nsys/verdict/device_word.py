"""The word beside HDBI, where HDBI alone would mislead: copies keep the device busy and are not in it."""

from __future__ import annotations

from taxbreak_nsys.attribution.layers import hdbi_word
from taxbreak_nsys.result import Phase

BUSY = 0.65
"""Above this share of the wall a busy device decides the word, as HDBI does above the same number."""


def busy_share(entry: Phase) -> float | None:
    """Return the share of a phase's wall time in which a device that it uses is busy, with copies and sets."""
    if entry.device.idle_ns is None or not entry.wall_ns:
        return None
    return 1 - entry.device.idle_ns / entry.wall_ns


def copies_hold_device(entry: Phase) -> bool:
    """Return whether copies and sets, which HDBI leaves out, keep a phase's device busy.

    That is where the device is busy although its kernels could account for less than half of that time.
    """
    busy, active = busy_share(entry), entry.taxbreak.t_device_active_ns
    if busy is None or active is None or not entry.launches.memory:
        return False
    return busy > BUSY and active < busy * entry.wall_ns / 2


def bound_word(entry: Phase) -> str | None:
    """Return `host-bound`, `balanced`, `device-bound` or `copy-bound` for a phase; None where HDBI is not measured."""
    if entry.taxbreak.hdbi is None:
        return None
    return "copy-bound" if copies_hold_device(entry) else hdbi_word(entry.taxbreak.hdbi)


def beside_hdbi(entry: Phase) -> str | None:
    """Return what must be said beside HDBI, None where it speaks for itself."""
    busy = busy_share(entry)
    if busy is None or not copies_hold_device(entry):
        return None
    return f"copies and sets keep the device busy: {busy:.0%} of the wall time with them; HDBI counts kernels alone"
