"""Warnings: what limits a result, and what would mend it.

Which module a warning belongs to is decided by what is wrong:

- `result_warnings`: the report lacks something that a figure needs, so the figure is null, a bound, an estimate or an
  assumption. The remedy is another capture or another option. Example: the CUDA rows end before the phases do.
- `misleading`: the report holds everything and the figures are right, but the captured run is not the program's usual
  one. The remedy is to leave instances out or to capture at another moment. Example: the first steps are a warm-up.
- `sample_warnings`: the same for what rests on CPU samples and on a reference: library time that samples find, the
  profiler's share, the corrected figures.
- `engine_warnings`: the same for the marks of serving engines and for ranks that compute one step together.

A warning is given only where it changes what a reader should do. It names the phases it is about, says what follows for
which figure, and what to do. It never blames something that the report does not show.
"""
