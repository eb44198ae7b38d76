"""Prints a plan for costs.py: rounds of kinds in a mixed order, two steps without a cost before each.

ENGINE_COSTS=$(python plan.py eager 16) python serve.py ...
"""

from __future__ import annotations

import json
import random
import sys

SIZES = (50, 200, 1000)
Kinds = list[tuple[str, int]]


def spins(*places: str, sizes: tuple[int, ...] = SIZES) -> Kinds:
    """Return the spins of some sizes at some places."""
    return [(place, size) for place in places for size in sizes]


KINDS: dict[str, Kinds] = {
    # the smallest costs most often: they need more steps to be told from the noise
    "eager": [*spins("forward"), *4 * spins("scheduler", "sampler", "output", sizes=(50,)), ("forward", 50),
              *2 * spins("scheduler", "sampler", "output", sizes=(200,)), ("forward", 200), ("sleep", 200),
              *spins("scheduler", "sampler", "output", sizes=(1000,)), ("sleep", 1000), ("kernels", 4), ("device", 5)],
    "samples": [("scheduler", 1000), ("sampler", 1000), ("output", 1000)],
    "graph": [*6 * spins("scheduler", "sampler", "output", sizes=(50,)), ("sleep", 200), ("sleep", 1000),
              *2 * spins("scheduler", "sampler", "output", sizes=(200,)), ("device", 5),
              *spins("scheduler", "sampler", "output", sizes=(1000,))],
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
    print(json.dumps({"plan": plan, "layers": name == "eager"}))


if __name__ == "__main__":
    main()
