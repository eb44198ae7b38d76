"""Tags of reports: given by the user, or taken from the path."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.user_pattern import UserPattern

_KEY = re.compile(r"[A-Za-z_][\w.-]*")


@dataclass(frozen=True)
class TagRules:
    """Tags for every report, and patterns whose named groups are tags of the paths that they are found in."""

    given: dict[str, str]
    patterns: tuple[UserPattern, ...]

    @classmethod
    def parse(cls, given: Sequence[str], patterns: Sequence[str]) -> TagRules:
        """Parse `key=value` texts and regular expressions; raises TaxbreakError where one is not of that form."""
        tags = dict(parse_tag(text, "--tag") for text in given)
        compiled = []
        for text in patterns:
            pattern = UserPattern.parse(text, f"--tag-from {text!r}")
            if not pattern.groups:
                raise TaxbreakError(
                    f"--tag-from {text!r}: has no named group; write (?P<model>[^/]+) for a tag 'model'"
                )
            compiled.append(pattern)
        return cls(tags, tuple(compiled))

    def of(self, path: str) -> dict[str, str]:
        """Return a path's tags; what was given for all reports counts more than what the path says."""
        found: dict[str, str] = {}
        for pattern in self.patterns:
            if match := pattern.search(path):
                found |= {key: value for key, value in match.groupdict().items() if value}
        return found | self.given


def parse_tag(text: str, option: str) -> tuple[str, str]:
    """Parse `key=value`; raises TaxbreakError naming the option."""
    key, equals, value = text.partition("=")
    if not equals or not value or not _KEY.fullmatch(key):
        raise TaxbreakError(f"{option} {text!r}: write key=value, as in {option} model=llama")
    return key, value
