"""The same decode step launched eagerly and as one CUDA graph. Needs torch."""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F

from taxbreak_nsys import phase


class Layer(torch.nn.Module):
    """A decoder layer with a cache of fixed size, so that a graph can hold it."""

    def __init__(self, width: int, heads: int, inner: int, context: int) -> None:
        """Allocate weights and cache."""
        super().__init__()
        self.heads = heads
        self.norms = torch.nn.ModuleList(torch.nn.RMSNorm(width) for _ in range(2))
        self.qkv = torch.nn.Linear(width, 3 * width, bias=False)
        self.out = torch.nn.Linear(width, width, bias=False)
        self.up = torch.nn.Linear(width, 2 * inner, bias=False)
        self.down = torch.nn.Linear(inner, width, bias=False)
        for name in ("keys", "values"):
            self.register_buffer(name, torch.zeros(1, heads, context, width // heads))

    def forward(self, x: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """Decode one token."""
        q, k, v = self.qkv(self.norms[0](x)).view(1, 1, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        self.keys.index_copy_(2, position, k)
        self.values.index_copy_(2, position, v)
        attended = F.scaled_dot_product_attention(q, self.keys, self.values)
        x = x + self.out(attended.transpose(1, 2).reshape(1, 1, -1))
        gate, up = self.up(self.norms[1](x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


def main() -> None:
    """Warm up, record the graph, then run the step both ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    torch.manual_seed(0)
    with torch.inference_mode():
        net = torch.nn.ModuleList(Layer(2048, 16, 5632, 512) for _ in range(options.layers)).to("cuda", torch.bfloat16)
        x = torch.randn(1, 1, 2048, device="cuda", dtype=torch.bfloat16)
        position = torch.zeros(1, dtype=torch.long, device="cuda")

        def step() -> torch.Tensor:
            y = x
            for layer in net:
                y = layer(y, position)
            return y

        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(5):
                step()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        for _ in range(3):
            graph.replay()
            step()
        torch.cuda.synchronize()
        torch.cuda.cudart().cudaProfilerStart()
        for name, run in (("decode_eager", step), ("decode_graph", graph.replay)):
            for _ in range(options.steps):
                with phase(name, sync=torch.cuda.synchronize):
                    run()
                    torch.cuda.synchronize()
        torch.cuda.cudart().cudaProfilerStop()


if __name__ == "__main__":
    main()
