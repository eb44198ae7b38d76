"""Puts what the processes of one run measured into one file: `merge.py OUT NAME` writes OUT/truth/NAME.json."""

from __future__ import annotations

import json
import pathlib
import sys


def main() -> None:
    """Merge OUT/NAME.front.json and OUT/NAME.process.PID.json."""
    folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
    front = json.loads((folder / f"{name}.front.json").read_text())
    if "segments" in front:  # an engine, not the loop
        processes = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{name}.process.*.json"))]
        front = {
            "args": front["args"],
            "segments": front["segments"],
            "front": front["front"],
            "front_rows": front["rows"],
            "stolen": front["stolen"],
            "processes": processes,
        }
    (folder / "truth" / f"{name}.json").write_text(json.dumps(front, separators=(",", ":")))


if __name__ == "__main__":
    main()
