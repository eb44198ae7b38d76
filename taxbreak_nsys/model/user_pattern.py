"""Regular expressions that users write, with a limit on the time that one search takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from taxbreak_nsys.errors import TaxbreakError

if TYPE_CHECKING:
    import regex

SECONDS = 2.0
"""The longest that one pattern may take over one text: backtracking can take longer than the report was captured."""


@dataclass(frozen=True)
class UserPattern:
    """A pattern in the syntax of `re`; `origin` names its option or file in messages.

    It is the package `regex` that searches: `re` cannot be interrupted.
    """

    pattern: str
    origin: str

    @classmethod
    def parse(cls, pattern: str, origin: str) -> UserPattern:
        """Return a pattern that compiles; raises TaxbreakError that begins with `origin` where the text is none."""
        import regex

        made = cls(pattern, origin)
        try:
            _compiled(pattern)
        except (regex.error, TypeError, RecursionError, OverflowError) as error:
            raise TaxbreakError(f"{origin}: not a regular expression ({error})") from error
        return made

    @property
    def groups(self) -> frozenset[str]:
        """The names of the pattern's groups."""
        return frozenset(_compiled(self.pattern).groupindex)

    def search(self, text: str) -> regex.Match[str] | None:
        """Return the first match in a text; raises TaxbreakError where it takes longer than SECONDS."""
        try:
            return _compiled(self.pattern).search(text, timeout=SECONDS)
        except TimeoutError as error:
            raise TaxbreakError(
                f"{self.origin}: the pattern {self.pattern!r} takes more than {SECONDS:g} s over a text of {len(text)} "
                "characters; write it without a repetition inside a repetition"
            ) from error


@cache
def _compiled(pattern: str) -> regex.Pattern[str]:
    import regex

    return regex.compile(pattern)
