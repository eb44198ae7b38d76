"""The validation: from captures to docs/data/*/*.json, and from those to docs/validation*.md and their figures.

    python docs/validation.py extract CAPTURES MACHINE      # analyse what examples/capture_all.sh wrote
    python docs/validation.py extract-engine CAPTURES HOST  # analyse what examples/engine/capture_engine.sh wrote
    python docs/validation.py render                        # write the pages from docs/data

Every number on the pages is computed by `render` from the JSON beside them.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


def main() -> None:
    """Run one of the commands."""
    if len(sys.argv) == 4 and sys.argv[1] == "extract":
        from validating.extract import extract

        extract(Path(sys.argv[2]), HERE / "data" / sys.argv[3])
    elif len(sys.argv) == 4 and sys.argv[1] == "extract-engine":
        from validating.engine_extract import extract_engine

        extract_engine(Path(sys.argv[2]), HERE / "data" / "engine" / sys.argv[3])
    elif sys.argv[1:] == ["render"]:
        from validating.document import render

        render(HERE)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
