"""The model of a report: columns of calls, launches, operations and ranges, and rules for names; no input or output."""
