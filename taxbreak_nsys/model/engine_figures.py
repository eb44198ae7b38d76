"""What a result says of serving engines: communication, ranks, idle steps, other processes (method section 2)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CommunicationTime:
    """Time of a phase in collectives, ns (method section 2.3).

    `comm_wait_ns` is the part that waits for a slower rank, null with `reason` where it is not known. Where some steps
    have no pair on the other ranks, it is the sum over the other steps, and `reason` says so.
    """

    comm_ns: int
    comm_wait_ns: int | None
    reason: str | None


@dataclass(frozen=True)
class RankTime:
    """One rank of a group in a phase, ns; in `slowest_steps` of its paired steps the others wait for it."""

    process: int
    thread: int
    steps: int
    slowest_steps: int
    wall_ns: int
    comm_ns: int
    comm_wait_ns: int | None


@dataclass(frozen=True)
class Ranks:
    """The ranks behind an entry that stands for a group: step by step the figures of the slowest rank.

    `kind` says what pairs them: `tensor parallel`, `pipeline parallel`, or `data parallel` where no collective does.
    `skew_median_ns` and `skew_largest_ns` are how much later than the first rank the last one arrives at a collective.
    """

    kind: str
    paired_steps: int
    collectives: int
    skew_median_ns: int | None
    skew_largest_ns: int | None
    ranks: tuple[RankTime, ...]


@dataclass(frozen=True)
class Idle:
    """Steps that an engine marked as having no requests: from each to the next mark, ns."""

    process: int
    thread: int
    instances: int
    total_ns: int


@dataclass(frozen=True)
class OtherProcessTime:
    """A process of the report that calls no CUDA, such as the front end or the scheduler of a serving engine.

    `on_cpu_ns` is the time in which one of its threads was on a CPU while the phases lasted, `on_cpu_between_ns` the
    part of it between the marks of the steps, when a worker may wait for this process. Null without context switches.
    """

    process: int
    names: tuple[str, ...]
    threads: int
    os_calls: int
    samples: int
    on_cpu_ns: int | None
    on_cpu_between_ns: int | None
