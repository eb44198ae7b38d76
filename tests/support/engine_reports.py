"""Small reports of serving engines, whose cycles, helpers and ranks are known by hand. Times in us.

One function per scenario; a drawing says what happens. `SCENARIOS` holds them all by name, so that a test can
write each and compare two implementations on it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.support.report_builder import KERNEL, PID, VERSIONS, Builder, Variation, thread_id

Span = tuple[int, int]
MEMCPY = "CUPTI_ACTIVITY_KIND_MEMCPY"
REDUCE = "void vllm::cross_device_reduce_1stage<__nv_bfloat16, (int)2>(vllm::RankData *)"
GATHER = "ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<(unsigned long)4096>)"


class EngineReport(Builder):
    """Rows of an engine: its marks, launches by any thread on any device, collectives."""

    def __init__(self) -> None:
        super().__init__(VERSIONS[3], Variation())

    def thread(self, number: int = 0, process: int = 0) -> int:
        """Return the globalTid of a thread of a process, both counted from 0."""
        return thread_id(0, PID + process) + number

    def mark(self, thread: int, context: int, generation: int, start: int, end: int) -> None:
        """Add vLLM's mark of a step: `context` requests of 64 tokens and `generation` requests in generation."""
        text = f"execute_context_{context}({64 * context})_generation_{generation}({generation})"
        self.range(thread, text, start, end)

    def kernels(
        self, thread: int, call: Span, ops: Iterable[Span], name: str = "gemm", device: int = 0, stream: int = 7
    ) -> None:
        """Add a launch of one kernel."""
        self._ops(thread, self.call(thread, "cudaLaunchKernel_v7000", *call), ops, name, device, stream, None)

    def graph(self, thread: int, call: Span, ops: Iterable[Span], device: int = 0) -> None:
        """Add a launch of a CUDA graph with its kernels; without any it is unmeasured."""
        self._ops(thread, self.call(thread, "cudaGraphLaunch_v10000", *call), ops, "node", device, 7, 3)

    def copy(self, thread: int, call: Span, op: Span, device: int = 0) -> None:
        """Add a copy on a stream of its own."""
        row = {"start": self.at(op[0]), "end": self.at(op[1]), "deviceId": device, "contextId": 1, "streamId": 9}
        row |= {"correlationId": self.call(thread, "cudaMemcpyAsync_v3020", *call), "globalPid": thread & ~0xFFFFFF}
        self.add(MEMCPY, **row, bytes=64, copyKind=2, graphNodeId=None)

    def _ops(
        self, thread: int, correlation: int, ops: Iterable[Span], name: str, device: int, stream: int, node: int | None
    ) -> None:
        for start, end in ops:
            row = {"start": self.at(start), "end": self.at(end), "deviceId": device, "contextId": 1}
            row |= {"streamId": stream, "correlationId": correlation, "globalPid": thread & ~0xFFFFFF}
            row |= {"demangledName": self.string(name), "shortName": self.string(_short(name)), "gridX": 1}
            self.add(KERNEL, **row, blockX=32, graphNodeId=node)


def _short(name: str) -> str:
    return name.removeprefix("void ").split("<")[0].split("(")[0].split("::")[-1]


def between_marks(report: EngineReport) -> None:
    """A decode step samples behind its mark; the device outlasts the marks, at 520 an idle mark; then a prefill.

    us        100   150       300   350           500 510            900  950
    marks      |decode|        |decode|            |idle|             |prefill|
    calls  50  110       200 245-260 310  480-490    505               910     1000-1005
    device 60-70  160-------220 230-240  360------------520 530-540      920-930
    """
    thread = report.thread()
    report.kernels(thread, (50, 54), [(60, 70)])
    report.mark(thread, 0, 1, 100, 150)
    report.kernels(thread, (110, 114), [(160, 220)])
    report.kernels(thread, (200, 204), [(230, 240)], "_gumbel_sample_kernel")
    report.call(thread, "cudaStreamSynchronize_v3020", 245, 260)
    report.mark(thread, 0, 1, 300, 350)
    report.kernels(thread, (310, 314), [(360, 520)])
    report.call(thread, "cudaEventQuery_v3020", 480, 490)
    report.mark(thread, 0, 0, 500, 510)
    report.kernels(thread, (505, 508), [(530, 540)])
    report.mark(thread, 1, 0, 900, 950)
    report.kernels(thread, (910, 914), [(920, 930)])
    report.call(thread, "cudaEventQuery_v3020", 1000, 1005)


def device_past_idle(report: EngineReport) -> None:
    """The device works from the decode step at 100 until 700, past the idle mark at 200 and the step at 600."""
    thread = report.thread()
    report.mark(thread, 0, 1, 100, 150)
    report.graph(thread, (110, 120), [(130, 400), (400, 700)])
    report.mark(thread, 0, 0, 200, 210)
    report.mark(thread, 0, 0, 300, 310)
    report.mark(thread, 0, 1, 600, 650)
    report.graph(thread, (610, 620), [(710, 750)])
    report.mark(thread, 0, 0, 800, 830)


def helper_launches(report: EngineReport) -> None:
    """Thread 0 marks. In the first step thread 1 makes 3 of 4 launches, in the second 2 of 4; thread 2 copies."""
    marker, worker, copier = (report.thread(number) for number in range(3))
    report.mark(marker, 0, 1, 100, 120)
    report.kernels(marker, (105, 109), [(110, 120)])
    for start in (130, 140, 150):
        report.kernels(worker, (start, start + 4), [(start + 5, start + 9)])
    report.os_call(worker, "poll", 160, 190)
    report.copy(copier, (170, 175), (180, 185))
    report.mark(marker, 0, 1, 200, 220)
    for start in (205, 225):
        report.kernels(marker, (start, start + 4), [(start + 5, start + 9)])
    for start in (240, 250):
        report.kernels(worker, (start, start + 4), [(start + 5, start + 9)])
    report.mark(marker, 0, 0, 300, 310)


def engine_thread_marks(report: EngineReport) -> None:
    """Threads 0 and 1 mark the same steps, 10 us apart, and launch nothing; thread 2 launches. One wall per step."""
    first, second, worker = (report.thread(number) for number in range(3))
    for start in (100, 200):
        report.mark(first, 0, 1, start, start + 50)
        report.mark(second, 0, 1, start + 10, start + 40)
        report.kernels(worker, (start + 60, start + 64), [(start + 70, start + 80)])
    report.mark(first, 0, 0, 300, 305)
    report.mark(second, 0, 0, 310, 315)


def copier_marks_too(report: EngineReport) -> None:
    """Threads 0 and 1 mark the same steps; thread 1 makes copies alone, so it is a helper and has no wall."""
    marker, copier = report.thread(0), report.thread(1)
    for start in (100, 200):
        report.mark(marker, 0, 1, start, start + 50)
        report.mark(copier, 0, 1, start + 5, start + 45)
        report.kernels(marker, (start + 10, start + 14), [(start + 20, start + 30)])
        report.copy(copier, (start + 50, start + 55), (start + 60, start + 65))
    report.mark(marker, 0, 0, 300, 305)


def replicas_in_threads(report: EngineReport) -> None:
    """Threads 0 and 1 mark and launch the same steps on devices 0 and 1; one collective per step, 20 us late on 0."""
    for number in range(2):
        thread = report.thread(number)
        for start in (100, 200):
            report.mark(thread, 0, 1, start, start + 50)
            arrival = start + 60 - 20 * number
            report.kernels(thread, (start + 10, start + 14), [(arrival, start + 70)], GATHER, number)
        report.mark(thread, 0, 0, 300, 305)


def threads_on_one_device(report: EngineReport) -> None:
    """Threads 0 and 1 mark and launch the same steps on one device: a wall each, and no ranks of each other."""
    for number in range(2):
        thread = report.thread(number)
        for start in (100 + 5 * number, 200 + 5 * number):
            report.mark(thread, 0, 1, start, start + 50)
            report.kernels(thread, (start + 10, start + 14), [(start + 20, start + 30)])
        report.mark(thread, 0, 0, 300, 305)


def two_ranks(report: EngineReport) -> None:
    """Two processes, a device each. Rank 1 runs ahead and spins; rank 0 waits once, in the second step.

    Durations of the collectives, us:   step 1            step 2         step 3
        rank 0                          10, 10, 5 (gather) 40             10
        rank 1                          60, 10, 25         10             50
    Waits: rank 1 has 50 + 20 in step 1 and 40 in step 3, rank 0 has 30 in step 2. Their cycles overlap, their
    marks do not.
    """
    for rank in range(2):
        thread, ahead = report.thread(process=rank), 60 * rank
        for step, start in enumerate((200 - ahead, 400 - ahead, 600 - ahead)):
            report.mark(thread, 1 if step == 0 else 0, 0 if step == 0 else 1, start, start + 50)
            report.kernels(thread, (start + 5, start + 9), [(start + 15, start + 20)], device=rank)
        report.mark(thread, 0, 0, 800 - ahead, 805 - ahead)
    ops: tuple[tuple[int, int, Span, str], ...] = (
        (0, 210, (270, 280), REDUCE),
        (1, 160, (220, 280), REDUCE),
        (0, 220, (290, 300), REDUCE),
        (1, 170, (290, 300), REDUCE),
        (0, 230, (330, 335), GATHER),
        (1, 180, (310, 335), GATHER),
        (0, 410, (460, 500), REDUCE),
        (1, 360, (490, 500), REDUCE),
        (0, 610, (690, 700), REDUCE),
        (1, 560, (650, 700), REDUCE),
    )
    for rank, call, op, name in ops:
        report.kernels(report.thread(process=rank), (call, call + 4), [op], name, rank)


def hidden_devices(report: EngineReport) -> None:
    """Two ranks that both call their device 0: rank 0 is idle while rank 1 computes until 180, and waits for it."""
    for rank in range(2):
        thread = report.thread(process=rank)
        report.mark(thread, 0, 1, 100, 150)
        start, arrival = 115, (120, 180)[rank]
        if rank:
            report.kernels(thread, (105, 109), [(start, arrival)])
        report.kernels(thread, (111, 114), [(arrival, 200)], REDUCE)
        report.mark(thread, 0, 0, 300, 310)


def unequal_ranks(report: EngineReport) -> None:
    """Rank 1 has a step more at the beginning, and in its last step one collective more than rank 0."""
    for rank in range(2):
        thread = report.thread(process=rank)
        for start in (100, 200, 300)[1 - rank :]:
            report.mark(thread, 0, 1, start, start + 50)
            report.kernels(thread, (start + 5, start + 9), [(start + 40 - 10 * rank, start + 50)], REDUCE, rank)
        if rank:
            report.kernels(thread, (320, 324), [(360, 365)], REDUCE, rank)
        report.mark(thread, 0, 0, 400, 410)


def unlike_processes(report: EngineReport) -> None:
    """Two processes whose steps have other labels (prefill, decode): no ranks of each other."""
    for process in range(2):
        thread = report.thread(process=process)
        for start in (100, 200):
            report.mark(thread, process, 1 - process, start, start + 50)
            report.kernels(thread, (start + 5, start + 9), [(start + 20, start + 40)], REDUCE, process)
        report.mark(thread, 0, 0, 300, 310)


def devices_of_one_process(report: EngineReport) -> None:
    """One thread launches a collective on three devices; 30, 20 and 10 us."""
    thread = report.thread()
    report.mark(thread, 0, 1, 100, 150)
    for device in range(3):
        call = 110 + 10 * device
        report.kernels(thread, (call, call + 4), [(170 + 10 * device, 200)], REDUCE, device)
    report.mark(thread, 0, 0, 300, 310)


def unmeasured_graph(report: EngineReport) -> None:
    """A step of a graph whose device time is not in the report, and one of a kernel."""
    thread = report.thread()
    report.mark(thread, 0, 1, 100, 150)
    report.graph(thread, (110, 120), [])
    report.mark(thread, 0, 1, 200, 250)
    report.kernels(thread, (210, 214), [(220, 230)])
    report.mark(thread, 0, 0, 300, 310)


SCENARIOS: dict[str, Callable[[EngineReport], None]] = {
    scenario.__name__: scenario
    for scenario in (
        between_marks,
        device_past_idle,
        helper_launches,
        engine_thread_marks,
        copier_marks_too,
        replicas_in_threads,
        threads_on_one_device,
        two_ranks,
        hidden_devices,
        unequal_ranks,
        unlike_processes,
        devices_of_one_process,
        unmeasured_graph,
    )
}


def random_engine(report: EngineReport, seed: int) -> None:
    """Up to three processes of up to three threads that mark, launch, copy, reduce and wait at random.

    In two thirds of the reports the first threads of all processes are ranks: the same steps and calls, at their
    own pace, and a call more now and then.
    """
    choose = random.Random(seed)
    ranks = choose.random() < 0.67
    labels = [choose.choice([(0, 1), (0, 1), (1, 0), (1, 2), (0, 0)]) for _ in range(choose.randint(1, 6))]
    steps = [(label, [choose.choice(KINDS_OF_CALLS) for _ in range(choose.randint(0, 5))]) for label in labels]
    for process in range(choose.randint(1, 3)):
        device = choose.choice([process, process, 0])
        for number in range(choose.randint(1, 3)):
            rank = ranks and number == 0
            marks, launches = rank or choose.random() < 0.4, rank or choose.random() < 0.8
            thread, now = report.thread(number, process), choose.randint(90, 110)
            for (context, generation), kinds in steps if rank else choose.sample(steps, choose.randint(1, len(steps))):
                width = choose.randint(100, 130)
                if marks:
                    report.mark(thread, context, generation, now, now + choose.randint(1, width))
                more = [choose.choice(KINDS_OF_CALLS)] if choose.random() < 0.1 else []
                ends = sorted(choose.sample(range(now, now + width), 2 * len(kinds + more)))
                for kind, call in zip(kinds + more, zip(ends[::2], ends[1::2], strict=True), strict=True):
                    _random_call(report, choose, thread, kind if launches else "query", call, device)
                now += width + choose.choice([0, 0, 5, 20])


KINDS_OF_CALLS = ("kernel", "kernel", "reduce", "reduce", "gather", "graph", "copy", "wait", "query")


def _random_call(report: EngineReport, choose: random.Random, thread: int, kind: str, call: Span, device: int) -> None:
    start = call[0] + choose.randint(1, 120)
    op = (start, start + choose.randint(1, 60))
    if kind == "wait":
        report.os_call(thread, "poll", *call)
    elif kind == "query":
        report.call(thread, choose.choice(["cudaEventQuery_v3020", "cudaStreamSynchronize_v3020"]), *call)
    elif kind == "copy":
        report.copy(thread, call, op, device)
    elif kind == "graph":
        measured = choose.random() < 0.9
        report.graph(thread, call, [op, (op[1], op[1] + 7)] if measured else [], device)
    else:
        name = {"kernel": "gemm", "reduce": REDUCE, "gather": GATHER}[kind]
        report.kernels(thread, call, [op], name, device if choose.random() < 0.95 else 2)


def build_random(path: Path, seed: int) -> Path:
    """Write a random report; equal seeds give equal reports."""
    report = EngineReport()
    random_engine(report, seed)
    return report.write(path)


def build_scenario(path: Path, name: str) -> Path:
    """Write the scenario of a name."""
    report = EngineReport()
    SCENARIOS[name](report)
    return report.write(path)
