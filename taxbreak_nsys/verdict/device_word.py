"""The word beside HDBI, where HDBI alone would mislead: it leaves out copies, long launch calls, loads and waits."""

from __future__ import annotations

from taxbreak_nsys.attribution.layers import hdbi_word
from taxbreak_nsys.result import Phase

BUSY = 0.65
"""Above this share of the wall a busy device decides the word, as HDBI does above the same number."""
IDLE = 0.5
"""Where the device is busy for less than this share of the wall, no HDBI makes the phase device-bound."""
_LEFT_OUT = {
    "launch": "launch calls beyond T_sys",
    "memop": "launching copies and sets",
    "module_load": "module loading",
    "os_wait": "waits in the OS",
    "device_wait": "waits for the device",
    "profiler": "the profiler",
}
"""The host states that HDBI leaves out, as a whole or (`launch`) in part."""
_MOST_NAMED = 2


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
    """Return `host-bound`, `balanced`, `device-bound` or `copy-bound` for a phase; None where HDBI is not measured.

    The word follows HDBI, or the device's busy share where HDBI leaves out what keeps the device busy or idle.
    """
    hdbi = entry.taxbreak.hdbi
    if hdbi is None:
        return None
    if copies_hold_device(entry):
        return "copy-bound"
    return hdbi_word(busy_share(entry) or 0.0) if _idle_in_spite_of_hdbi(entry) else hdbi_word(hdbi)


def _idle_in_spite_of_hdbi(entry: Phase) -> bool:
    """Return whether the device idles for most of a phase that HDBI calls device-bound."""
    busy, hdbi = busy_share(entry), entry.taxbreak.hdbi
    return busy is not None and hdbi is not None and hdbi_word(hdbi) == hdbi_word(1.0) and busy < IDLE


def beside_hdbi(entry: Phase) -> str | None:
    """Return what must be said beside HDBI, None where it speaks for itself."""
    busy = busy_share(entry)
    if busy is None:
        return None
    if copies_hold_device(entry):
        return f"copies and sets keep the device busy: {busy:.0%} of the wall time with them; HDBI counts kernels alone"
    if not _idle_in_spite_of_hdbi(entry):
        return None
    left_out = " and ".join(_left_out(entry))
    return f"the device is busy for only {busy:.0%} of the wall time: HDBI leaves out {left_out}"


def _left_out(entry: Phase) -> list[str]:
    """Return what HDBI leaves out of the time in which the device idles, the longest first."""
    exposed = dict(entry.exposed_ns or {})
    exposed["launch"] = min(exposed.get("launch", 0), entry.taxbreak.launch_excess_ns or 0)
    ranked = sorted(_LEFT_OUT, key=lambda state: -exposed.get(state, 0))[:_MOST_NAMED]
    return [f"{exposed[state] / 1e6:,.3f} ms of {_LEFT_OUT[state]}" for state in ranked if exposed.get(state)]
