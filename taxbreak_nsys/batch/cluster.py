"""Runs the jobs of a batch on the workers of an existing Dask cluster."""

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
    """Analyse reports on the workers of a Dask scheduler (an address); yield each outcome when it is ready.

    Each thread of a Dask worker analyses in a process of its own, so that the limits of `settings` apply there too.
    Raises TaxbreakError where no scheduler answers, it has no workers, or the extra is not installed.
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
        shared_settings = client.scatter(settings, broadcast=True)
        jobs_by_future: dict[Any, Job] = {}
        for job in jobs:
            # pure=True would let Dask return an earlier batch's cached result.
            jobs_by_future[client.submit(_run, job, shared_settings, pure=False, retries=0)] = job
        try:
            finished = distributed.as_completed(list(jobs_by_future))
            for future in finished:
                job = jobs_by_future.pop(future)
                yield _outcome(future, job)
        finally:
            client.cancel(list(jobs_by_future))


def _outcome(future: Any, job: Job) -> Outcome:
    try:
        outcome: Outcome = future.result()
        return outcome
    except Exception as error:  # worker lost or of another version: only this report fails
        message = f"{job.path}: its Dask worker failed ({type(error).__name__}: {error})"
        return Failed(path=job.path, kind="killed", message=str(TaxbreakError(message)))


def _run(job: Job, settings: Settings) -> Outcome:
    """Analyse a report on a Dask worker, in the process that belongs to the current thread."""
    from taxbreak_nsys.batch.worker import ForkServer, Worker

    if not hasattr(_local, "fork_server"):
        _local.fork_server = ForkServer()
    if getattr(_local, "settings", None) != settings:
        if hasattr(_local, "worker"):
            _local.worker.close()
        _local.settings, _local.worker = settings, Worker(_local.fork_server, settings)
    outcome: Outcome = _local.worker.run(job)
    return outcome
