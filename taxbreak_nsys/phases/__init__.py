"""Phases: which stretch of which thread belongs to prefill, to decode, to nothing (method section 2)."""

from taxbreak_nsys.phases.find import SOURCES, Choice, find_in_marks, find_instances
from taxbreak_nsys.phases.instances import ALL, Instances
from taxbreak_nsys.phases.marks import PhaseRule

__all__ = ["ALL", "SOURCES", "Choice", "Instances", "PhaseRule", "find_in_marks", "find_instances"]
