"""The words and the columns of a report: calls, launches, device operations, ranges, names; no input or output."""
