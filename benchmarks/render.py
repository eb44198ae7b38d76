"""Writes docs/performance.md and its plot from the measurements of benchmarks/speed.py and benchmarks/commands.py.

python benchmarks/render.py [docs/data/performance.json]
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from speed import BARS

DOCS = Path(__file__).resolve().parent.parent / "docs"
WHAT = {
    "analysis_over_scan": "`-f json`, over the scan",
    "analysis_over_nsys_stats": "`-f json`, over `nsys stats --report cuda_kern_exec_sum`",
    "analysis_s": "`-f json`, s",
    "scan_s": "the scan, s",
    "reading_over_scan": "the driver handing over all columns, all tables side by side, nothing else, over the scan",
    "nsys_stats_s": "`nsys stats`, s",
    "analysis_peak_mb": "peak memory, MB",
    "big_over_once": "wall time for 10 times the report, over wall time for the report",
    "big_peak_mb": "peak memory for 10 times the report, MB",
    "big_peak_over_once": "peak memory for 10 times the report, over peak memory for the report",
    "sampled_rows": "rows of the sampled report",
    "sampled_analysis_over_scan": "sampled report, over its scan",
    "sampled_analysis_peak_mb": "sampled report, peak memory, MB",
    "small_report_s": "a 1 MB report, from start to end, s",
    "imports_s": "of which imports, s",
    "help_s": "`--help`, s",
}


def number(value: float) -> str:
    """Return a number with two decimals, or without decimals from 100."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def figures(measured: dict[str, float]) -> str:
    """Return the Markdown table of measurements and their goals."""
    lines = ["| what | measured | goal |", "| --- | --- | --- |"]
    for name, words in WHAT.items():
        if name in measured:
            bar = f"at most {BARS[name]:,}" if name in BARS else ""
            lines.append(f"| {words} | {number(measured[name])} | {bar} |")
    return "\n".join(lines)


def growth(series: dict[str, list[dict[str, float]]]) -> str:
    """Return Markdown tables of wall time and memory by rows, phases and samples."""
    parts = []
    for by, rows in series.items():
        parts += [f"| {by} | wall, s | peak memory, MB |", "| --- | --- | --- |"]
        parts += [f"| {row[by]:,.0f} | {row['seconds']:.2f} | {row['peak_mb']:,.0f} |" for row in rows]
        parts.append("")
    return "\n".join(parts).rstrip()


def by_command(rows: list[dict[str, Any]]) -> str:
    """Return the Markdown table of CPU time and memory by command; the first row is the one to compare with."""
    first = rows[0]["larger"]["cpu_s"]
    lines = [
        "| command | CPU, s | over `-f json` | peak memory, MB | over that at once |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        larger, ratio = row["larger"], row["larger"]["peak_mb"] / row["once"]["peak_mb"]
        cells = (f"`{row['command']}`", f"{larger['cpu_s']:.1f}", f"{larger['cpu_s'] / first:.1f}")
        lines.append(f"| {' | '.join(cells)} | {larger['peak_mb']:,.0f} | {ratio:.2f} |")
    return "\n".join(lines)


def tools(rows: list[dict[str, Any]]) -> str:
    """Return the Markdown table of programs on the same file; the first row is this program."""
    own = rows[0]["wall_s"]
    lines = ["| program | wall, s | CPU, s | peak memory, MB | `-f json` over it |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        name = row["program"].replace("taxbreak-nsys -f json", "`taxbreak-nsys -f json`")
        ratio = f"{own / row['wall_s']:.2f}"
        lines.append(f"| {name} | {row['wall_s']:.1f} | {row['cpu_s']:.1f} | {row['peak_mb']:,.0f} | {ratio} |")
    return "\n".join(lines)


def nsys_rep(rows: list[dict[str, Any]]) -> str:
    """Return the Markdown table of answers from `.nsys-rep` files."""
    lines = [
        "| capture | rows | export to SQLite, s | export to Arrow, s | answer, s | over the SQLite export |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        times = [f"{row[name]:.2f}" for name in ("sqlite_s", "arrowdir_s", "answer_s")]
        ratio = f"{row['answer_s'] / row['sqlite_s']:.2f}"
        lines.append(f"| {row['what']} | {row['rows']:,} | {' | '.join(times)} | {ratio} |")
    return "\n".join(lines)


def unordered(measured: dict[str, Any]) -> str:
    """Return a sentence about a report with rows out of order."""
    ordered, mixed = measured["ordered"], measured["unordered"]
    return (
        f"The same {measured['rows']:,} rows, those of each long table in random order: {mixed['cpu_s']:.1f} s of CPU "
        f"and {mixed['peak_mb']:,.0f} MB; in order {ordered['cpu_s']:.1f} s and {ordered['peak_mb']:,.0f} MB "
        f"({mixed['cpu_s'] / ordered['cpu_s']:.2f} times the CPU). The results are the same."
    )


def plot(series: dict[str, list[dict[str, float]]], target: Path) -> None:
    """Draw wall time and memory over rows, phases and samples into an SVG file."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot
    from matplotlib.ticker import EngFormatter

    pyplot.rcParams["svg.hashsalt"] = "taxbreak"
    figure, axes = pyplot.subplots(1, len(series), figsize=(10, 3), layout="constrained")
    for axis, (by, rows) in zip(axes, series.items(), strict=True):
        axis.plot([row[by] for row in rows], [row["seconds"] for row in rows], "o-", color="#1f6feb")
        axis.set(xlabel=by, ylabel="wall, s", xlim=(0, None), ylim=(0, None))
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        other = axis.twinx()
        other.plot([row[by] for row in rows], [row["peak_mb"] for row in rows], "s--", color="#8b949e")
        other.set(ylabel="peak memory, MB (dashed)", ylim=(0, None))
    figure.savefig(target, metadata={"Date": None})


def render(data: dict[str, Any]) -> str:
    """Return docs/performance.md: the template with measurements filled in."""
    versions = data["versions"]
    machine = (
        f"{versions['cores']} cores of {versions['processor']}, Python {versions['python']}, "
        f"numpy {versions['numpy']}, pyarrow {versions['pyarrow']}, ADBC {versions['adbc']}, "
        f"SQLite {versions['sqlite']}."
    )
    texts = {
        "machine": machine,
        "figures": figures(data["figures"]),
        "copies": str(data["figures"]["copies"]),
        "rows": f"{data['figures']['rows']:,}",
        "growth": growth(data["growth"]),
        "commands": by_command(data["commands"]),
        "once": f"{data['command_rows'][0] / 1e6:.2f}",
        "larger": f"{data['command_rows'][1] / 1e6:.1f}",
        "tools": tools(data["tools"]),
        "nsys_rep": nsys_rep(data["nsys_rep"]),
        "unordered": unordered(data["unordered"]),
        "profile": (DOCS / "data" / "profile.md").read_text().strip(),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: texts[match[1]], (DOCS / "performance.in.md").read_text())


def main() -> None:
    """Write the page and the plot."""
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS / "data" / "performance.json"
    data = json.loads(source.read_text())
    (DOCS / "performance.md").write_text(render(data))
    plot(data["growth"], DOCS / "images" / "performance.svg")


if __name__ == "__main__":
    main()
