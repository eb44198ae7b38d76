"""Batches: many reports, each analysed with limits in a process that no other has left a trace in."""
