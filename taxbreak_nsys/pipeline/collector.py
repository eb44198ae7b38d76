"""Consumers of a report's pieces, for outputs that need single intervals, launches or operations."""

from __future__ import annotations

from typing import Protocol, TypeVar

from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.totals.warning_facts import Piece


class Collector(Protocol):
    """Receives the measured pieces of a report in the order of time and keeps the parts that its output needs.

    A report may have to be read again (`model.assumptions`): the pieces then go to a new collector.
    """

    def add(self, piece: Piece) -> None:
        """Receive the next piece."""


C = TypeVar("C", bound=Collector)


class NoCollector:
    """Ignores all pieces, for callers that need only the result."""

    def __init__(self, instances: Instances) -> None:
        """Take the phase instances, as every collector does."""

    def add(self, piece: Piece) -> None:
        """Ignore a piece."""


class OnePiece:
    """Keeps the columns of a report that is read as one piece; its memory grows with the report."""

    def __init__(self, instances: Instances) -> None:
        """Take the phase instances, as every collector does."""
        self._pieces: list[Piece] = []

    def add(self, piece: Piece) -> None:
        """Keep the only piece."""
        self._pieces.append(piece)

    @property
    def measured(self) -> Measured:
        """The columns of the report; ValueError unless it was read as exactly one piece."""
        (piece,) = self._pieces
        return piece.columns
