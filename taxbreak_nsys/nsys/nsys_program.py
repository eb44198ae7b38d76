"""The installed nsys: its path, its version, and the options of its commands."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from taxbreak_nsys.errors import TaxbreakError

_VERSION = re.compile(r"\bversion (\d{4})\.(\d+)\.(\d+)")
_OPTION_LINE = re.compile(
    r"^\s*(?:\([A-Za-z]+\)\s*)?(?:-\w,\s*)?(--[a-z][\w-]*(?:\[[\w|-]+\])?)(?:[=\s]|$)", re.MULTILINE
)
_SECONDS = 60


@dataclass(frozen=True)
class Nsys:
    """An installed nsys; each property runs nsys when it is first read."""

    program: Path

    @classmethod
    def find(cls) -> Nsys | None:
        """Return the nsys on PATH, or None if there is none."""
        path = shutil.which("nsys")
        return cls(Path(path)) if path else None

    @classmethod
    def require(cls) -> Nsys:
        """Return the nsys on PATH; raises TaxbreakError if there is none."""
        nsys = cls.find()
        if nsys is None:
            raise TaxbreakError(
                "nsys is not on PATH; install NVIDIA Nsight Systems, or put the folder that holds nsys on PATH"
            )
        return nsys

    def ask(self, *arguments: str) -> str:
        """Return the output (stdout, then stderr) of nsys with these arguments; '' if it cannot be run."""
        try:
            done = subprocess.run(
                [str(self.program), *arguments], capture_output=True, text=True, errors="replace", timeout=_SECONDS,
                check=False, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout + done.stderr

    @cached_property
    def version_text(self) -> str:
        """The version as nsys prints it; '' if it prints none."""
        match = re.search(r"\bversion (\S+)", self.ask("--version"))
        return match[1] if match else ""

    @cached_property
    def version(self) -> tuple[int, int, int] | None:
        """Year, number and patch, such as (2023, 4, 4); None if nsys prints no version."""
        match = _VERSION.search(f"version {self.version_text}")
        return (int(match[1]), int(match[2]), int(match[3])) if match else None

    @property
    def release(self) -> str:
        """The version for messages: `2023.4.4`, or the text that nsys prints."""
        return ".".join(map(str, self.version)) if self.version else self.version_text or "of an unknown version"

    @cached_property
    def commands(self) -> frozenset[str]:
        """The sub-commands that `nsys --help` lists."""
        return frozenset(re.findall(r"^\s{1,8}([a-z]+)(?:\s|$)", self.ask("--help"), re.MULTILINE))

    @cached_property
    def _profile_help(self) -> str:
        return self.ask("profile", "--help")

    @cached_property
    def profile_options(self) -> frozenset[str]:
        """The long options of `nsys profile`, such as `--trace`; empty if its help cannot be read."""
        return frozenset(_OPTION_LINE.findall(self._profile_help))

    def option_values(self, option: str) -> frozenset[str]:
        """Return the values that the help of `nsys profile` quotes for an option, such as 'cuda' and 'nvtx'."""
        text = self._profile_help
        start = next((m for m in _OPTION_LINE.finditer(text) if m[1] == option), None)
        if start is None:
            return frozenset()
        end = next((m.start() for m in _OPTION_LINE.finditer(text, start.end())), len(text))
        return frozenset(re.findall(r"['`\"]([A-Za-z][\w-]*)['`\"]", text[start.end() : end]))
