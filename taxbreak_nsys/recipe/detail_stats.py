"""The tables of gaps, ranges, kernel classes and fusion candidates over the ranks of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from taxbreak_nsys.output.detail_tables import needed_tables
from taxbreak_nsys.output.result_tables import result_table

if TYPE_CHECKING:
    import pyarrow as pa

    from taxbreak_nsys.result import Result

RANK_TABLES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "gap": ("taxbreak_gap_sum", ("Phase", "State", "Range", "Before"), "Total Time (ns)"),
    "range": ("taxbreak_nvtx_sum", ("Phase", "Path"), "Self Time (ns)"),
    "class": ("taxbreak_class_sum", ("Phase", "Class"), "Total Time (ns)"),
    "fusion": ("taxbreak_fusion_sum", ("Phase", "Pattern"), "Saved (ns)"),
}
"""Per table of the recipe's output: (named report, the columns that identify a row, the column of its time)."""

RANK_DETAILS = needed_tables([report for report, _, _ in RANK_TABLES.values()])
"""The tables of details that the analysis of a rank must compute."""


def details_of_rank(result: Result) -> dict[str, pa.Table]:
    """Return the tables of one report by their names in RANK_TABLES."""
    return {name: result_table(result, report) for name, (report, _, _) in RANK_TABLES.items()}


def detail_rank_table(name: str, tables: Sequence[Mapping[str, pa.Table]], files: Sequence[str]) -> pa.Table:
    """Return the rows of one table over all ranks, after columns `File` and `Rank` (the place in `tables`)."""
    import pyarrow as pa

    parts = []
    for rank, (details, file) in enumerate(zip(tables, files, strict=True)):
        table = details[name]
        table = table.add_column(0, "File", pa.array([file] * len(table), pa.string()))
        parts.append(table.add_column(1, "Rank", pa.array([rank] * len(table), pa.int64())))
    return pa.concat_tables(parts)


def detail_all_table(name: str, table: pa.Table) -> pa.Table:
    """Return one row per distinct key of `detail_rank_table`, with statistics of its time over the ranks.

    Times of a rank's threads are summed first. `Ranks` counts the ranks that have the row; `Avg (ns)` is the mean
    over these ranks.
    """
    import pyarrow.compute as pc

    _, keys, time = RANK_TABLES[name]
    by_rank = table.group_by([*keys, "Rank"]).aggregate([(time, "sum")])
    over = by_rank.group_by(list(keys)).aggregate(
        [("Rank", "count"), *((f"{time}_sum", how) for how in ("mean", "min", "max", "sum"))]
    )
    over = over.rename_columns(
        {
            "Rank_count": "Ranks",
            f"{time}_sum_mean": "Avg (ns)",
            f"{time}_sum_min": "Min (ns)",
            f"{time}_sum_max": "Max (ns)",
            f"{time}_sum_sum": time,
        }
    )
    over = over.select([*keys, "Ranks", time, "Avg (ns)", "Min (ns)", "Max (ns)"])
    return over.take(pc.sort_indices(over, sort_keys=[(time, "descending"), *((key, "ascending") for key in keys)]))
