"""Tags of reports: given by the user, or extracted from the path."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.user_pattern import UserPattern

_KEY = re.compile(r"[A-Za-z_][\w.-]*")


@dataclass(frozen=True)
class TagRules:
    """Tags of every report, and patterns whose named groups become tags of the matching paths."""

    given: dict[str, str]
    patterns: tuple[UserPattern, ...]

    @classmethod
    def parse(cls, given: Sequence[str], patterns: Sequence[str]) -> TagRules:
        """Parse `key=value` texts and regular expressions; raises TaxbreakError for a malformed one."""
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
        """Return the tags of a path; tags given for all reports override tags from the path."""
        tags: dict[str, str] = {}
        for pattern in self.patterns:
            if match := pattern.search(path):
                tags |= {key: value for key, value in match.groupdict().items() if value}
        return tags | self.given


def parse_tag(text: str, option: str) -> tuple[str, str]:
    """Return (key, value) of `key=value`; raises TaxbreakError, naming the option, for other texts."""
    key, equals, value = text.partition("=")
    if not equals or not value or not _KEY.fullmatch(key):
        raise TaxbreakError(f"{option} {text!r}: write key=value, as in {option} model=llama")
    return key, value
