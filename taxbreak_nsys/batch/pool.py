"""The workers of one machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from multiprocessing.connection import Connection, wait

from taxbreak_nsys.batch.job import Job, Settings
from taxbreak_nsys.batch.worker import ForkServer, Worker
from taxbreak_nsys.store.records import Outcome


def local_outcomes(jobs: Iterable[Job], settings: Settings, count: int, fork_server: ForkServer) -> Iterator[Outcome]:
    """Analyse reports with `count` workers; yields outcomes as they come, in no order.

    No more than one report a worker is held, and a worker without work ends. What runs when the iterator is closed
    ends with the fork server.
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
            left = [worker.left for worker in busy.values()]
            ready = wait(list(busy), min((seconds for seconds in left if seconds is not None), default=None))
            for connection in ready or [late for late, worker in busy.items() if worker.left == 0]:
                assert isinstance(connection, Connection)
                worker = busy.pop(connection)
                outcome = worker.take() if ready else worker.stop()
                if outcome is None:
                    busy[worker.give_again()] = worker
                    continue
                give_next(worker)  # before the caller writes, so that nobody waits for that
                yield outcome
