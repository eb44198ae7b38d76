"""What a report says of itself: versions, machine, what was traced."""

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
    """Return the facts of a report but its hash; `shown` is the path as the user gave it.

    `traced` names what nsys was told to trace, and `samples` where CPU samples were taken.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for row in database.query("report_facts").to_pylist():
        found.setdefault((row["topic"], row["name"]), []).append(row["value"])

    def one(topic: str, name: str) -> str | None:
        values = found.get((topic, name))
        return values[0] if values and values[0] else None

    traced = [_TRACED.get(kind, kind.lower()) for kind in found.get(("capture", "CAPTURE_EVENT_TYPE"), [])]
    if "SAMPLING_CALLCHAINS" in database.schema:
        traced.append("samples")
    started = one("session", "utcEpochNs")
    gpus = list(dict.fromkeys(found.get(("gpu", "name"), [])))
    return ReportFacts(
        path=str(shown),
        sha256="",
        nsys_version=one("export", "EXPORT_PRODUCT_VERSION"),
        schema_version=one("export", "EXPORT_SCHEMA_VERSION"),
        gpu=", ".join(gpus) or None,
        cpu=one("system", "CpuDescription"),
        driver=one("system", "NvDriverVersion"),
        host=one("system", "Hostname"),
        captured_utc_ns=int(started) if started else None,
        traced=tuple(sorted(set(traced))),
    )


def stated_period(database: Database) -> int | None:
    """Return the sampling period that the report states; it does not say whether in ns or in cycles."""
    for row in database.query("report_facts").to_pylist():
        if row["name"] == "LINUX_PERF_OPTIONS:SAMPLING_PERIOD" and str(row["value"]).isdigit():
            return int(row["value"])
    return None


def read_thread_names(database: Database) -> dict[int, str]:
    """Return the names of the threads that call CUDA or mark ranges, by globalTid; empty where the report has none."""
    if "ThreadNames" not in database.schema:
        return {}
    table = database.query("thread_names")
    return dict(zip(numbers(table["thread"]).tolist(), table["name"].to_pylist(), strict=True))
