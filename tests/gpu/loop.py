"""A small generation loop in PyTorch with NVTX phases, to capture on a GPU machine.

A few transformer-like layers with random weights: one `prefill` over many tokens, then `decode` steps of one
token, each ending in a synchronisation as sampling a token does. Small kernels, so that the host is what costs.

usage: python loop.py [--steps N] [--emit-nvtx] [--times FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time

import torch
from torch import nn

WIDTH, HEADS, LAYERS, PROMPT = 1024, 16, 8, 512


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, tokens, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        scores = torch.softmax(q @ k.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5, dim=-1)
        x = x + self.out((scores @ v).transpose(1, 2).reshape(batch, tokens, WIDTH))
        return x + self.down(torch.nn.functional.gelu(self.up(self.norm2(x))))


@torch.inference_mode()
def generate(model: nn.Module, steps: int, times: dict[str, list[float]], *, mark: bool) -> None:
    """Run one prefill and `steps` decode steps; `times` gets each one's wall time in ms."""
    for number in range(steps + 1):
        phase, tokens = ("prefill", PROMPT) if number == 0 else ("decode", 1)
        x = torch.randn(1, tokens, WIDTH, device="cuda", dtype=torch.bfloat16)
        torch.cuda.synchronize()
        start = time.perf_counter_ns()
        with torch.cuda.nvtx.range(phase) if mark else contextlib.nullcontext():
            model(x).sum().item()
        times.setdefault(phase, []).append((time.perf_counter_ns() - start) / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--emit-nvtx", action="store_true", help="mark every operator, where nsys cannot")
    parser.add_argument("--times", help="write the phases' wall times here, as JSON that --reference reads")
    given = parser.parse_args()
    model = nn.Sequential(*(Layer() for _ in range(LAYERS))).to("cuda", torch.bfloat16).eval()
    generate(model, given.steps, {}, mark=False)
    times: dict[str, list[float]] = {}
    torch.cuda.cudart().cudaProfilerStart()
    with torch.autograd.profiler.emit_nvtx() if given.emit_nvtx else contextlib.nullcontext():
        generate(model, given.steps, times, mark=True)
    torch.cuda.synchronize()
    torch.cuda.cudart().cudaProfilerStop()
    summary = {name: {"instances": len(ms), "median_ms": round(statistics.median(ms), 3)} for name, ms in times.items()}
    print(json.dumps(summary))
    if given.times:
        with open(given.times, "w") as file:
            json.dump(summary, file)


if __name__ == "__main__":
    main()
