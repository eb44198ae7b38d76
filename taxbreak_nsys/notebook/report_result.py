"""What `analyze` returns: a result with pandas frames, pictures, and a display for notebooks."""

from __future__ import annotations

import dataclasses
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from taxbreak_nsys.model.choices import ReportName
from taxbreak_nsys.notebook.frames import table_frame, warnings_frame
from taxbreak_nsys.options import Options
from taxbreak_nsys.result import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_COUNTERS_NS = 10_000_000
"""Averaging window of the counters of a trace."""


@dataclasses.dataclass(frozen=True, repr=False)
class ReportResult(Result):
    """The analysis of a report, which reads it once more where a frame or picture needs more than the phases do.

    Frames have flat column names, the same as the keys of `-f json -r NAME`: `hdbi`, `delta_ft_ns`, `state_python`.
    Times are integer ns, absent values NA.
    """

    options: Options = dataclasses.field(default_factory=Options)
    """The options of the analysis."""
    source: Path = Path()
    """The report's file, absolute: a notebook may change its folder."""

    @classmethod
    def of_analysis(cls, result: Result, options: Options) -> ReportResult:
        """Return the fields of `result`, which an analysis with `options` gave, as a result with frames."""
        fields = {each.name: getattr(result, each.name) for each in dataclasses.fields(Result)}
        return cls(**fields, options=options, source=Path(result.report.path).resolve())

    def __repr__(self) -> str:
        """Return the file and HDBI of each phase in one line."""
        summed = {entry.phase for entry in self.entries if entry.combined}
        entries = [entry for entry in self.entries if entry.combined or entry.phase not in summed]
        shown = [
            f"{entry.phase} HDBI {entry.taxbreak.hdbi:.3f}"
            if entry.taxbreak.hdbi is not None
            else f"{entry.phase} HDBI not measured"
            for entry in entries[:4]
        ]
        shown += ["…"] if len(entries) > len(shown) else []
        return f"<Result {self.source.name}: {', '.join(shown) or 'no phase'}>"

    def _repr_html_(self) -> str:
        """Return the cards of the phases, for a notebook."""
        from taxbreak_nsys.notebook.result_cards import cards_html

        return cards_html(self)

    @property
    def phases(self) -> pd.DataFrame:
        """The phases, a row per phase and thread: wall, HDBI, layers, states, verdict."""
        return table_frame(self, ReportName.SUM)

    @property
    def steps(self) -> pd.DataFrame:
        """The steps, a row per phase instance: start, wall, requests and tokens where an engine marks them, states."""
        return table_frame(self, ReportName.STEP_TRACE)

    @property
    def kernels(self) -> pd.DataFrame:
        """Kernels by phase: instances, device and launch time, delta_ft, delta_ct."""
        return table_frame(self, ReportName.KERN_SUM)

    @property
    def operators(self) -> pd.DataFrame:
        """Operators by phase; empty where the report has no operator ranges."""
        return table_frame(self, ReportName.OP_SUM)

    @property
    def gaps(self) -> pd.DataFrame:
        """Time in which the device is idle, by what the host did and the kernel that ended it; reads the report."""
        return self._detailed(ReportName.GAP_SUM)

    @property
    def ranges(self) -> pd.DataFrame:
        """NVTX ranges, nested, with host and device time; reads the report."""
        return self._detailed(ReportName.NVTX_SUM)

    @property
    def warnings(self) -> pd.DataFrame:
        """What limits the results, and what would mend it: code, message, remedy."""
        return warnings_frame(self)

    def plot(self, path: str | PathLike[str] | None = None, *, per_step: bool = False, threads: bool = False) -> Figure:
        """Return the layers of each phase as stacked bars (matplotlib, extra `plot`); write them to `path` if given.

        `per_step` draws milliseconds per step instead of shares of the wall. Raises TaxbreakError where matplotlib is
        not installed, or the name's ending is not .svg, .png or .pdf.
        """
        from taxbreak_nsys.output.matplotlib_figure import draw_figure, save_figure

        figure: Figure = draw_figure([self], per_step=per_step, threads=threads)
        if path is not None:
            save_figure(figure, Path(path), force=True)
        # a notebook shows a figure that pyplot made; this one is shown without pyplot's global state
        figure._repr_png_ = lambda: _png(figure)  # type: ignore[attr-defined]
        return figure

    def html(self, path: str | PathLike[str], *, events: int = 50_000) -> Path:
        """Write the HTML report (extra `html`) and return its path; reads the report."""
        from taxbreak_nsys.output.html.html_details import PAGE_TABLES
        from taxbreak_nsys.output.html.html_page import render_page
        from taxbreak_nsys.output.html.timelines import TimelineCollector
        from taxbreak_nsys.output.output_files import put_text
        from taxbreak_nsys.pipeline.analysis import collect_report

        options = dataclasses.replace(self.options, tables=PAGE_TABLES)
        result, timelines = collect_report(
            self.source, options, lambda instances: TimelineCollector(instances, events), hashed=True
        )
        put_text(render_page([result], [timelines]), Path(path), force=True)
        return Path(path)

    def trace(self, path: str | PathLike[str]) -> Path:
        """Write a trace for ui.perfetto.dev (extra `trace`) and return its path; reads the report."""
        from taxbreak_nsys.output.output_files import write_whole
        from taxbreak_nsys.output.perfetto import write_perfetto
        from taxbreak_nsys.output.trace_spool import TraceSpool
        from taxbreak_nsys.pipeline.analysis import collect_report

        result, spool = collect_report(self.source, self.options, TraceSpool)
        write_whole(Path(path), lambda file: write_perfetto(result, spool, file, _COUNTERS_NS), force=True)
        return Path(path)

    def _detailed(self, name: str) -> pd.DataFrame:
        from taxbreak_nsys.output.detail_tables import needed_tables
        from taxbreak_nsys.pipeline.analysis import analyze_report

        asked = dataclasses.replace(self.options, tables=needed_tables([name]))
        return table_frame(analyze_report(self.source, asked), name)


def _png(figure: Figure) -> bytes:
    import io

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
