"""Markdown for pull requests: the named reports as tables that GitHub and GitLab render."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taxbreak_nsys.model.choices import ReportName
from taxbreak_nsys.output.plain_rows import percent
from taxbreak_nsys.output.units import show_time

if TYPE_CHECKING:
    import pyarrow as pa

    from taxbreak_nsys.output.shown_rows import RowOrder
    from taxbreak_nsys.result import Phase, Result

MOST_ROWS = 20
"""Rows of a table unless --top asks for more, because comments on pull requests are limited in size."""
MOST_TEXT = 120
_DASH = "–"
_IDS = frozenset({"PID", "TID", "process", "thread"})
"""Columns of ids, which are written without separators of thousands."""


def plain(text: str) -> str:
    """Return text that Markdown shows unchanged on one line, without markup, mentions, links or HTML."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return re.sub(r"([\\`*_{}\[\]<>()#+\-.!|~&@:])", r"\\\1", line) if re.search(r"[\\`*_\[\]<>|~&#@]", line) else line


def code(text: str) -> str:
    """Return a name as a code span, shortened to `MOST_TEXT` characters; Markdown reads nothing in it as markup."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = line if len(line) <= MOST_TEXT else f"{line[: MOST_TEXT - 1]}…"
    fence = "`" * (max((len(run) for run in re.findall(r"`+", line)), default=0) + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    # a table cell ends at each unescaped |, also inside a code span
    return f"{fence}{space}{line}{space}{fence}".replace("|", "\\|") if line else ""


def markdown_table(titles: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """Return a Markdown table of Markdown cells; columns after the first `texts` are aligned to the right."""
    marks = [":---" if column < texts else "---:" for column in range(len(titles))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (titles, marks, *rows))


def render_markdown(result: Result, name: str, unit: str | None, order: RowOrder | None = None) -> str:
    """Return one named report of a result as Markdown; the summary has times per step, other reports nsys's columns."""
    head = f"### TaxBreak: {code(Path(result.report.path).name)}\n\n"
    if name == ReportName.SUM:
        return head + _summary(result, unit)
    return head + _rows(result, name, unit, order)


def _summary(result: Result, unit: str | None) -> str:
    report = result.report
    facts = [fact for fact in (report.gpu, f"nsys {report.nsys_version}" if report.nsys_version else None) if fact]
    facts.append(f"T\\_sys {show_time(result.t_sys_ns)} per launch")
    titles = ("Phase", "Steps", "Wall per step", "HDBI", "Framework", "Library", "Launch path", "Device idle")
    summed = {entry.phase for entry in result.entries if entry.combined}
    entries = [entry for entry in result.entries if entry.combined or entry.phase not in summed]
    text = ", ".join(facts) + "\n\n" + markdown_table(titles, (_phase(entry, unit) for entry in entries))
    text += "\nHDBI: 0 is host-bound, 1 device-bound. Layers and idle time in % of the wall.\n\n"
    text += "".join(f"- **{plain(entry.phase)}**: {plain(entry.verdict.why)}\n" for entry in entries)
    if report.warnings:
        text += "\n" + "".join(f"> ⚠️ {plain(warning.message)}\n>\n" for warning in report.warnings)
    return text


def _phase(entry: Phase, unit: str | None) -> tuple[str, ...]:
    layers, wall = entry.taxbreak, entry.wall_ns
    framework = _share(layers.delta_ft_ns, wall)
    return (
        plain(entry.phase),
        str(entry.instances),
        show_time(round(wall / entry.instances), unit) if entry.instances else _DASH,
        _DASH if layers.hdbi is None else f"{layers.hdbi:.3f}",
        f"{framework} (with library)" if layers.ft_includes_library else framework,
        _share(layers.delta_ct_ns, wall),
        _share(layers.delta_kt_ns, wall),
        _share(entry.device.idle_ns, wall),
    )


def _share(part: int | None, whole: int) -> str:
    return _DASH if part is None or not whole else percent(part / whole)


def _rows(result: Result, name: str, unit: str | None, order: RowOrder | None) -> str:
    from taxbreak_nsys.output.detail_tables import table_notes
    from taxbreak_nsys.output.formats import in_unit
    from taxbreak_nsys.output.result_tables import result_table

    table = result_table(result, name)
    table = in_unit(table if order is None else order.apply(table), unit)
    top = order.top if order is not None else None
    notes = "".join(f"- {_spans(note)}\n" for note in table_notes(result, name, unit))
    return (
        f"`{name}`\n\n" + (f"{notes}\n" if notes else "") + columns_markdown(table, MOST_ROWS if top is None else top)
    )


def _spans(sentence: str) -> str:
    """Return a sentence as Markdown; its words between backticks become code spans."""
    parts = enumerate(sentence.split("`"))
    return "".join(code(part) if number % 2 else _inner(part) for number, part in parts)


def _inner(text: str) -> str:
    """Return `plain` text that keeps a blank at its ends, where a code span follows or precedes."""
    words = plain(text)
    return f"{' ' if text[:1] == ' ' else ''}{words}{' ' if text[-1:] == ' ' and words else ''}"


def rows_markdown(rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> str:
    """Return rows as a Markdown table with a column per key of `titles`; columns without any value are left out."""
    kept = {key: title for key, title in titles.items() if any(row[key] is not None for row in rows)}
    texts = {key for key in kept if any(isinstance(row[key], str) for row in rows)}
    keys = [key for key in kept if key in texts] + [key for key in kept if key not in texts]
    return markdown_table(
        [plain(kept[key]) for key in keys], ([_cell(row[key], key) for key in keys] for row in rows), len(texts)
    )


def columns_markdown(table: pa.Table, most: int) -> str:
    """Return the first `most` rows of an Arrow table as Markdown, and the number of further rows."""
    import pyarrow as pa

    numbers = [pa.types.is_integer(column.type) or pa.types.is_floating(column.type) for column in table.schema]
    # text columns first: nsys puts kernel names last, where a pull request would need scrolling to show them
    columns = [index for index, number in enumerate(numbers) if not number]
    texts = len(columns)
    columns += [index for index, number in enumerate(numbers) if number]
    shown = table.select(columns)
    rows = ([_cell(value, title) for title, value in row.items()] for row in shown.slice(0, most).to_pylist())
    text = markdown_table([plain(title) for title in shown.column_names], rows, texts)
    if len(table) > most:
        text += f"\n{len(table) - most} more rows; `--top` shows more of them.\n"
    return text


def _cell(value: Any, title: str) -> str:
    if value is None:
        return _DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value) if title in _IDS else f"{value:,}"
    return f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else code(str(value))
