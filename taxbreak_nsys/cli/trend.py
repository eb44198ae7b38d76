"""`taxbreak-nsys trend`: a metric over the reports of a store."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import typer

from taxbreak_nsys.cli.shared_options import OutputChoices, RowsFormat, StoreUrl
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.choices import OutputFormat

if TYPE_CHECKING:
    from datetime import datetime

    import pyarrow as pa

    from taxbreak_nsys.store.metric_history import Series


def trend(
    *,
    store: StoreUrl = "taxbreak.db",
    phase: Annotated[str | None, typer.Option("--phase", metavar="LABEL", help="Only this phase.")] = None,
    metric: Annotated[
        str, typer.Option("--metric", metavar="NAME", help="A metric of a phase, as hdbi or delta_ft_ns; with "
                          "_per_step behind it, per step.")
    ] = "hdbi",
    by: Annotated[
        list[str] | None, typer.Option("--by", metavar="KEY", help="One series per value of a tag, or of gpu, cpu, "
                                       "driver, host, nsys_version; repeatable.")
    ] = None,
    format: RowsFormat = OutputFormat.TABLE,
    written: OutputChoices,
) -> None:  # fmt: skip
    """Plot a metric over time and mark when it changed; captures of another GPU, model or trace are set apart.

    Example: taxbreak-nsys trend --store team.db --phase decode --by model
    """
    from taxbreak_nsys.output.listing import check_format, put_rows
    from taxbreak_nsys.store.metric_history import trends
    from taxbreak_nsys.store.store_opening import open_store
    from taxbreak_nsys.store.store_queries import check_keys

    check_format(format, written.output, written.force_overwrite)
    keys = by or []
    with open_store(store) as opened:
        check_keys(opened, keys, "--by")
        series, undated = trends(opened, metric, phase, keys)
    if not series:
        wanted = f"the phase '{phase}'" if phase else "a phase"
        raise TaxbreakError(f"{opened.shown}: no report with a date has {wanted}")
    if not written.quiet and undated:
        print(f"{undated} left out: their report has no date; give the tag 'date'", file=sys.stderr)
    if not written.quiet and series[0].changes is None:
        print("change points need the extra: python -m pip install 'taxbreak-nsys[trend]'", file=sys.stderr)
    if format == OutputFormat.TABLE and written.output is None:
        sys.stdout.write(_drawn(series, metric, keys))
    else:
        rows = _rows(series, metric, keys)
        put_rows(rows, format, written.output, force=written.force_overwrite, quiet=written.quiet)


def _rows(series: list[Series], metric: str, keys: list[str]) -> pa.Table:
    from taxbreak_nsys.output.listing import table_of_rows

    rows = [
        (
            line.phase,
            *line.by,
            point.moment.isoformat(),
            point.report,
            point.value,
            _is_change(line, index),
            line.breaks.get(index),
        )
        for line in series
        for index, point in enumerate(line.points)
    ]
    return table_of_rows(["phase", *keys, "time", "report", metric, "change", "not comparable"], rows)


def _is_change(line: Series, index: int) -> bool | None:
    return None if line.changes is None else index in line.changes


def _drawn(series: list[Series], metric: str, keys: list[str]) -> str:
    """Return each series as a sparkline with its levels listed below."""
    from taxbreak_nsys.output.console import printable
    from taxbreak_nsys.output.sparkline import BLOCKS, sparkline

    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
        plain = False
    except UnicodeEncodeError:
        plain = True
    lines: list[str] = []
    for line in series:
        name = ", ".join(
            [line.phase, *(f"{k} {v if v is not None else '-'}" for k, v in zip(keys, line.by, strict=True))]
        )
        lines += [
            printable(f"{metric} of {name}"),
            f"  {sparkline(line.values, sorted({*(line.changes or ()), *line.breaks}), plain=plain)}",
        ]
        edges = sorted({0, *(line.changes or ()), *line.breaks, len(line.points)})
        for start, end in pairwise(edges):
            measured = sorted(value for value in line.values[start:end] if value is not None)
            since, until = (_day(line, line.points[i].moment) for i in (start, end - 1))
            number = f"{end - start} report" + ("s" if end - start > 1 else "")
            middle = _shown(measured[(len(measured) - 1) // 2], metric) if measured else "not measured"
            spread = f" ({_shown(measured[0], metric)} to {_shown(measured[-1], metric)})" if len(measured) > 1 else ""
            mark = "since" if start else "from "
            if start in line.breaks:
                lines.append(printable(f"  not comparable with earlier reports: {line.breaks[start]}"))
            lines.append(f"  {mark} {since} to {until}: median {middle}{spread}, {number}")
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"


def _day(series: Series, moment: datetime) -> str:
    """Return the day of a report, with the time of day if the series has several reports on one day."""
    days = [point.moment.date() for point in series.points]
    return f"{moment:%Y-%m-%d}" if len(set(days)) == len(days) else f"{moment:%Y-%m-%d %H:%M}"


def _shown(value: float, metric: str) -> str:
    from taxbreak_nsys.output.units import show_time

    if "_ns" in metric:
        return show_time(round(value))
    return f"{value:.3f}" if isinstance(value, float) else f"{value}"
