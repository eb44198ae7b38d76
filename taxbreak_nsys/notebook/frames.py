"""Tables of results as pandas frames with flat column names: those of the rows of the JSON output."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from taxbreak_nsys.output.formats import row_key
from taxbreak_nsys.output.result_tables import result_table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from taxbreak_nsys.result import Result

WARNING_COLUMNS = ("code", "message", "remedy")


def table_frame(result: Result, name: str) -> pd.DataFrame:
    """Return a named report (`taxbreak_kern_sum`) as a frame; times are integer ns, absent values are NA.

    Raises TaxbreakError where the analysis was not asked for the table.
    """
    table = result_table(result, name)
    return to_frame(table.rename_columns([row_key(field) for field in table.schema]))


def warnings_frame(result: Result) -> pd.DataFrame:
    """Return the warnings of a result: code, message, remedy."""
    import pyarrow as pa

    warnings = [dataclasses.asdict(warning) for warning in result.report.warnings]
    columns = {name: pa.array([warning[name] for warning in warnings], pa.string()) for name in WARNING_COLUMNS}
    return to_frame(pa.table(columns))


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Return an Arrow table as a frame with nullable types: an absent integer must not turn its column into floats."""
    import pandas as pd
    import pyarrow as pa

    types = {pa.int64(): pd.Int64Dtype(), pa.string(): pd.StringDtype(), pa.bool_(): pd.BooleanDtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=types.get)
    return frame
