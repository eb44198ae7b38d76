"""Several reports as the ranks of one run: the rows of each rank, and mean, extremes and deviation over all ranks.

The nsys recipe writes these tables. Their columns (one `Name` per index row, `File`, `Avg`, `Q1`, `Med`, `Q3`, `Min`,
`Max`, `StdDev`) follow nsys's own recipes of type "stats", so that `nsys recipe diff` works.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from taxbreak_nsys.arrays.intervals import Ints, percentile
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.options import Options
from taxbreak_nsys.output.result_tables import DEFAULT_REPORT, result_table
from taxbreak_nsys.pipeline.analysis import analyze_report
from taxbreak_nsys.recipe.detail_stats import RANK_DETAILS, details_of_rank

if TYPE_CHECKING:
    import pyarrow as pa

    from taxbreak_nsys.result import Phase, Result

_TEXT = ("Name", "File", "Phase", "PID", "TID")


@dataclass(frozen=True)
class Rank:
    """One report of a run: its rows, or the error that prevented its analysis."""

    path: str
    table: pa.Table | None
    error: str | None
    details: Mapping[str, pa.Table] = field(default_factory=dict)
    """The tables of details, by the names in `detail_stats.RANK_TABLES`."""


def analyze_rank(path: str, options: Options) -> Rank:
    """Analyse one report; a failure is returned as `error`, so that the other ranks keep their results.

    A module-level function with plain arguments, because it is pickled to worker processes, also on other machines.
    """
    try:
        result = analyze_report(path, replace(options, tables=RANK_DETAILS))
        return Rank(path, _rows(result), None, details_of_rank(result))
    except TaxbreakError as error:
        return Rank(path, None, str(error))
    except Exception as error:
        # an unforeseen defect of one report must not cost the other ranks their results
        return Rank(path, None, str(TaxbreakError(f"{path}: {type(error).__name__}: {error}")))


def _rows(result: Result) -> pa.Table:
    """Return the rows of `taxbreak_sum` with the step times, each under a name that stays the same from run to run.

    Process and thread ids become text: they are names, and `nsys recipe diff` must not subtract them.
    """
    import pyarrow as pa

    table = result_table(result, DEFAULT_REPORT)
    for title in ("PID", "TID"):
        index = table.column_names.index(title)
        table = table.set_column(index, title, table.column(index).cast(pa.string()))
    table = table.add_column(0, "Name", pa.array(_names(result), pa.string()))
    steps = [_step_times(result, entry) for entry in result.entries]
    for title, kind in _STEP_COLUMNS.items():
        table = table.append_column(title, pa.array([step[title] for step in steps], getattr(pa, kind)()))
    return table


def _names(result: Result) -> list[str]:
    """Return each entry's name: its phase, followed by process and thread if several threads share the phase.

    Processes and threads are numbered in the order of their ids, because the ids change from run to run.
    """
    single = [entry for entry in result.entries if not entry.combined]
    processes = sorted({entry.process or 0 for entry in single})
    threads = {p: sorted({entry.thread or 0 for entry in single if entry.process == p}) for p in processes}
    shared = {entry.phase for entry in result.entries if entry.combined}
    names = []
    for entry in result.entries:
        name = entry.phase
        if entry.process is not None and entry.thread is not None and entry.phase in shared:
            process, thread = processes.index(entry.process), threads[entry.process].index(entry.thread)
            name += f" (process {process}, thread {thread})"
        names.append(name)
    return names


_STEP_COLUMNS = {
    "Avg": "float64", "Q1": "int64", "Med": "int64", "Q3": "int64", "Min": "int64", "Max": "int64",
    "StdDev": "float64",
}  # fmt: skip
"""Statistics of a phase's step times in ns, under the column names that nsys's notebooks plot, with Arrow types."""


def _step_times(result: Result, entry: Phase) -> dict[str, Any]:
    instances = result.instances
    chosen = instances.label == instances.labels.index(entry.phase)
    if entry.process is not None and entry.thread is not None:
        chosen &= (instances.thread & 0xFFFFFFFFFFFF) == (entry.process << 24 | entry.thread)
    return _statistics(instances.wall[chosen])


def _statistics(values: Ints) -> dict[str, Any]:
    return {
        "Avg": float(values.mean()) if len(values) else None,
        "Q1": percentile(values, 25),
        "Med": percentile(values, 50),
        "Q3": percentile(values, 75),
        "Min": int(values.min()) if len(values) else None,
        "Max": int(values.max()) if len(values) else None,
        "StdDev": float(values.std(ddof=1)) if len(values) > 1 else None,
    }


def in_rank_order(ranks: Sequence[Rank]) -> list[Rank]:
    """Return ranks in the natural order of their paths: rank2 before rank10."""
    return sorted(ranks, key=lambda rank: [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in
                                           re.split(r"(\d+)", rank.path)])  # fmt: skip


def file_names(paths: Sequence[str]) -> list[str]:
    """Return one distinct name per path: its stem, as in nsys's recipes, with parent folders where stems repeat."""
    parts = [Path(path).absolute().with_suffix("").parts for path in paths]
    for depth in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    # even whole paths can be equal: the same file twice, or report.nsys-rep beside report.qdrep
    return [f"{path} [{number}]" for number, path in enumerate(paths)]


def rank_table(ranks: Sequence[Rank]) -> pa.Table:
    """Return the rows of all ranks that were analysed, with `File` and `Rank` (numbered over these ranks only).

    Raises TaxbreakError if no rank has rows.
    """
    import pyarrow as pa

    good = [rank for rank in ranks if rank.table is not None]
    if not good:
        why = ranks[0].error if len(ranks) == 1 else f"none of the {len(ranks)} reports could be analysed"
        raise TaxbreakError(why if ranks and why else "no report was given")
    tables = []
    for number, (rank, name) in enumerate(zip(good, file_names([rank.path for rank in good]), strict=True)):
        assert rank.table is not None
        rows = len(rank.table)
        table = rank.table.add_column(1, "File", pa.array([name] * rows, pa.string()))
        tables.append(table.add_column(2, "Rank", pa.array([number] * rows, pa.int64())))
    return pa.concat_tables(tables)


_NO_METRICS = frozenset({"Rank", *_STEP_COLUMNS})


def all_table(table: pa.Table) -> pa.Table:
    """Aggregate the result of `rank_table` over ranks: one row per phase and metric.

    `Ranks` counts the ranks that measured the metric; `Avg`, `StdDev` (of a sample) and the quartiles are over these.
    `Min File` and `Max File` name the first rank with the extreme. A phase on several threads counts once per rank,
    with the entry for all its threads.
    """
    import pyarrow as pa

    whole = [name == phase for name, phase in zip(*(table[c].to_pylist() for c in ("Name", "Phase")), strict=True)]
    table = table.filter(pa.array(whole))
    phases, files = table["Phase"].to_pylist(), np.array(table["File"].to_pylist(), object)
    split = np.asarray(table["delta_ct (ns)"].is_valid())
    metrics = [
        field.name
        for field in table.schema
        if (pa.types.is_integer(field.type) or pa.types.is_floating(field.type)) and field.name not in _NO_METRICS
    ]
    rows = []
    for phase in dict.fromkeys(phases):
        in_phase = np.array([label == phase for label in phases])
        for metric in metrics:
            column = table[metric].filter(pa.array(in_phase))
            known = np.asarray(column.is_valid())
            if metric == "delta_ft (ns)" and split[in_phase].any():
                # without delta_ct, delta_ft includes the library: a different metric, which must not enter the mean
                known &= split[in_phase]
            values = column.filter(pa.array(known)).to_numpy()
            if len(values):
                rows.append(_over_ranks(phase, metric, values, files[in_phase][known]))
    schema = pa.schema(
        [(name, pa.string()) for name in ("Name", "Phase", "Metric")]
        + [("Ranks", pa.int64())]
        + [(name, pa.float64()) for name in ("Avg", "Q1", "Med", "Q3", "Min", "Max", "StdDev")]
        + [(name, pa.string()) for name in ("Min File", "Max File")]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def _over_ranks(phase: str, metric: str, values: Any, files: Any) -> dict[str, Any]:
    low, high = int(values.argmin()), int(values.argmax())
    ordered = np.sort(values)
    quartile = {p: float(ordered[(len(values) - 1) * p // 100]) for p in (25, 50, 75)}
    return {
        "Name": f"{phase}: {metric}", "Phase": phase, "Metric": metric, "Ranks": len(values),
        "Avg": float(values.mean()), "Q1": quartile[25], "Med": quartile[50], "Q3": quartile[75],
        "Min": float(values[low]), "Max": float(values[high]),
        "StdDev": float(values.std(ddof=1)) if len(values) > 1 else None,
        "Min File": files[low], "Max File": files[high],
    }  # fmt: skip


def files_table(ranks: Sequence[Rank]) -> pa.Table:
    """Return one row per report: its rank, or null and the reason why it was left out."""
    import pyarrow as pa

    numbers = iter(range(len(ranks)))
    schema = pa.schema([("Rank", pa.int64()), ("File", pa.string()), ("Error", pa.string())])
    rows = [
        {"Rank": next(numbers) if rank.table is not None else None, "File": rank.path, "Error": rank.error}
        for rank in ranks
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def write_indexed(table: pa.Table, path: str) -> None:
    """Write Parquet that pandas reads with `Name` as its index.

    Integer columns with nulls stay integers in the file: pandas then reads them as float64, which `nsys recipe diff`
    can compare, and not as a nullable type, which it cannot.
    """
    import pyarrow as pa
    import pyarrow.parquet

    frame = table.to_pandas(integer_object_nulls=True).set_index("Name")
    fields = [field for field in table.schema if field.name != "Name"]
    schema = pa.schema([*fields, pa.field("Name", pa.string())])
    pyarrow.parquet.write_table(pa.Table.from_pandas(frame, schema=schema), path)


def write_plain(table: pa.Table, path: str) -> None:
    """Write Parquet without an index."""
    import pyarrow.parquet

    pyarrow.parquet.write_table(table, path)


def write_csv(table: pa.Table, path: str) -> None:
    """Write CSV with nsys's column names."""
    from taxbreak_nsys.output.csv_text import table_csv

    with open(path, "w", encoding="utf-8") as file:
        file.write(table_csv(table))
