"""Parses option values with units: times, numbers and sizes."""

from __future__ import annotations

import re
from decimal import Decimal

from taxbreak_nsys.errors import TaxbreakError

_TIME = re.compile(r"\s*([+-]?\d+(?:\.\d*)?)\s*(ns|nsec|us|usec|ms|msec|s|sec)?\s*")
_TIME_FACTORS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGT]?)(?:i?B)?")
_SIZE_FACTORS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_time(text: str, option: str) -> int:
    """Return a time in ns from texts such as `123`, `1.5s`, `20 ms`; raises TaxbreakError naming the option."""
    match = _TIME.fullmatch(text)
    if not match:
        raise TaxbreakError(f"{option} {text!r}: not a time; write nanoseconds, or 1.5s, 20ms, 300us")
    return int(Decimal(match[1]) * _TIME_FACTORS[(match[2] or "ns").removesuffix("ec")])


def parse_number(text: str, option: str) -> float:
    """Return the text as a number; raises TaxbreakError naming the option."""
    try:
        return float(text)
    except ValueError as error:
        raise TaxbreakError(f"{option} {text!r}: not a number") from error


def parse_size(text: str, option: str) -> int:
    """Return bytes from texts such as `512M`, `4G` (powers of 1024); raises TaxbreakError naming the option."""
    match = _SIZE.fullmatch(text.strip())
    if not match or not float(match[1]):
        raise TaxbreakError(f"{option} {text!r}: not a size; write 512M or 4G")
    return int(float(match[1]) * _SIZE_FACTORS[match[2].upper()])
