"""Prefill and decode in transformers' loop, of the same shapes as serve.py: bare times first, then one capture.

`examples/llm.py` has the shapes and the model; here steps end when their token is known, and every time is kept.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time
from typing import Any

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from llm import SHAPES, build


@torch.inference_mode()
def generate(net: torch.nn.Module, batch: int, prompt: int, steps: int, times: list[Any], kind: str) -> None:
    """Run one prefill and some decode steps, marked where they are captured."""
    tokens = torch.randint(0, 1000, (batch, prompt), device="cuda")

    def step(name: str, **inputs: Any) -> tuple[Any, torch.Tensor]:
        torch.cuda.synchronize()
        began = time.perf_counter_ns()
        if kind == "captured":
            torch.cuda.nvtx.range_push(f"{name} b{batch} p{prompt}.")
        out = net(use_cache=True, **inputs)
        token = out.logits[:, -1].argmax(-1, keepdim=True)
        token.cpu()
        if kind == "captured":
            torch.cuda.nvtx.range_pop()
        times.append((kind, name, batch, prompt, began, time.perf_counter_ns()))
        return out, token

    out, token = step("prefill", input_ids=tokens, logits_to_keep=1)
    for _ in range(steps):
        out, token = step("decode", input_ids=token, past_key_values=out.past_key_values)


def main() -> None:
    """Build, measure bare with each implementation of the experts, capture the last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="llama-3.2-1b", choices=SHAPES)
    parser.add_argument("--batches", type=int, nargs="+", default=[1])
    parser.add_argument("--prompts", type=int, nargs="+", default=[128])
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--bare", type=int, default=3)
    parser.add_argument("--experts", default="eager")
    parser.add_argument("--other", nargs="*", default=[], help="other implementations of the experts, measured bare")
    parser.add_argument("--out", help="JSON of what ran")
    chosen = parser.parse_args()
    torch.manual_seed(0)
    net = build(chosen.model)
    times: list[Any] = []
    settings = [(batch, prompt) for batch in chosen.batches for prompt in chosen.prompts]
    for experts in [*chosen.other, chosen.experts]:
        if "moe" in chosen.model:
            net.set_experts_implementation(experts)
        for batch, prompt in settings:
            generate(net, batch, prompt, 2, times, f"warm {experts}")
        for _ in range(chosen.bare):
            for batch, prompt in settings:
                generate(net, batch, prompt, chosen.steps, times, f"bare {experts}")
    torch.cuda.cudart().cudaProfilerStart()
    for batch, prompt in settings:
        generate(net, batch, prompt, chosen.steps, times, "captured")
    torch.cuda.synchronize()
    torch.cuda.cudart().cudaProfilerStop()
    if chosen.out:
        pathlib.Path(chosen.out).write_text(json.dumps({"args": vars(chosen), "times": times}, separators=(",", ":")))


if __name__ == "__main__":
    main()
