"""Removes private data from texts: secrets, folders, hosts, addresses, people.

Each pattern starts with a lookbehind or literal that limits where a match can begin, so a search takes time linear in
the text's length. `tests/integration/test_scrub_secrets.py` has the corpus of texts that it must handle.
"""

# ruff: noqa: E501  (a pattern, or a text, is one line)

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from math import log2

REMOVED = "[removed]"

_SECRET_WORD = (
    r"(?:pass(?:word|wd|phrase|code)|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|auth(?:orization)?"
    r"|credentials?|cookie|session[_-]?id|licen[cs]e[_-]?key|signature|connection[_-]?string)"
)
_VALUE = r"""(?:"[^"\n]*"?|'[^'\n]*'?|[^\s,;&|"'()<>\[\]{}]+)"""
_ONE_LABEL = "com|org|edu|gov|local|localdomain|internal|intranet|corp|lan|home|svc|cluster|example"
_TWO_LABELS = "net|io|ai|dev|cloud|de|uk|fr|ch|cn|jp|in|eu|us|co"

_PATTERNS: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE if fold else 0), new)
    for kind, fold, pattern, new in (
        ("key", False, r"-----BEGIN[^-]{0,60}PRIVATE KEY-----(?:.|\n)*", REMOVED),
        ("token", True, rf"(?<![\w-])(?:proxy-)?authorization['\"]?\s*[:=]\s*(?:(?:bearer|basic|token|digest)\s+)?{_VALUE}",
         f"authorization: {REMOVED}"),
        ("token", True, rf"(?<!\w)bearer[\s:=]+{_VALUE}", f"bearer {REMOVED}"),
        ("token", True, r"(?<!\w)basic\s+[A-Za-z0-9+/]{8,}={0,2}(?![\w+/])", f"basic {REMOVED}"),
        ("token", False, r"(?<![A-Za-z0-9])(?:gh[pousr]_|github_pat_|glpat-|hf_|npm_|pypi-|nvapi-|sk-|pk-|rk_|xox[abeprs]-"
         r"|AKIA|ASIA|AIza|ya29\.|dop_v1_|SG\.)(?=[\w.-]{0,40}[0-9A-Z])[\w.-]{3,}", REMOVED),
        ("token", False, r"(?<![A-Za-z0-9_-])eyJ[\w-]{4,}(?:\.[\w-]*)*", REMOVED),
        ("token", False, r"(?<![A-Za-z0-9])[0-9a-f]{32,}(?![A-Za-z0-9])|(?<![A-Za-z0-9])[0-9A-F]{32,}(?![A-Za-z0-9])", REMOVED),
        ("password", True, r"(?<![\w+.-])[a-z][a-z0-9+.-]{1,20}://[^\s/@:]{0,80}:[^\s/@]{0,80}@", "://"),
        ("host", True, r"(?<![\w+.-])[a-z][a-z0-9+.-]{1,20}://[^\s/\"'<>?#]{1,255}", REMOVED),
        ("address", False, r"(?<![\w.+-])[\w.+%-]{1,64}@[\w-]+(?:\.[\w-]+)*", REMOVED),
        ("address", True, r"(?<![\w.])(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}(?![\w.])(?::\d+)?", REMOVED),
        ("address", True, r"(?<![\w:-])(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}(?![\w:-])", REMOVED),
        ("address", True, r"(?<![\w:])(?:[0-9a-f]{1,4}:){5,7}[0-9a-f]{1,4}(?![\w:])|(?<![\w:])(?:fe80|f[cd][0-9a-f]{2}|200[01])"
         r"(?::[0-9a-f]{0,4}){1,7}(?![\w:])", REMOVED),
        ("host", True, rf"(?<![\w.-])(?:[a-z0-9-]{{1,63}}\.)+(?:{_ONE_LABEL})(?![\w-])(?::\d+)?", REMOVED),
        ("host", True, rf"(?<![\w.-])(?:[a-z0-9-]{{1,63}}\.){{2,}}(?:{_TWO_LABELS})(?![\w-])(?::\d+)?", REMOVED),
        ("folder", True, r"(?:%2f|%5c)[^\s/\\]*", REMOVED),
        ("folder", True, r"(?<![\w.\\/)])(?:[a-z]:)?[\\/](?:home|users|root|nfs|mnt|scratch|lustre|gpfs|workspace)[\\/][^\\/\s\0\"']+"
         r"(?=$|[\s\0\"'):,])",
         REMOVED),
        ("folder", False, r"(?<![\w.~])~\w*[\\/](?:[^\\/\s\0]+[\\/])*", ""),
        ("folder", False, r"(?<![\w.\\/)])(?:file:)?(?:[A-Za-z]:)?[\\/]{1,3}(?:[^\\/\s\0]+[\\/]+)+", ""),
    )
)  # fmt: skip
"""(kind of private data, pattern, replacement), applied in this order."""

_SECRET_NAME = re.compile(_SECRET_WORD, re.IGNORECASE)
_NAME = re.compile(r"(?<![\w.-])[\w.-]++")
_ASSIGNMENT = re.compile(rf"(?P<quote>[\"']?)(?:(?P<mark>\s*+(?:=>|[:=])\s*+)|(?P<blank>\s++))(?P<value>{_VALUE})")
_QUOTED_KEY = re.compile(
    r"(?<!\w)(?P<name>-{0,2}key[\"']?)(?P<mark>\s*+[:=]\s*+)(?:\"[^\"\n]*+\"?|'[^'\n]*+'?)", re.IGNORECASE
)
_COUNTS = re.compile(r"\d{1,8}")
_RANDOM = re.compile(r"(?<![A-Za-z0-9+/=_])[A-Za-z0-9+/]{28,}={0,2}(?![A-Za-z0-9+/=_])")
_LEAST_ENTROPY = 4.5


def without_private(text: str, names: Sequence[str] = ()) -> tuple[str, Counter[str]]:
    """Return a text without private data, and the number of removals by kind.

    `names` are the report's hosts and users, which are removed everywhere.
    """
    removed: Counter[str] = Counter()
    text = text.replace("\0", " ")
    for kind, pattern, new in _PATTERNS:
        text, count = pattern.subn(new, text)
        if count:
            removed[kind] += count
    text, count = _QUOTED_KEY.subn(rf"\g<name>\g<mark>{REMOVED}", text)
    removed["token"] += count
    text = _without_assigned(text, removed)
    text = _RANDOM.sub(lambda match: _unless_random(match[0], removed), text)
    for name in names:
        count = text.count(name)
        if count:
            text = text.replace(name, REMOVED)
            removed["name of a host or person"] += count
    return text, +removed


def without_secrets(text: str) -> str:
    """Return a text without private data."""
    return without_private(text)[0]


def _without_assigned(text: str, removed: Counter[str]) -> str:
    """Remove values assigned to names of secrets (`password=…`); a number of tokens is not a secret."""
    if not _SECRET_NAME.search(text):
        return text
    parts: list[str] = []
    at = 0
    for name in _NAME.finditer(text):
        if name.start() < at or not _SECRET_NAME.search(name[0]):
            continue
        match = _ASSIGNMENT.match(text, name.end())
        if match is None or match["value"].startswith(REMOVED[:-1]):
            continue
        counts = "token" in name[0].lower() and _COUNTS.fullmatch(match["value"])
        # `--password x` and `PASSWORD "x"` assign without = or :, but `auth step` is plain text.
        assigns = match["mark"] or name[0].startswith("-") or match["value"][0] in "\"'"
        if assigns and not counts:
            parts += [text[at : match.start("value")], REMOVED]
            at = match.end()
            removed["token"] += 1
    return "".join([*parts, text[at:]])


def _unless_random(text: str, removed: Counter[str]) -> str:
    """Return REMOVED for a random-looking text: high entropy with upper case, lower case and digits."""
    counts = Counter(text)
    entropy = -sum(n / len(text) * log2(n / len(text)) for n in counts.values())
    kinds = (re.search(kind, text) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    if entropy < _LEAST_ENTROPY or not all(kinds):
        return text
    removed["token"] += 1
    return REMOVED
