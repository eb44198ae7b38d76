"""Arrays of numbers: intervals, group-by sums, codes for strings; nothing here knows what a report is."""
