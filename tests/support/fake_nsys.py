"""Stands in for nsys: has the options of one version, and a sample report for what it "captures".

usage: fake_nsys.py OPTIONS_FILE EXPORT ARGUMENTS…
It refuses what the real one refuses, an option that it does not have.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

REACHES_RANGE = "FAKE_NSYS_REACHES_RANGE"
"""Set where the program is to have come to the capture range."""
SESSIONS, CALLS, RECORDS_NOTHING = "FAKE_NSYS_SESSIONS", "FAKE_NSYS_CALLS", "FAKE_NSYS_RECORDS_NOTHING"
"""Lines of `nsys sessions list`; the file that is to get each launch, start and stop; set where no report comes."""


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
    elif arguments == ["sessions", "list"]:
        print("              ID         TIME                       STATE LAUNCH NAME")
        print(os.environ.get(SESSIONS, ""))
    elif arguments[0] in ("launch", "start", "stop"):
        with Path(os.environ[CALLS]).open("a") as calls:
            calls.write(shlex.join(arguments) + "\n")
        if arguments[0] == "launch":
            command = [a for a in arguments[1:] if not a.startswith("--")]
            return subprocess.run(command, check=False).returncode
        output = [a for a in arguments if a.startswith("--output=")]
        if output and not os.environ.get(RECORDS_NOTHING):
            Path(output[0].partition("=")[2]).write_bytes(b"a report")
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
