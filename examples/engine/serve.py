"""One vLLM engine with random weights: bare times of each setting, then one capture of all of them.

The shapes are those of public checkpoints. Prompts are token ids, so no tokenizer is needed. What ran is written to
`--out`; costs.py writes what the engine's own processes measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import costs

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 128256, "intermediate_size": 8192,
    "num_key_value_heads": 8, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "max_position_embeddings": 8192,
    "hidden_act": "silu", "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16",
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "llama-3.2-1b": LLAMA | {"hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32, "head_dim": 64},
    "llama-3.2-3b": LLAMA | {"hidden_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 24, "head_dim": 128},
    "olmoe-1b-7b": {
        "architectures": ["OlmoeForCausalLM"], "model_type": "olmoe", "vocab_size": 50304, "hidden_size": 2048,
        "intermediate_size": 1024, "num_hidden_layers": 16, "num_attention_heads": 16, "num_key_value_heads": 16,
        "num_experts": 64, "num_experts_per_tok": 8, "norm_topk_prob": False, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "max_position_embeddings": 4096, "hidden_act": "silu", "tie_word_embeddings": False,
        "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16",
    },
    "qwen1.5-moe-a2.7b": {
        "architectures": ["Qwen2MoeForCausalLM"], "model_type": "qwen2_moe", "vocab_size": 151936, "hidden_size": 2048,
        "intermediate_size": 5632, "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 16,
        "num_experts": 60, "num_experts_per_tok": 4, "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632, "decoder_sparse_step": 1, "norm_topk_prob": False,
        "mlp_only_layers": [], "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "max_position_embeddings": 8192,
        "hidden_act": "silu", "tie_word_embeddings": False, "use_sliding_window": False, "sliding_window": None,
        "max_window_layers": 24, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16",
    },
}  # fmt: skip


def options() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="llama-3.2-1b", choices=CONFIGS)
    parser.add_argument("--layers", type=int, help="fewer layers than the model has")
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--no-graphs", action="store_true", help="compiled, but launched kernel by kernel")
    parser.add_argument("--batches", type=int, nargs="+", default=[1], help="requests at a time")
    parser.add_argument("--prompts", type=int, nargs="+", default=[128], help="tokens of a prompt")
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--bare", type=int, default=3, help="bare runs of each setting before the capture")
    parser.add_argument("--bare-tokens", type=int)
    parser.add_argument(
        "--stolen",
        type=float,
        default=0.0,
        help="a second set of bare runs, in which a program of "
        "higher priority takes this share of the core ENGINE_CORE",
    )
    parser.add_argument("--stolen-capture", action="store_true", help="capture while that share is taken")
    parser.add_argument("--staggered", action="store_true", help="prompts and outputs of unlike lengths")
    parser.add_argument("--tp", type=int, default=1, help="GPUs, tensor parallel")
    parser.add_argument("--sync", action="store_true", help="async scheduling off")
    parser.add_argument("--ngram", type=int, default=0, help="speculative tokens by n-gram")
    parser.add_argument("--out", help="JSON of what ran")
    return parser.parse_args()


def engine(chosen: argparse.Namespace) -> Any:
    """Return the engine, warmed up by itself."""
    path = pathlib.Path("/tmp/models") / (chosen.model + (f"-{chosen.layers}" if chosen.layers else ""))
    path.mkdir(parents=True, exist_ok=True)
    config = CONFIGS[chosen.model] | ({"num_hidden_layers": chosen.layers} if chosen.layers else {})
    (path / "config.json").write_text(json.dumps(config))
    from vllm import LLM

    more: dict[str, Any] = {}
    if not chosen.eager:
        sizes = {"cudagraph_capture_sizes": [1, 2, 4, 8, 16, 32]}
        more["compilation_config"] = {"cudagraph_mode": "NONE"} if chosen.no_graphs else sizes
    if chosen.sync:
        more["async_scheduling"] = False
    if chosen.ngram:
        more["speculative_config"] = {
            "method": "ngram", "num_speculative_tokens": chosen.ngram, "prompt_lookup_max": 3,
        }  # fmt: skip
    longest = max(2048, max(chosen.prompts) + max(chosen.tokens, chosen.bare_tokens or 0) + 64)
    return LLM(
        model=str(path), load_format="dummy", skip_tokenizer_init=True, dtype="bfloat16", max_model_len=longest,
        max_num_seqs=32, gpu_memory_utilization=0.6, enforce_eager=chosen.eager, enable_prefix_caching=False,
        tensor_parallel_size=chosen.tp, disable_log_stats=True, profiler_config={"profiler": "cuda"}, **more,
    )  # fmt: skip


class Runs:
    """Calls `generate()` and keeps when."""

    def __init__(self, llm: Any, chosen: argparse.Namespace) -> None:
        """Keep the engine and the options."""
        self.llm, self.chosen = llm, chosen
        self.segments: list[dict[str, Any]] = []

    def run_all(self, kind: str, seed: int, tokens: int) -> None:
        """Run every prompt length and number of requests once."""
        for prompt in self.chosen.prompts:
            for batch in self.chosen.batches:
                self.run(kind, batch, prompt, seed, tokens)

    def run(self, kind: str, batch: int, prompt: int, seed: int, tokens: int) -> None:
        """Run `batch` requests at a time."""
        from vllm import SamplingParams

        prompts, params = [], []
        for number in range(batch):
            length = prompt + (37 * number if self.chosen.staggered else 0)
            # for n-grams a text that repeats itself, so that there is something to look up
            period = 16 if self.chosen.ngram else length
            first = seed * 7919 + number * 104729
            prompts.append({"prompt_token_ids": [(first + at % period * 31) % 50000 + 10 for at in range(length)]})
            most = tokens + (3 * number if self.chosen.staggered else 0)
            params.append(SamplingParams(max_tokens=most, ignore_eos=True, detokenize=False, temperature=0.0))
        taken = steal_ticks()
        began = time.perf_counter_ns()
        answers = self.llm.generate(prompts, params, use_tqdm=False)
        ended = time.perf_counter_ns()
        count = sum(len(answer.outputs[0].token_ids) for answer in answers)
        self.segments.append({"kind": kind, "batch": batch, "prompt": prompt, "t0": began, "t1": ended,
                              "tokens": count, "steal_ticks": steal_ticks() - taken})  # fmt: skip
        print(f"{kind} batch {batch}: {(ended - began) / 1e6:.2f} ms, {count} tokens", flush=True)


def steal_ticks() -> int:
    """Return for how long the host has run others on this machine's cores: ticks of 10 ms, of all cores."""
    return int(pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[8])


class Thief:
    """A program of real-time priority that takes a share of the engine's core, in turns of 0.5 ms."""

    TURN = 500

    def __init__(self, share: float) -> None:
        """Keep the share."""
        self.share = share
        self.program: subprocess.Popen[str] | None = None
        self.shares: list[float] = []

    def __enter__(self) -> None:
        """Begin to take."""
        program = str(pathlib.Path(__file__).resolve().parent / "steal.py")
        command = [sys.executable, program, os.environ["ENGINE_CORE"], str(self.share), str(self.TURN)]
        self.program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.program.stdout is not None
        self.program.stdout.readline()

    def __exit__(self, *error: object) -> None:
        """End; keep the share that was really taken."""
        assert self.program is not None
        self.shares.append(float(self.program.communicate("\n")[0]))


def main() -> None:
    """Warm up, measure bare, capture."""
    chosen = options()
    llm = engine(chosen)
    runs = Runs(llm, chosen)
    few = chosen.bare_tokens or chosen.tokens
    thief = Thief(chosen.stolen)
    for seed in range(2):
        runs.run_all("warm", seed, min(few, 8))
    for seed in range(chosen.bare):
        runs.run_all("bare", 3 + seed, few)
        if chosen.stolen:
            with thief:
                runs.run_all("stolen", 3 + seed, few)
    with thief if chosen.stolen_capture else contextlib.nullcontext():
        llm.start_profile()
        costs.arm()
        runs.run_all("captured", 9, chosen.tokens)
        llm.stop_profile()
    if chosen.out:
        text = {"args": vars(chosen), "segments": runs.segments, "front": costs.STATE.front, "rows": costs.STATE.rows,
                "stolen": thief.shares}  # fmt: skip
        pathlib.Path(chosen.out).write_text(json.dumps(text, separators=(",", ":")))
    time.sleep(0.5)


if __name__ == "__main__":
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    main()
