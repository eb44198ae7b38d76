"""Phases: which time of which thread belongs to prefill, to decode, or to no phase (method section 2)."""

from taxbreak_nsys.phases.instances import ALL, Instances
from taxbreak_nsys.phases.nvtx_ranges import PhaseRule
from taxbreak_nsys.phases.phase_finder import SOURCES, Choice, find_in_marks, find_instances

__all__ = ["ALL", "SOURCES", "Choice", "Instances", "PhaseRule", "find_in_marks", "find_instances"]
