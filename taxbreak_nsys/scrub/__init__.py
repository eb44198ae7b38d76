"""What a report gives away, and a copy of it that can be posted."""

from taxbreak_nsys.scrub.copy import write_clean
from taxbreak_nsys.scrub.findings import Finding, gives_away

__all__ = ["Finding", "gives_away", "write_clean"]
