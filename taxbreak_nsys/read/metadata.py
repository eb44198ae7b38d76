"""Metadata of a report: versions, machine, traced APIs, thread names."""

from __future__ import annotations

from pathlib import Path

from taxbreak_nsys.arrays.arrow_codes import numbers
from taxbreak_nsys.model.report_facts import ReportFacts
from taxbreak_nsys.read.database import Database

_TRACED = {
    "Cuda": "cuda",
    "NvtxEvents": "nvtx",
    "OSRuntime": "osrt",
    "CuBLAS": "cublas",
    "CuDNN": "cudnn",
    "CuSPARSE": "cusparse",
}


def read_facts(database: Database, shown: Path) -> ReportFacts:
    """Return the facts of a report, without its fingerprint and hash; `shown` is the path as the user gave it.

    `traced` lists what nsys was asked to trace, plus `samples` if the report has CPU samples.
    """
    facts: dict[tuple[str, str], list[str]] = {}
    for row in database.query("report_facts").to_pylist():
        facts.setdefault((row["topic"], row["name"]), []).append(row["value"])

    def first_value(topic: str, name: str) -> str | None:
        values = facts.get((topic, name))
        return values[0] if values and values[0] else None

    traced = [_TRACED.get(kind, kind.lower()) for kind in facts.get(("capture", "CAPTURE_EVENT_TYPE"), [])]
    if "SAMPLING_CALLCHAINS" in database.schema:
        traced.append("samples")
    started = first_value("session", "utcEpochNs")
    gpus = list(dict.fromkeys(facts.get(("gpu", "name"), [])))
    return ReportFacts(
        path=str(shown),
        fingerprint="",
        sha256=None,
        nsys_version=first_value("export", "EXPORT_PRODUCT_VERSION"),
        schema_version=first_value("export", "EXPORT_SCHEMA_VERSION"),
        gpu=", ".join(gpus) or None,
        cpu=first_value("system", "CpuDescription"),
        driver=first_value("system", "NvDriverVersion"),
        host=first_value("system", "Hostname"),
        captured_utc_ns=int(started) if started else None,
        traced=tuple(sorted(set(traced))),
    )


def stated_period(database: Database) -> int | None:
    """Return the CPU sampling period that the report states, None without one; the unit (ns or cycles) is unknown."""
    for row in database.query("report_facts").to_pylist():
        if row["name"] == "LINUX_PERF_OPTIONS:SAMPLING_PERIOD" and str(row["value"]).isdigit():
            return int(row["value"])
    return None


def read_thread_names(database: Database) -> dict[int, str]:
    """Return {globalTid: name} of the report's threads; empty without such a table."""
    if "ThreadNames" not in database.schema:
        return {}
    table = database.query("thread_names")
    return dict(zip(numbers(table["thread"]).tolist(), table["name"].to_pylist(), strict=True))
