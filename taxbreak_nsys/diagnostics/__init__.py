"""Warnings: what limits a result, and the remedy.

The cause decides which module a warning belongs to:

- `result_warnings`: the report lacks data that a number needs, so the number is null, a bound, an estimate or an
  assumption. The remedy is another capture or another option. Example: the CUDA rows end before the phases do.
- `misleading`: the report holds everything and the numbers are right, but the captured run is not the program's usual
  one. The remedy is to leave instances out or to capture at another moment. Example: the first steps are a warm-up.
- `sample_warnings`: both kinds for numbers based on CPU samples and on a reference: library time that samples find, the
  profiler's share, the corrected numbers.
- `engine_warnings`: both kinds for the marks of serving engines and for ranks that compute one step together.

A warning appears only if it changes what a reader should do. It names the affected phases and numbers and the remedy.
It never names a cause that the report does not show.
"""
