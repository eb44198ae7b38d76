"""Judges the program's behaviour for any file: it must return times that add up, or refuse with one line."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from taxbreak_nsys import Result, TaxbreakError
from taxbreak_nsys.model.detail_rows import DETAIL_TABLES
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.options import Options
from taxbreak_nsys.phases import PhaseRule
from taxbreak_nsys.pipeline.analysis import analyze_report

_TABLES = frozenset(DETAIL_TABLES)
OPTIONS: dict[str, Options] = {
    "": Options(tables=_TABLES),
    "any range": Options(rules=(PhaseRule.parse("any=."),), tables=_TABLES),
    "window": Options(window=(0, 10**12), tables=_TABLES),
    "subtractive": Options(evidence="subtractive", tables=_TABLES),
    "none": Options(evidence="none", tables=_TABLES),
}
"""Sets of options that a case may run with."""

_LONGEST_MESSAGE = 700
_WINDOW_ROWS = 40


def judge(path: Path, options: str, *, outputs: bool) -> tuple[str, str]:
    """Analyse a report and return (`figures`, `refused` or `finding`; a description)."""
    try:
        result = analyze_report(path, OPTIONS[options], intervals=True)
        problem = wrong_figures(result) or wrong_in_windows(path, OPTIONS[options], result)
        problem = problem or (broken_output(result) if outputs else None)
    except TaxbreakError as error:
        problem = wrong_message(str(error))
        return ("finding", problem) if problem else ("refused", _kind(str(error), path))
    except Exception as error:
        return "finding", f"{type(error).__name__} at {_place(error)}: {str(error)[:100]}"
    return ("finding", problem) if problem else ("figures", "")


def _place(error: BaseException) -> str:
    """Return file and function of the innermost traceback frame in the program."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "taxbreak_nsys" in f.filename]
    return f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else "outside the program"


def _kind(message: str, path: Path) -> str:
    text = message.removeprefix(f"{path}: ")
    return "".join("#" if c.isdigit() else c for c in text)[:60]


def wrong_message(message: str) -> str | None:
    """Return the problem of a refusal's message, None if it is short and one line without control characters."""
    if not message.isprintable():
        return "a message with control characters"
    return "a message that is too long" if len(message) > _LONGEST_MESSAGE else None


def wrong_figures(result: Result) -> str | None:
    """Return the first promise of the method that a result breaks, None if it keeps all."""
    for entry in result.entries:
        states, exposed, hdbi = entry.states_ns, entry.exposed_ns, entry.taxbreak.hdbi
        truths = {
            "states add up to the wall": sum(states.values()) == entry.wall_ns,
            "states are not negative": min(states.values()) >= 0,
            "every state is there": tuple(states) == STATES,
            "time in the OS lies in its state": all(0 <= entry.in_os_ns[s] <= states[s] for s in STATES),
            "exposed time lies in its state": exposed is None or all(0 <= exposed[s] <= states[s] for s in STATES),
            "HDBI lies between 0 and 1": hdbi is None or 0 <= hdbi <= 1,
            "an absent HDBI has its reason": hdbi is not None or bool(entry.taxbreak.hdbi_reason),
            "layers are not negative": min(entry.taxbreak.delta_ft_ns or 0, entry.taxbreak.delta_ct_ns or 0) >= 0,
            "device time is not negative": (entry.device.active_ns or 0) >= 0,
        }
        for promise, holds in truths.items():
            if not holds:
                return f"broken promise: {promise}"
    return None


def wrong_in_windows(path: Path, options: Options, whole: Result) -> str | None:
    """Return the results that differ if the report is read in small windows, None if none does."""
    try:
        windowed = analyze_report(path, options, window_rows=_WINDOW_ROWS)
    except TaxbreakError as error:
        return f"refused in windows alone: {_kind(str(error), path)}"
    in_windows, at_once = _figures(windowed), _figures(whole)
    different = [name for name in at_once if in_windows[name] != at_once[name]]
    return f"windows give other figures: {', '.join(different)}" if different else None


def _figures(result: Result) -> dict[str, Any]:
    rows = {"api": result.api_rows, "samples": result.sample_rows, "symbols": result.symbol_rows}
    return result.to_dict() | rows


def broken_output(result: Result) -> str | None:
    """Return the first output format that fails for a result, None if all succeed."""
    from taxbreak_nsys.output import formats, text_report
    from taxbreak_nsys.output.result_tables import REPORTS

    makers: dict[str, Callable[[], object]] = {"json": lambda: json.loads(result.to_json())}
    for name in REPORTS:
        makers[f"{name} table"] = lambda name=name: text_report.render_text(result, name, None)
        makers[f"{name} csv"] = lambda name=name: formats.to_csv([result], name, None)
    for name, make in makers.items():
        try:
            made = make()
            if isinstance(made, str):
                made.encode()
        except Exception as error:
            return f"{name}: {type(error).__name__} at {_place(error)}: {str(error)[:100]}"
    return None
