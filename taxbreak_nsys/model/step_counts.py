"""Where phases came from and what their steps worked on: plain data that the phases make and the result carries."""

from __future__ import annotations

from dataclasses import dataclass

COUNTS = (
    "requests",
    "tokens",
    "context_requests",
    "context_tokens",
    "generation_requests",
    "generation_tokens",
)
"""What an engine's mark can say of its step; the columns of `phases.Instances.counts`."""

UNKNOWN = -1
"""In `phases.Instances.counts`: the mark does not say."""


@dataclass(frozen=True)
class PhaseSource:
    """What divided the report into phases.

    `kind` is `rule` (--phase), `engine` (the marks of a serving engine, whose `name` it is), `marks` (the
    outermost NVTX ranges), `auto` (steps found in the launches; `confidence` from 0 to 1) or `all` (nothing:
    a thread is one phase). `evidence` says in words what it rests on.
    """

    kind: str
    name: str | None = None
    confidence: float | None = None
    evidence: str | None = None


@dataclass(frozen=True)
class StepCounts:
    """Requests and tokens of a phase's steps, added up over its instances; null where the marks do not say.

    A request counts once in each step that works on it. `per_request_ns` and `per_token_ns` hold the wall
    time, the layers and the device time of the phase divided by them, rounded down. `kernels_per_token` and
    `launches_per_token` (kernel and graph launches) are what the paper compares mixtures of experts by.
    """

    requests: int | None
    tokens: int | None
    context_requests: int | None
    context_tokens: int | None
    generation_requests: int | None
    generation_tokens: int | None
    per_request_ns: dict[str, int | None] | None
    per_token_ns: dict[str, int | None] | None
    kernels_per_token: float | None = None
    launches_per_token: float | None = None
