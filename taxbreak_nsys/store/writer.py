"""Writes outcomes to the store, one transaction per report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select
from sqlalchemy.exc import IntegrityError

from taxbreak_nsys import __version__
from taxbreak_nsys.result import METHOD_VERSION
from taxbreak_nsys.store import models
from taxbreak_nsys.store.records import Analysed, Failed
from taxbreak_nsys.store.store_opening import Store, store_errors

Row = dict[str, Any]
_TRIES = 5

# Built once: building a statement takes SQLAlchemy longer than running it.
_FORGET_REPORT = delete(models.reports).where(
    models.reports.c.path == bindparam("its_path"), models.reports.c.capture == bindparam("its_capture")
)
_FORGET_FAILURE = delete(models.failures).where(models.failures.c.path == bindparam("its_path"))
_NEW_REPORT = insert(models.reports).returning(models.reports.c.id)
_NEW_PHASES = insert(models.phases).returning(models.phases.c.id, sort_by_parameter_order=True)
_KERNEL_COLUMNS = frozenset(models.kernels.columns.keys())


def storable(text: str) -> str:
    """Return text that every database accepts: NUL and lone surrogates replaced."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def known_content(store: Store, options: str) -> dict[str, frozenset[str]]:
    """Return {path: SHA-256 of its contents} that this version of the program has analysed with these options."""
    known: dict[str, set[str]] = {}
    wanted = select(models.reports.c.path, models.reports.c.sha256).where(
        models.reports.c.tool_version == __version__,
        models.reports.c.method_version == METHOD_VERSION,
        models.reports.c.options == options,
    )
    with store.begin() as connection:
        for path, sha256 in connection.execute(wanted):
            known.setdefault(path, set()).add(sha256)
    return {path: frozenset(hashes) for path, hashes in known.items()}


def write_analysed(store: Store, done: Analysed, options: str) -> None:
    """Store a report's result in one transaction, replacing an earlier result of the same path and capture."""

    def write(connection: Connection) -> None:
        report = _report_row(done, options)
        which = {"its_path": report["path"], "its_capture": report["capture"]}
        connection.execute(_FORGET_REPORT, which)
        connection.execute(_FORGET_FAILURE, which)
        report_id = connection.execute(_NEW_REPORT, report).scalar_one()
        _put_tags(connection, report_id, done.tags)
        _put(connection, models.warnings, ({"report_id": report_id} | w for w in done.result["report"]["warnings"]))
        _put_phases(connection, report_id, done.result)

    _in_transaction(store, write)


def write_tags(store: Store, path: str, sha256: str, tags: Mapping[str, str]) -> None:
    """Set these tags on the stored reports with this path and hash; other tags stay."""
    wanted = select(models.reports.c.id).where(
        models.reports.c.path == storable(path), models.reports.c.sha256 == sha256
    )

    def write(connection: Connection) -> None:
        for report_id in connection.execute(wanted).scalars().all():
            stored = select(models.tags.c.key, models.tags.c.value).where(models.tags.c.report_id == report_id)
            present = {key: value for key, value in connection.execute(stored)}
            changed = {key: value for key, value in tags.items() if present.get(key) != value}
            if changed:
                connection.execute(
                    delete(models.tags).where(models.tags.c.report_id == report_id, models.tags.c.key.in_(changed))
                )
                _put_tags(connection, report_id, changed)

    if tags:
        _in_transaction(store, write)


def write_failed(store: Store, failed: Failed) -> None:
    """Store a failure, replacing an earlier failure of the same path."""
    row = {
        "path": storable(failed.path),
        "kind": failed.kind,
        "message": storable(failed.message),
        "sha256": failed.sha256,
        "tool_version": __version__,
        "failed_at": _now(),
        "analysis_ms": failed.milliseconds,
    }

    def write(connection: Connection) -> None:
        connection.execute(_FORGET_FAILURE, {"its_path": row["path"]})
        connection.execute(insert(models.failures), row)

    _in_transaction(store, write)


def _in_transaction(store: Store, write: Callable[[Connection], None]) -> None:
    """Run `write` in a transaction; retry if another batch has written the same report in between."""
    with store_errors(store.shown):
        for attempt in range(_TRIES):
            try:
                with store.engine.begin() as connection:
                    write(connection)
                return
            except IntegrityError:
                if attempt == _TRIES - 1:
                    raise
                time.sleep(0.05 * (attempt + 1))


def _put(connection: Connection, table: Any, rows: Iterable[Row]) -> None:
    cleaned = [
        {key: storable(value) if isinstance(value, str) else value for key, value in row.items()} for row in rows
    ]
    if cleaned:
        connection.execute(insert(table), cleaned)


def _put_tags(connection: Connection, report_id: int, tags: Mapping[str, str]) -> None:
    _put(connection, models.tags, ({"report_id": report_id, "key": k, "value": v} for k, v in tags.items()))


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


def _moment(utc_ns: int | None) -> datetime | None:
    if utc_ns is None:
        return None
    try:
        return datetime.fromtimestamp(utc_ns // 10**9, UTC).replace(tzinfo=None)
    except (OverflowError, ValueError, OSError):
        return None


def _report_row(done: Analysed, options: str) -> Row:
    result, facts = done.result, done.result["report"]
    captured = facts["captured_utc_ns"]
    text = {name: facts[name] for name in ("nsys_version", "schema_version", "gpu", "cpu", "driver", "host")}
    row = text | {
        "path": done.path,
        "capture": "" if captured is None else str(captured),
        "sha256": done.sha256,
        "size_bytes": done.size,
        "tool_version": result["tool_version"],
        "method_version": METHOD_VERSION,
        "options": options,
        "analysed_at": _now(),
        "analysis_ms": done.milliseconds,
        "captured_at": _moment(captured),
        "traced": ",".join(facts["traced"]),
        "t_sys_ns": result["t_sys_ns"],
        "t_sys_source": result["t_sys_source"],
        "outside_kernels": result["outside"]["kernels"],
        "outside_share": result["outside"]["share"],
    }
    return {key: storable(value) if isinstance(value, str) else value for key, value in row.items()}


def _put_phases(connection: Connection, report_id: int, result: Mapping[str, Any]) -> None:
    # Phases whose events the report lost have no metrics to store.
    entries = [entry for entry in result["phases"] if entry["kernels"] is not None]
    threads: dict[str, int] = {}
    for entry in entries:
        threads[entry["phase"]] = threads.get(entry["phase"], 0) + 1
    rows = [_phase_row(entry, threads[entry["phase"]] == 1) | {"report_id": report_id} for entry in entries]
    cleaned = [
        {key: storable(value) if isinstance(value, str) else value for key, value in row.items()} for row in rows
    ]
    if not cleaned:
        return
    ids = list(connection.execute(_NEW_PHASES, cleaned).scalars())
    _put(
        connection,
        models.states,
        (row for i, entry in zip(ids, entries, strict=True) for row in _states(i, entry)),
    )
    phase_id = {(e["phase"], e["process"], e["thread"]): i for i, e in zip(ids, entries, strict=True)}
    _put(
        connection,
        models.kernels,
        (
            {"phase_id": phase_id[row["phase"], row["process"], row["thread"]]}
            | {key: value for key, value in row.items() if key in _KERNEL_COLUMNS}
            for row in result["kernels"]
            if (row["phase"], row["process"], row["thread"]) in phase_id
        ),
    )


def _phase_row(entry: Mapping[str, Any], only: bool) -> Row:
    interval = entry["taxbreak"]["library_interval_ns"] or (None, None)
    direct = ("phase", "process", "thread", "instances", "wall_ns", "wall_median_ns", "kernels")
    return (
        {name: entry[name] for name in direct}
        | {"whole_label": only or entry["thread"] is None}
        | {f"launches_{kind}": entry["launches"][kind] for kind in ("kernel", "graph", "memory", "unmeasured_graph")}
        | {f"device_{name}": entry["device"][name] for name in ("active_ns", "kernel_sum_ns", "idle_ns")}
        | {name: value for name, value in entry["taxbreak"].items() if name in models.phases.columns}
        | {"library_low_ns": interval[0], "library_high_ns": interval[1]}
        | {f"verdict_{name}": entry["verdict"][name] for name in ("target", "exposed_share", "why")}
        | _newer_columns(entry)
    )


def _newer_columns(entry: Mapping[str, Any]) -> Row:
    """Return the columns added in schema 0002; None where the result lacks them."""
    helpers, communication = entry.get("helpers_ns"), entry.get("communication") or {}
    return {
        "wall_p99_ns": entry.get("wall_p99_ns"),
        "range_ns": entry.get("range_ns"),
        "helpers_ns": sum(helpers.values()) if helpers else None,
        "comm_ns": communication.get("comm_ns"),
        "comm_wait_ns": communication.get("comm_wait_ns"),
        "device_busy_share": entry["device"].get("busy_share"),
    }


def _states(phase_id: int, entry: Mapping[str, Any]) -> Iterable[Row]:
    exposed = entry["exposed_ns"] or {}
    for state, ns in entry["states_ns"].items():
        yield {
            "phase_id": phase_id,
            "state": state,
            "total_ns": ns,
            "exposed_ns": exposed.get(state),
            "in_os_ns": entry["in_os_ns"].get(state),
        }
