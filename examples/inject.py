"""Known costs put into one layer at a time, to see where an analysis counts them.

The same chain of matrix products in every phase: nothing added (`base`), a Python spin before each product
(`framework`), a spin inside cuBLAS (`library`, through inject_shim.c), a sleep (`blocked`); each for every size.
Needs torch; SHIM names the built inject_shim.c, which must also be in LD_PRELOAD.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import time
from collections.abc import Callable

# before torch: the shim's symbols must be found first
SHIM = ctypes.CDLL(os.environ["SHIM"], mode=ctypes.RTLD_GLOBAL) if "SHIM" in os.environ else None

import torch  # noqa: E402

from taxbreak_nsys import phase  # noqa: E402


def spin(us: float) -> None:
    """Keep the interpreter busy."""
    end = time.perf_counter_ns() + int(us * 1000)
    while time.perf_counter_ns() < end:
        pass


def main() -> None:
    """Run every phase in turn, `--repeat` times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ops", type=int, default=200, help="products a step")
    parser.add_argument("--us", type=float, nargs="+", default=[10, 30, 100])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--operators", action="store_true", help="mark operators with NVTX (emit_nvtx)")
    options = parser.parse_args()
    with torch.inference_mode():
        matrix = torch.randn(512, 512, device="cuda", dtype=torch.bfloat16)
        start = torch.randn(8, 512, device="cuda", dtype=torch.bfloat16)

        def chain(before: Callable[[], object]) -> None:
            value = start
            for _ in range(options.ops):
                before()
                value = torch.relu(torch.mm(value, matrix))
            torch.cuda.synchronize()

        def inside_cublas(us: float) -> None:
            if SHIM is not None:
                SHIM.set_spin_ns(ctypes.c_long(int(us * 1000)))

        def nothing() -> None:
            pass

        for _ in range(5):
            chain(nothing)
        torch.cuda.cudart().cudaProfilerStart()
        with torch.autograd.profiler.emit_nvtx() if options.operators else contextlib.nullcontext():
            for _ in range(options.repeat):
                with phase("base", sync=torch.cuda.synchronize):
                    chain(nothing)
                for us in options.us:
                    with phase(f"framework {us:g} us", sync=torch.cuda.synchronize):
                        chain(lambda us=us: spin(us))
                    with phase(f"blocked {us:g} us", sync=torch.cuda.synchronize):
                        chain(lambda us=us: time.sleep(us * 1e-6))
                    if SHIM is not None:
                        inside_cublas(us)
                        with phase(f"library {us:g} us", sync=torch.cuda.synchronize):
                            chain(nothing)
                        inside_cublas(0)
        torch.cuda.cudart().cudaProfilerStop()


if __name__ == "__main__":
    main()
