"""The verdicts of a result: target, sentence and advice for each phase, from one replay of each thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from taxbreak_nsys.attribution.exposed_layers import phase_exposed_layers
from taxbreak_nsys.model.phase_verdict import Verdict
from taxbreak_nsys.replay.levers import DEVICE_LEVERS, LEVERS, Lever
from taxbreak_nsys.replay.predicted_phase import key, why_not
from taxbreak_nsys.replay.prediction import Replay
from taxbreak_nsys.result import Phase, Result
from taxbreak_nsys.verdict import advice
from taxbreak_nsys.verdict.best_lever import WORTH, Forecasts, best_levers, exposed_share
from taxbreak_nsys.verdict.certainty import uncertainty
from taxbreak_nsys.verdict.device_word import busy_share, copies_hold_device

DEVICE_HELD = 0.9
"""From this busy share on the sentence says that only device work shortens the phase."""
_LAYERS = {
    "framework": "framework translation (Python, operator dispatch, runtime bookkeeping)",
    "framework_library": "framework and library translation (the report does not tell them apart: target not certain)",
    "library": "CUDA library translation",
    "launch": "the kernel launch path",
    "copy_calls": "launching copies and sets",
    "module_load": "module loading",
}
_WAITS = {
    "comm_wait": (
        "this rank's device waits in collectives for slower ranks",
        "see the row of the group, and its slowest rank",
    ),
    "os_wait": (
        "the host thread waits in the operating system",
        "find out what it waits for (locks, I/O, other threads or processes)",
    ),
    "off_cpu": (
        "the host thread is off the CPU without a traced wait",
        "find out what it waits for, or give it a CPU of its own",
    ),
    "profiler": ("the host thread works for the profiler", "capture with less tracing"),
    "device_wait": (
        "the host thread returns from synchronisations that the device has passed",
        "synchronise less often",
    ),
}
"""What takes a phase's time and is no lever: what goes on, and what to do about it."""


def with_verdicts(result: Result) -> Result:
    """Return the result with the verdict of every phase."""
    if all(why_not(entry) is not None for entry in result.entries):
        return replace(result, entries=tuple(replace(e, verdict=_unknown(e)) for e in result.entries))
    forecasts = Forecasts.of(Replay(result))
    rows = advice.RowsByPhase(result)
    return replace(
        result, entries=tuple(replace(e, verdict=_judged(e, result, rows, forecasts)) for e in result.entries)
    )


def _unknown(entry: Phase) -> Verdict:
    """Return the verdict of a phase that cannot be judged: every lever is there, as null."""
    reason = why_not(entry) or entry.taxbreak.hdbi_reason or "not measured"
    return Verdict(None, None, reason, savings=dict.fromkeys(lever.name for lever in LEVERS), savings_reason=reason)


def _judged(entry: Phase, result: Result, by_phase: advice.RowsByPhase, forecasts: Forecasts) -> Verdict:
    if why_not(entry) is not None or entry.taxbreak.hdbi is None:
        return _unknown(entry)
    savings = forecasts.savings(entry)
    best = best_levers(savings)
    wait, waited = _longest_wait(entry)
    if not best:
        return _nothing_saves(entry, savings, wait, waited)
    target, graphs = best[0], forecasts.graphs[key(entry)]
    shown = _slowest_rank(entry, result)
    rows = by_phase.of(shown)
    saved_ns = forecasts.saved_ns(entry, target)
    completion = forecasts.halves[target.name][key(entry)].completion_ns or entry.wall_ns
    why = f"{_finding(entry, target, completion / entry.wall_ns - 1)}; {_saving(entry, best, savings, saved_ns)}"
    if waited > _at_stake(entry, target, savings):
        does, remedy = _WAITS[wait]
        why = f"{does} for {waited:.0%} of the phase, which no lever shortens: {remedy}. Besides, {why}"
    return Verdict(
        target=target.name,
        exposed_share=exposed_share(entry, target),
        why=why,
        also=tuple(lever.name for lever in best[1:]),
        saved_ns=saved_ns,
        savings=savings,
        advice=advice.advise(shown, rows, target, graphs),
        command=advice.command(entry, target, graphs, result.report.path),
    )


def _slowest_rank(entry: Phase, result: Result) -> Phase:
    """Return the entry of the rank that the others most often wait for; the entry itself where it is no group."""
    if entry.ranks is None:
        return entry
    rank = max(entry.ranks.ranks, key=lambda one: (one.slowest_steps, one.wall_ns))
    members = [e for e in result.entries if e.phase == entry.phase and e.process == rank.process and not e.combined]
    return members[0] if members else entry


def _at_stake(entry: Phase, target: Lever, savings: Mapping[str, float | None]) -> float:
    """Return what the whole of a lever is worth: its exposed share, or what both halves of device work save."""
    if target.name in DEVICE_LEVERS:
        return 2 * (savings[target.name] or 0.0)
    return exposed_share(entry, target) or 0.0


def _longest_wait(entry: Phase) -> tuple[str, float]:
    """Return what exposes the device longest without being a lever, and its share of the wall time."""
    exposed = phase_exposed_layers(entry) or {}
    if entry.communication is not None and entry.ranks is None:
        exposed["comm_wait"] = entry.communication.comm_wait_ns or 0
    wait = max(_WAITS, key=lambda name: exposed.get(name, 0))
    return wait, exposed.get(wait, 0) / entry.wall_ns


def _nothing_saves(entry: Phase, savings: Mapping[str, float | None], wait: str, waited: float) -> Verdict:
    """Return the verdict where half of no lever saves anything worth naming."""
    none = f"halving no single layer saves as much as {WORTH:.0%} of {entry.phase}"
    if waited < WORTH:
        why = f"{none}: its work is done while the device works for earlier phases"
        return Verdict(None, None, why, savings=dict(savings))
    does, remedy = _WAITS[wait]
    return Verdict(
        wait, waited, f"{does} for {waited:.0%} of the phase; {none}", savings=dict(savings),
        advice=remedy,
    )  # fmt: skip


def _finding(entry: Phase, target: Lever, beyond: float) -> str:
    """Return what the table shows of the target; `beyond` is the device's work after the phase, as a share of it."""
    share = exposed_share(entry, target) or 0.0
    if target.name in DEVICE_LEVERS:
        with_copies = ", mostly with copies and sets" if copies_hold_device(entry) else ""
        only = ": only less or faster device work shortens it" if share >= DEVICE_HELD else ""
        after = f" and works for it for {beyond:.0%} of its wall time after its end" if beyond >= WORTH else ""
        return f"the device is busy for {share:.0%} of the phase{with_copies}{after}{only}"
    busy = busy_share(entry) or 0.0
    device = f", and the device is busy for {busy:.0%} of it" if busy >= 0.5 else ""
    doubt = uncertainty(entry) if target.name == "framework" else None
    uncertain = f" (target not certain: {doubt})" if doubt else ""
    return f"{_LAYERS[target.name]} keeps the device idle for {share:.0%} of the phase{device}{uncertain}"


def _saving(entry: Phase, best: list[Lever], savings: Mapping[str, float | None], saved_ns: int | None) -> str:
    """Return what halving the best lever saves, with those that save nearly as much."""

    def share(lever: Lever) -> str:
        return f"{savings[lever.name] or 0.0:.0%}"

    said = f"halving {best[0].title} would save {share(best[0])} of {entry.phase}"
    if saved_ns is not None:
        said += f" ({saved_ns / max(entry.instances, 1) / 1e6:,.3f} ms per instance)"
    for lever in best[1:]:
        said += f", halving {lever.title} nearly as much ({share(lever)})"
    return said
