"""Prints a plan for costs.py: rounds of kinds in a mixed order, two steps without a cost before each.

ENGINE_COSTS=$(python plan.py eager 16) python serve.py ...
"""

from __future__ import annotations

import json
import random
import sys

SIZES = (50, 200, 1000)
Kinds = list[tuple[str, int]]


def spins(*places: str) -> Kinds:
    """Return the spins of every size at some places."""
    return [(place, size) for place in places for size in SIZES]


KINDS: dict[str, Kinds] = {
    # the smallest costs twice: they need more steps to be told from the noise
    "eager": [*spins("scheduler", "forward", "sampler", "output"), ("sleep", 200), ("sleep", 1000), ("kernels", 4),
              ("device", 5), ("scheduler", 50), ("sampler", 50), ("output", 50)],
    "samples": [("scheduler", 1000), ("forward", 200), ("sampler", 1000), ("output", 1000)],
    "graph": [*spins("scheduler", "sampler", "output"), ("sleep", 200), ("sleep", 1000), ("device", 5)],
    "rank": [("rank", 200), ("rank", 1000)],
    "front": [("front", 200), ("front", 1000)],
}  # fmt: skip


def main() -> None:
    """Print the plan as JSON."""
    name, rounds = sys.argv[1], int(sys.argv[2])
    chance = random.Random(7)
    plan: Kinds = []
    for _ in range(rounds):
        kinds = list(KINDS[name])
        chance.shuffle(kinds)
        for kind in kinds:
            plan += [("", 0), ("", 0), kind]
    print(json.dumps({"plan": plan, "layers": name in ("eager", "samples")}))


if __name__ == "__main__":
    main()
