"""Metrics of serving engines: communication, ranks, idle steps, other processes (method section 2)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CommunicationTime:
    """Time of a phase in collectives, ns (method section 2.3).

    `comm_wait_ns` is the part spent waiting for a slower rank; None where it is unknown, and `reason` says why. Where
    only some steps have no pair on the other ranks, it is the sum over the paired steps, and `reason` says so.
    """

    comm_ns: int
    comm_wait_ns: int | None
    reason: str | None


@dataclass(frozen=True)
class GraphPadding:
    """Tokens of a phase's steps against the token slots of their CUDA graphs, which engines capture for a few sizes.

    All are sums over the `steps` whose mark gives the tokens and whose graphs have a kernel with one block per slot;
    `kernel` is its name. A padded step has more slots than tokens.
    """

    steps: int
    padded_steps: int
    tokens: int
    slots: int
    kernel: str


@dataclass(frozen=True)
class RankTime:
    """One rank of a group in a phase, ns; `slowest_steps` is the number of paired steps in which it is the slowest."""

    process: int
    thread: int
    steps: int
    slowest_steps: int
    wall_ns: int
    comm_ns: int
    comm_wait_ns: int | None


@dataclass(frozen=True)
class Ranks:
    """The ranks of an entry that stands for a group; the entry itself sums the slowest rank of each step.

    `kind` is `tensor parallel`, `pipeline parallel` (point-to-point collectives only), or `data parallel` (no
    collective pairs the ranks). `skew_median_ns` and `skew_largest_ns` are the times from the first rank's arrival at
    a collective to the last rank's; None without paired collectives.
    """

    kind: str
    paired_steps: int
    collectives: int
    skew_median_ns: int | None
    skew_largest_ns: int | None
    ranks: tuple[RankTime, ...]


@dataclass(frozen=True)
class Idle:
    """Steps without requests by an engine's marks; `total_ns` is their time, from each mark to the next."""

    process: int
    thread: int
    instances: int
    total_ns: int


@dataclass(frozen=True)
class OtherProcessTime:
    """A process of the report that calls no CUDA, such as the front end or the scheduler of a serving engine.

    `on_cpu_ns` is the time during the phases in which at least one of its threads was on a CPU, `on_cpu_between_ns`
    the part between the marks of the steps, when a worker may wait for this process. None without context switches.
    """

    process: int
    names: tuple[str, ...]
    threads: int
    os_calls: int
    samples: int
    on_cpu_ns: int | None
    on_cpu_between_ns: int | None


@dataclass(frozen=True)
class OnCpuInWait:
    """A process that was on a CPU while a host thread waited in the OS.

    `wait_ns` is its time on a CPU (at least one of its threads) in the waits, `rest_ns` that in the rest of the host
    thread's phases, the shares are those of the waits and of the rest. `own` is the host thread's own process, of which
    the other threads count.
    """

    process: int
    own: bool
    wait_ns: int
    wait_share: float
    rest_ns: int
    rest_share: float | None


@dataclass(frozen=True)
class OsWait:
    """The OS waits of a host thread in its phases (state `os_wait`), and who was on a CPU meanwhile.

    `wait_ns` is None without OS calls, `on_cpu` also without context switches. `likely_process` is the one process
    that was on a CPU for at least half of the waits, if it was so for less than half of the rest of the phases; None,
    with the `reason`, where no process or several were. Being on a CPU is no proof that the thread waited for it.
    """

    process: int
    thread: int
    wait_ns: int | None
    rest_ns: int | None
    on_cpu: tuple[OnCpuInWait, ...] | None
    likely_process: int | None
    reason: str | None
