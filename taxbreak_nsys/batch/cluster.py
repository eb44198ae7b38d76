"""The same jobs on the workers of a Dask cluster that is already there."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

from taxbreak_nsys.batch.job import Job, Settings
from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.store.records import Failed, Outcome

_local = threading.local()


def outcomes(jobs: Iterable[Job], settings: Settings, scheduler: str) -> Iterator[Outcome]:
    """Analyse reports on the workers of the scheduler at `scheduler`; yields outcomes as they come.

    Each thread of a Dask worker keeps a process beside it for that, so the limits hold there too. Raises
    TaxbreakError where there is no such scheduler or the extra is missing.
    """
    try:
        distributed: Any = import_module("distributed")
    except ImportError as error:
        raise TaxbreakError("--scheduler needs the extra: python -m pip install 'taxbreak-nsys[dask]'") from error
    try:
        client = distributed.Client(scheduler, timeout=10)
    except (OSError, ValueError, TimeoutError) as error:
        raise TaxbreakError(f"--scheduler {scheduler}: no Dask scheduler answers there ({error})") from error
    with client:
        if not client.scheduler_info()["workers"]:
            raise TaxbreakError(f"--scheduler {scheduler}: has no workers; start some with 'dask worker {scheduler}'")
        held = client.scatter(settings, broadcast=True)
        job_of: dict[Any, Job] = {}
        for job in jobs:
            # `pure` would take the result of the last batch for that of this one
            job_of[client.submit(_run, job, held, pure=False, retries=0)] = job
        try:
            finished = distributed.as_completed(list(job_of))
            for future in finished:
                job = job_of.pop(future)
                yield _outcome(future, job)
        finally:
            client.cancel(list(job_of))


def _outcome(future: Any, job: Job) -> Outcome:
    try:
        outcome: Outcome = future.result()
        return outcome
    except Exception as error:  # the worker is gone, or has another version: this report's failure, nobody else's
        message = f"{job.path}: its Dask worker failed ({type(error).__name__}: {error})"
        return Failed(job.path, "killed", str(TaxbreakError(message)))


def _run(job: Job, settings: Settings) -> Outcome:
    """Analyse a report on a Dask worker, in a process that this thread of it keeps."""
    from taxbreak_nsys.batch.worker import ForkServer, Worker

    if not hasattr(_local, "fork_server"):
        _local.fork_server = ForkServer()
    if getattr(_local, "settings", None) != settings:
        if hasattr(_local, "worker"):
            _local.worker.close()
        _local.settings, _local.worker = settings, Worker(_local.fork_server, settings)
    outcome: Outcome = _local.worker.run(job)
    return outcome
