"""`taxbreak-nsys library-map REPORT`: learn which kernels a library launches."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taxbreak_nsys.cli import shared_options
from taxbreak_nsys.errors import TaxbreakError


def library_map(
    report: Annotated[
        Path, typer.Argument(metavar="REPORT", help="A .sqlite export or .nsys-rep.", show_default=False)
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to a file.")] = None,
    modules: shared_options.Modules = None,
    force_overwrite: shared_options.Force = False,
    quiet: shared_options.Quiet = False,
) -> None:  # fmt: skip
    """Learn from a report with call chains or library ranges which kernels a CUDA library launches.

    Example: taxbreak-nsys library-map backtrace.sqlite -o map.json, then --library-map map.json with a report
    that has operator ranges alone.
    """
    import json

    from taxbreak_nsys.attribution.learned_map import MapLearner
    from taxbreak_nsys.options import Options
    from taxbreak_nsys.output.output_files import check_target, write_whole
    from taxbreak_nsys.pipeline.analysis import collect_report

    if output is not None:
        check_target(output, force_overwrite)
    _, learner = collect_report(report, Options(modules=modules), MapLearner)
    learned = learner.learned()
    if not learned["kernels"]:
        raise TaxbreakError(
            f"{report}: has neither call chains of kernel launches nor library ranges; capture with "
            "'nsys profile -t cuda,nvtx --sample=process-tree --cudabacktrace=kernel:0'"
        )
    text = json.dumps(learned, indent=1, ensure_ascii=False) + "\n"
    if output is None:
        sys.stdout.write(text)
        return
    write_whole(output, lambda path: path.write_text(text, encoding="utf-8"), force=force_overwrite)
    if not quiet:
        print(f"wrote {output}: {len(learned['kernels'])} kernels", file=sys.stderr)
