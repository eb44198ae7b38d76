"""What a report's pieces are handed to: consumers of single intervals, launches and operations."""

from __future__ import annotations

from typing import Protocol, TypeVar

from taxbreak_nsys.measure.measured import Measured
from taxbreak_nsys.phases import Instances
from taxbreak_nsys.totals.warning_facts import Piece


class Collector(Protocol):
    """Takes the measured pieces of a report in the order of time and keeps what it needs of them.

    A report may have to be read again (`model.assumptions`): the pieces then go to a new collector.
    """

    def add(self, piece: Piece) -> None:
        """Take the next piece."""


C = TypeVar("C", bound=Collector)


class NoCollector:
    """Keeps nothing: for results alone."""

    def __init__(self, instances: Instances) -> None:
        """Ignore the phase instances of the report."""

    def add(self, piece: Piece) -> None:
        """Ignore a piece."""


class OnePiece:
    """Keeps a report that is read as one piece: its memory grows with the report."""

    def __init__(self, instances: Instances) -> None:
        """Start without a piece."""
        self._pieces: list[Piece] = []

    def add(self, piece: Piece) -> None:
        """Keep the only piece."""
        self._pieces.append(piece)

    @property
    def measured(self) -> Measured:
        """The columns of the report."""
        (piece,) = self._pieces
        return piece.columns
