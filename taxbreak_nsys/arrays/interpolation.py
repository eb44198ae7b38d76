"""Linear interpolation at moments that stay the same while the values at the knots change."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from taxbreak_nsys.arrays.intervals import Floats, Ints


class Interpolation:
    """Moments among knots: their places are found once, then `values` interpolates any values at the knots."""

    def __init__(self, moments: Ints, knots: Ints) -> None:
        """Find the moments among the knots, which rise; a moment outside them has the place of the nearest knot."""
        inside = np.minimum(np.maximum(moments, knots[0]), knots[-1])
        self.knot = np.searchsorted(knots, inside, side="right") - 1
        since = inside - knots[self.knot]
        self._between = np.flatnonzero(since)
        self._low = self.knot[self._between]
        self._since = since[self._between]
        self._span = knots[self._low + 1] - knots[self._low] if len(self._low) else self._since

    def values(self, at: Callable[[Ints], Floats]) -> Floats:
        """Return the value at each moment, by the same arithmetic as np.interp; `at` returns the values at knots."""
        result = at(self.knot)
        if len(self._between):
            before = result[self._between]
            result[self._between] = (at(self._low + 1) - before) / self._span * self._since + before
        return result
