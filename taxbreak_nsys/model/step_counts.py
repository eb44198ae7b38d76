"""The source of phases, and the requests and tokens of their steps: plain data, part of the result."""

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
"""The counts that an engine's mark can give for its step; the columns of `phases.Instances.counts`."""

UNKNOWN = -1
"""In `phases.Instances.counts`: the mark does not give this count."""


@dataclass(frozen=True)
class PhaseSource:
    """The source of a report's phases.

    `kind` is `rule` (--phase), `engine` (marks of the serving engine `name`), `marks` (the outermost NVTX ranges),
    `auto` (steps found in the launches; `confidence` is 0 to 1) or `all` (a thread is one phase). `evidence` is a
    phrase for the user: the marks or signs that the phases rest on.
    """

    kind: str
    name: str | None = None
    confidence: float | None = None
    evidence: str | None = None


@dataclass(frozen=True)
class StepCounts:
    """Requests and tokens of a phase's steps, summed over its instances; None where the marks do not give them.

    A request counts once in each step that works on it. `per_request_ns` and `per_token_ns` have the wall time, the
    layers and the device time of the phase, divided by requests or tokens and rounded down. `kernels_per_token` and
    `launches_per_token` (kernel and graph launches) are the paper's metrics for comparing mixtures of experts.
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
