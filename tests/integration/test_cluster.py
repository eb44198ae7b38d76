"""The same jobs on a real Dask cluster give the same rows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from taxbreak_nsys import TaxbreakError
from taxbreak_nsys.batch import cluster
from taxbreak_nsys.batch.batch_run import BatchCounts, Runner, run_batch
from taxbreak_nsys.batch.job import Settings
from taxbreak_nsys.batch.pool import local_outcomes
from taxbreak_nsys.batch.report_discovery import find
from taxbreak_nsys.batch.tags import TagRules
from taxbreak_nsys.batch.worker import ForkServer
from taxbreak_nsys.pipeline.analysis import Options
from taxbreak_nsys.store import models
from taxbreak_nsys.store.store_opening import open_store
from tests.support.reports import find_report

distributed = pytest.importorskip("distributed", reason="Dask needs the extra: pip install 'taxbreak-nsys[dask]'")


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as local:
        yield local.scheduler_address


def stored(path: Path, folder: Path, runner: Runner, settings: Settings) -> tuple[BatchCounts, dict[str, Any]]:
    """Run a batch and return its rows, without what no two runs have in common."""
    rules = TagRules.parse(["team=x"], [])
    with open_store(str(path), write=True) as store:
        tally = run_batch(store, find([str(folder)]), rules, settings, runner, lambda tally: None)
        rows: dict[str, Any] = {}
        with store.begin() as connection:
            of_phase = select(models.reports.c.path, models.phases).join(models.phases)
            rows["phases"] = sorted(
                str([value for name, value in row.items() if name not in ("id", "report_id")])
                for row in connection.execute(of_phase).mappings()
            )
            of_state = select(
                models.reports.c.path, models.phases.c.phase, models.phases.c.thread, models.states.c.state,
                models.states.c.total_ns, models.states.c.exposed_ns,
            ).select_from(models.reports.join(models.phases).join(models.states))  # fmt: skip
            rows["states"] = sorted(map(str, connection.execute(of_state)))
            of_kernel = select(
                models.reports.c.path,
                models.phases.c.phase,
                models.kernels.c.name,
                models.kernels.c.device_ns,
            )
            joined = models.reports.join(models.phases).join(models.kernels)
            rows["kernels"] = sorted(map(str, connection.execute(of_kernel.select_from(joined))))
            rows["tags"] = sorted(
                tuple(row) for row in connection.execute(select(models.tags.c.key, models.tags.c.value))
            )
            failed = select(models.failures.c.path, models.failures.c.kind, models.failures.c.message)
            rows["failures"] = sorted(tuple(row) for row in connection.execute(failed))
    return tally, rows


def test_two_worker_processes_give_the_rows_of_one_machine(scheduler: str, tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    for name in ("llama-1b", "llama-1b-aten", "multi", "graph-node", "null-kernel"):
        shutil.copy(find_report(name), folder / f"{name}.sqlite")
    (folder / "broken.sqlite").write_bytes(b"no report")
    settings = Settings(Options(), timeout_s=120, memory=2**30)
    with ForkServer() as fork_server:
        _, expected = stored(
            tmp_path / "1.db", folder, lambda jobs, s: local_outcomes(jobs, s, 1, fork_server), settings
        )
    tally, found = stored(tmp_path / "2.db", folder, lambda jobs, s: cluster.outcomes(jobs, s, scheduler), settings)
    assert (tally.analysed, len(tally.failed)) == (5, 1)
    assert expected["phases"]
    assert found == expected
    again, _ = stored(tmp_path / "2.db", folder, lambda jobs, s: cluster.outcomes(jobs, s, scheduler), settings)
    assert (again.analysed, again.unchanged) == (0, 5)


def test_limits_hold_on_the_workers(scheduler: str, tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    shutil.copy(find_report("llama-1b"), folder)
    settings = Settings(Options(), timeout_s=0.02)
    tally, _ = stored(tmp_path / "s.db", folder, lambda jobs, s: cluster.outcomes(jobs, s, scheduler), settings)
    assert [failed.kind for failed in tally.failed] == ["timeout"]


def test_no_scheduler_is_said(tmp_path: Path) -> None:
    with pytest.raises(TaxbreakError, match="no Dask scheduler answers"):
        list(cluster.outcomes([], Settings(Options()), "tcp://127.0.0.1:9"))
