"""Known costs put into one layer at a time, to see where an analysis counts them.

Short steps of the same matrix products: in every second one nothing is added (`base`), in those between them a
Python spin before each product (`framework`), a spin inside cuBLAS (`library`, through inject_shim.c), the same spin
just before cuBLAS's range begins (`native`), or a sleep (`blocked`, in the shim too), for every size in turn. Every
injected cost is measured by the clock that ends it, and the base pays the same calls with nothing to do: what was
added is the difference of the two measurements, written to the file that INJECT_TRUTH names, a row a step.

`--apart N` adds steps of one product each, N pairs a size: the cost just inside the phase and just outside of it.
`--gap US` waits up to so long before each step, and makes each step's costs anything up to twice the size, both at
random: samples at a fixed period fall in step with a program that repeats itself, and see some places more than others.
Needs torch; SHIM names the built inject_shim.c, which must also be in LD_PRELOAD.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import os
import random
import time
from collections.abc import Iterator

# before torch: the shim's symbols must be found first
SHIM = ctypes.CDLL(os.environ["SHIM"], mode=ctypes.RTLD_GLOBAL)
SHIM.shim_nap.argtypes = [ctypes.c_long]
SHIM.shim_ask.argtypes = [ctypes.c_long, ctypes.c_long]

import torch  # noqa: E402

from taxbreak_nsys import phase  # noqa: E402

COLUMNS = ("label", "spin", "nap", "before", "inside", "asleep", "calls")
"""A row of what a step was given, ns: Python's spins and naps, cuBLAS's spins, the waits alone; calls of cuBLAS."""

KINDS = ("framework", "library", "native", "blocked")
STEPS_A_ROUND = {10: 4, 30: 2}
"""Small costs need more steps to be told from the noise; one step a round of any other size."""

now = time.perf_counter_ns
took = {"spin": 0, "nap": 0}


def spin(ns: int) -> None:
    """Keep the interpreter busy."""
    began = now()
    while now() - began < ns:
        pass
    took["spin"] += now() - began


def nap(ns: int) -> None:
    """Sleep, where there is anything to sleep; the shim measures the wait, this the whole call."""
    began = now()
    SHIM.shim_nap(ns)
    took["nap"] += now() - began


class Steps:
    """Runs steps and keeps what was really added in each."""

    def __init__(self, products: int, gap_us: int) -> None:
        """Allocate the matrices."""
        self.products, self.gap_us = products, gap_us
        self.random = random.Random(0)
        self.matrix = torch.randn(512, 512, device="cuda", dtype=torch.bfloat16)
        self.value = torch.randn(8, 512, device="cuda", dtype=torch.bfloat16)
        self.rows: list[tuple[str, *tuple[int, ...]]] = []

    def product(self) -> None:
        """One matrix product and one operator without a library."""
        self.value = torch.relu(torch.mm(self.value, self.matrix))

    def step(self, label: str, kind: str, ns: int) -> None:
        """Run one step as a phase, with `ns` of one kind at each product."""
        if self.gap_us:
            ns = self.random.randrange(2 * ns + 1)
            torch.cuda.synchronize()
        spun, slept = ns if kind == "framework" else 0, ns if kind == "blocked" else 0
        ask(ns if kind == "native" else 0, ns if kind == "library" else 0)
        until = now() + self.random.randrange(self.gap_us * 1000 + 1)
        while now() < until:
            pass
        with phase(label, sync=None if self.gap_us else torch.cuda.synchronize):
            for _ in range(self.products):
                spin(spun)
                nap(slept)
                self.product()
        self.keep(label)

    def apart(self, kind: str, ns: int, pairs: int) -> None:
        """Run pairs of one product each: the cost outside of its phase, and inside."""
        pay = spin if kind == "framework" else nap
        ask(0, 0)
        for pair in range(pairs):
            for place, outside, inside in (("outside", ns, 0), ("inside", 0, ns)):
                label = f"{kind} {ns // 1000} us {place}"
                pay(outside)
                take()
                with phase(label):
                    pay(inside)
                    self.product()
                self.keep(label)
            if pair % self.products == 0:
                torch.cuda.synchronize()

    def keep(self, label: str) -> None:
        """Keep what was added since the last time, in ns, in the order of COLUMNS."""
        self.rows.append((label, *take()))


def ask(before_ns: int, inside_ns: int) -> None:
    """Say what every call of cuBLAS is to cost from now on, and forget what was spent."""
    SHIM.shim_ask(before_ns, inside_ns)
    take()


def take() -> list[int]:
    """Return what was spent since the last time."""
    spent = (ctypes.c_long * 4)()
    SHIM.shim_took(spent)
    row = [took["spin"], took["nap"], *spent]
    took.update(spin=0, nap=0)
    return row


def turns(kinds: list[str], sizes: list[int]) -> list[tuple[str, int]]:
    """Return what a round injects, in an order that mixes the kinds."""
    longest = max(STEPS_A_ROUND.get(size, 1) for size in sizes)
    return [
        (kind, size)
        for number in range(longest)
        for size in sizes
        if number < STEPS_A_ROUND.get(size, 1)
        for kind in kinds
    ]


def alternated(rounds: int, repeats: int, kinds: list[str], sizes: list[int]) -> Iterator[tuple[str, str, int]]:
    """Yield (label, kind, ns): a base before and after each injected step, every second round backwards."""
    for number in range(rounds):
        # in brackets: a number at the end would be taken for that of a step
        repeat = f" ({1 + number * repeats // rounds})"
        order = turns(kinds, sizes)
        for kind, us in order if number % 2 == 0 else reversed(order):
            yield "base" + repeat, "base", 0
            yield f"{kind} {us} us{repeat}", kind, us * 1000
        yield "base" + repeat, "base", 0


def pin() -> None:
    """Keep this thread, not those of the profiler, on one core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def main() -> None:
    """Run the rounds between cudaProfilerStart and cudaProfilerStop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=20, help="a step")
    parser.add_argument("--us", type=int, nargs="+", default=[10, 30, 100])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5, help="parts of the rounds with labels of their own")
    parser.add_argument("--apart", type=int, default=0, metavar="N")
    parser.add_argument("--gap", type=int, default=0, metavar="US", help="up to so long between steps")
    parser.add_argument("--operators", action="store_true", help="mark operators with NVTX (emit_nvtx)")
    options = parser.parse_args()
    with torch.inference_mode():
        steps = Steps(options.products, options.gap)
        for _ in range(200):
            steps.product()
        torch.cuda.synchronize()
        torch.cuda.cudart().cudaProfilerStart()
        # the profiler has made its threads when the first launches are through: they keep the other cores
        for _ in range(200):
            steps.product()
        torch.cuda.synchronize()
        pin()
        gc.disable()  # a collection would be a cost of one step and not of its neighbour
        with torch.autograd.profiler.emit_nvtx() if options.operators else contextlib.nullcontext():
            for label, kind, ns in alternated(options.rounds, options.repeats, options.kinds, options.us):
                steps.step(label, kind, ns)
            for kind in ("framework", "blocked"):
                for us in options.us:
                    steps.apart(kind, us * 1000, options.apart)
        torch.cuda.synchronize()
        torch.cuda.cudart().cudaProfilerStop()
    if "INJECT_TRUTH" in os.environ:
        truth = {"products": options.products, "columns": COLUMNS}
        with open(os.environ["INJECT_TRUTH"], "w") as file:
            json.dump(truth | {"steps": steps.rows}, file)


if __name__ == "__main__":
    main()
