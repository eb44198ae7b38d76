"""Lists the private data in a report, and writes a copy without it that can be posted."""

from taxbreak_nsys.scrub.scrub_findings import gives_away
from taxbreak_nsys.scrub.scrubbed_copy import kept_lines, write_clean

__all__ = ["gives_away", "kept_lines", "write_clean"]
