"""Prefill and decode of a language model of a public model's shapes, with random weights.

Captured (see README.md here), the steps are phases; run bare with TAXBREAK_REFERENCE=times.json, the same script
writes the un-profiled wall times of the same phases. Needs torch and transformers.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools

import torch
import torch.nn.functional as F
import transformers
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from taxbreak_nsys import phase

SHAPES = {
    "llama-3.2-1b": ("LlamaConfig", {"vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192,
        "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64}),
    "llama-3.2-3b": ("LlamaConfig", {"vocab_size": 128256, "hidden_size": 3072, "intermediate_size": 8192,
        "num_hidden_layers": 28, "num_attention_heads": 24, "num_key_value_heads": 8, "head_dim": 128}),
    "olmoe-1b-7b": ("OlmoeConfig", {"vocab_size": 50304, "hidden_size": 2048, "intermediate_size": 1024,
        "num_hidden_layers": 16, "num_attention_heads": 16, "num_key_value_heads": 16, "num_experts": 64,
        "num_experts_per_tok": 8}),
    "qwen1.5-moe-a2.7b": ("Qwen2MoeConfig", {"vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 5632,
        "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 16, "num_experts": 60,
        "num_experts_per_tok": 4, "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632}),
}  # fmt: skip


def every_expert(
    experts: torch.nn.Module, hidden: torch.Tensor, chosen: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """A mixture that goes through all experts, also those that no token chose (`--experts every`)."""
    result = torch.zeros_like(hidden)
    for number in range(experts.num_experts):
        token, place = torch.where(chosen == number)
        gate, up = F.linear(hidden[token], experts.gate_up_proj[number]).chunk(2, dim=-1)
        part = F.linear(experts.act_fn(gate) * up, experts.down_proj[number])
        result.index_add_(0, token, part * weights[token, place, None])
    return result


ALL_EXPERTS_FUNCTIONS.register("every", every_expert)


def build(model: str) -> torch.nn.Module:
    """Return the model in bfloat16 on the GPU."""
    kind, shape = SHAPES[model]
    config = getattr(transformers, kind)(**shape)
    with torch.device("cuda"):
        net = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
    return net.eval()


@torch.inference_mode()
def generate(net: torch.nn.Module, batch: int, prompt: int, steps: int, label: str, mark: bool) -> None:
    """Run one prefill and some decode steps; `label` tells the phases of several settings apart."""

    def marked(name: str) -> contextlib.AbstractContextManager[object]:
        return phase(name + label, sync=torch.cuda.synchronize) if mark else contextlib.nullcontext()

    tokens = torch.randint(0, 1000, (batch, prompt), device="cuda")
    with marked("prefill"):
        out = net(input_ids=tokens, use_cache=True, logits_to_keep=1)
        token = out.logits[:, -1].argmax(-1, keepdim=True)
        token.cpu()
    for _ in range(steps):
        with marked("decode"):
            out = net(input_ids=token, past_key_values=out.past_key_values, use_cache=True)
            token = out.logits[:, -1].argmax(-1, keepdim=True)
            token.cpu()


def main() -> None:
    """Build, warm up, and run each setting between cudaProfilerStart and cudaProfilerStop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="llama-3.2-1b", choices=SHAPES)
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--prompt", type=int, nargs="+", default=[64])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument(
        "--experts", nargs="+", default=[None], help="eager, grouped_mm, batched_mm of transformers, or every"
    )
    parser.add_argument("--operators", action="store_true", help="mark operators with NVTX (emit_nvtx)")
    options = parser.parse_args()
    torch.manual_seed(0)
    net = build(options.model)
    settings = list(itertools.product(options.experts, options.batch, options.prompt))

    def run(mark: bool) -> None:
        for experts, batch, prompt in settings:
            if experts:
                net.set_experts_implementation(experts)
            parts = [experts] if len(options.experts) > 1 else []
            if len(options.batch) * len(options.prompt) > 1:
                parts += [f"b{batch}", f"p{prompt}"]
            # a label must not end in a number: that would be taken for the number of a step
            label = "".join(f" {part}" for part in parts) + "." if parts else ""
            generate(net, batch, prompt, options.steps, label, mark=mark)

    for _ in range(2):
        run(mark=False)
    torch.cuda.synchronize()
    torch.cuda.cudart().cudaProfilerStart()
    with torch.autograd.profiler.emit_nvtx() if options.operators else contextlib.nullcontext():
        for _ in range(options.repeat):
            run(mark=True)
    torch.cuda.synchronize()
    torch.cuda.cudart().cudaProfilerStop()


if __name__ == "__main__":
    main()
