"""`taxbreak-nsys library-map REPORT`: learn which kernels a library launches."""

from __future__ import annotations

import sys

from taxbreak_nsys.cli.shared_options import AnalysisChoices, OneReport, OutputChoices
from taxbreak_nsys.errors import TaxbreakError


def library_map(*, report: OneReport, written: OutputChoices, analysis: AnalysisChoices) -> None:
    """Learn from a report with call chains or library ranges which kernels a CUDA library launches.

    Example: taxbreak-nsys library-map backtrace.sqlite -o map.json, then --library-map map.json with a report that
    has only operator ranges.
    """
    import json

    from taxbreak_nsys.attribution.learned_map import MapLearner
    from taxbreak_nsys.output.output_files import put_text
    from taxbreak_nsys.pipeline.analysis import collect_report

    written.check()
    _, learner = collect_report(report, analysis.options(), MapLearner)
    learned = learner.learned()
    if not learned["kernels"]:
        raise TaxbreakError(
            f"{report}: has neither call chains of kernel launches nor library ranges; capture with "
            "'nsys profile -t cuda,nvtx --sample=process-tree --cudabacktrace=kernel:0'"
        )
    put_text(json.dumps(learned, indent=1, ensure_ascii=False) + "\n", written.output, force=written.force_overwrite)
    if written.output is not None and not written.quiet:
        print(f"wrote {written.output}: {len(learned['kernels'])} kernels", file=sys.stderr)
