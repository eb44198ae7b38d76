"""Regular expressions from users, with a limit on the time of one search."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from taxbreak_nsys.errors import TaxbreakError

if TYPE_CHECKING:
    import regex

SECONDS = 2.0
"""The longest that one search of one text may take: backtracking can take exponential time."""


@dataclass(frozen=True)
class UserPattern:
    """A pattern in the syntax of `re`; `origin` names its option or file in messages.

    The package `regex` does the search, because `re` cannot be interrupted.
    """

    pattern: str
    origin: str

    @classmethod
    def parse(cls, pattern: str, origin: str) -> UserPattern:
        """Return the pattern; raises TaxbreakError, which begins with `origin`, where the text does not compile."""
        import regex

        parsed = cls(pattern, origin)
        try:
            _compiled(pattern)
        except (regex.error, TypeError, RecursionError, OverflowError) as error:
            raise TaxbreakError(f"{origin}: not a regular expression ({error})") from error
        return parsed

    @property
    def groups(self) -> frozenset[str]:
        """The names of the pattern's groups."""
        return frozenset(_compiled(self.pattern).groupindex)

    def search(self, text: str) -> regex.Match[str] | None:
        """Return the first match in a text, None without; raises TaxbreakError where the search exceeds SECONDS."""
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
