"""Capture presets for serving engines: nsys options, and environment variables that switch on their NVTX marks."""

from __future__ import annotations

from dataclasses import dataclass, field

_CHILDREN = {"--trace-fork-before-exec": "true"}
_NODES = {"--cuda-graph-trace": "node"}


@dataclass(frozen=True)
class EnginePreset:
    """Options of `nsys profile` and the program's environment for one engine; `hint` says what else to do."""

    hint: str
    options: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


ENGINE_PRESETS = {
    "vllm": EnginePreset(
        "capture a server with -c cudaProfilerApi and '--profiler-config.profiler cuda'",
        _CHILDREN | _NODES,
        # the model runner marks need the package nvtx; workers are spawned because a fork cannot use its parent's CUDA
        {"VLLM_NVTX_SCOPES_FOR_PROFILING": "1", "VLLM_WORKER_MULTIPROC_METHOD": "spawn"},
    ),
    "sglang": EnginePreset(
        "capture a server with -c cudaProfilerApi, then POST /start_profile",
        _CHILDREN | _NODES,
        {"SGLANG_SCHEDULER_ENABLE_NVTX": "1"},
    ),
    "tensorrt-llm": EnginePreset(
        "capture some iterations with -c cudaProfilerApi and TLLM_PROFILE_START_STOP=FIRST-LAST",
        _CHILDREN | _NODES,
        {"TLLM_NVTX_DEBUG": "1"},
    ),
    "xla": EnginePreset("jitted functions are graphs on the device; warm up before the capture range", _NODES),
}
"""The engines that `capture --engine` knows, by the names of data/engines.toml."""
