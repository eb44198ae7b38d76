"""Runs the jobs of a batch with several workers on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from multiprocessing.connection import Connection, wait

from taxbreak_nsys.batch.job import Job, Settings
from taxbreak_nsys.batch.worker import ForkServer, Worker
from taxbreak_nsys.store.records import Outcome


def local_outcomes(jobs: Iterable[Job], settings: Settings, count: int, fork_server: ForkServer) -> Iterator[Outcome]:
    """Analyse reports with `count` workers; yield each outcome when it is ready, in any order.

    `jobs` is consumed one by one, so only one job per worker is in memory. A worker without work ends. Reports still
    running when the iterator is closed end with the fork server.
    """
    waiting = iter(jobs)
    busy: dict[Connection, Worker] = {}

    def give_next(worker: Worker) -> None:
        job = next(waiting, None)
        if job is None:
            worker.leave()
        else:
            busy[worker.give(job)] = worker

    with ExitStack() as stack:
        for job in waiting:
            worker = Worker(fork_server, settings)
            stack.callback(worker.close)
            busy[worker.give(job)] = worker
            if len(busy) == count:
                break
        while busy:
            seconds_left = [worker.left for worker in busy.values()]
            ready = wait(list(busy), min((seconds for seconds in seconds_left if seconds is not None), default=None))
            for connection in ready or [late for late, worker in busy.items() if worker.left == 0]:
                assert isinstance(connection, Connection)
                worker = busy.pop(connection)
                outcome = worker.take() if ready else worker.stop()
                if outcome is None:
                    busy[worker.give_again()] = worker
                    continue
                give_next(worker)  # before the yield, so that the worker need not wait for the caller's write
                yield outcome
