"""Stands in for nsys: has the options of one version, and a sample report for what it "captures".

usage: fake_nsys.py OPTIONS_FILE EXPORT ARGUMENTS…
It refuses what the real one refuses, an option that it does not have.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

REACHES_RANGE = "FAKE_NSYS_REACHES_RANGE"
"""Set where the program is to have come to the capture range."""


def read_options(path: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return (facts, options with their values) of a list in tests/support/nsys_options."""
    facts, options = {}, {}
    for line in path.read_text().splitlines():
        name, *values = line.split()
        if name.startswith("--"):
            options[name] = values
        elif name != "#":
            facts[name] = " ".join(values)
    return facts, options


def main() -> int:
    listing, export, *arguments = sys.argv[1:]
    facts, options = read_options(Path(listing))
    if arguments == ["--version"]:
        print(f"NVIDIA Nsight Systems version {facts['version']}")
    elif arguments == ["--help"]:
        print("\n".join(f"\t{command}       Does it." for command in facts["commands"].split()))
    elif arguments == ["profile", "--help"]:
        for name, values in options.items():
            quoted = ", ".join(f"'{value}'" for value in values)
            print(f"\t{name}=\n\n\t   Possible values are {quoted}.\n")
    elif arguments[0] == "export":
        target = next(a for a in arguments if a.startswith("--output=")).partition("=")[2]
        shutil.copy(export, target)
    elif arguments[0] == "profile":
        given = {}
        rest = arguments[1:]
        while rest and rest[0].startswith("--"):
            name, _, value = rest.pop(0).partition("=")
            given[name] = value
            if name not in options:
                print(f"unrecognised option '{name}'")
                return 1
        status = subprocess.run(rest, check=False).returncode
        if "--capture-range" not in given or os.environ.get(REACHES_RANGE):
            Path(given["--output"]).write_bytes(b"a report")
        return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
