"""Queries on the store: phases of reports, conditions on tags, the newest capture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, RowMapping, and_, func, select

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.output.listing import table_of_rows
from taxbreak_nsys.store.models import kernels, phases, reports, states, tags
from taxbreak_nsys.store.store_opening import Store

if TYPE_CHECKING:
    import pyarrow as pa

FACTS = ("gpu", "cpu", "driver", "host", "nsys_version", "schema_version")
"""Columns of `reports` that can be used like tags."""

_SHOWN = {
    "Report": reports.c.path,
    "Phase": phases.c.phase,
    "PID": phases.c.process,
    "TID": phases.c.thread,
    "Instances": phases.c.instances,
    "Wall Med (ns)": phases.c.wall_median_ns,
    "HDBI": phases.c.hdbi,
    "delta_ft (ns)": phases.c.delta_ft_ns,
    "delta_ct (ns)": phases.c.delta_ct_ns,
    "delta_kt (ns)": phases.c.delta_kt_ns,
    "Device Active (ns)": phases.c.device_active_ns,
    "Kernels": phases.c.kernels,
    "Evidence": phases.c.evidence,
    "Target": phases.c.verdict_target,
}
_AT_ONCE = 500


def tag_or_fact(key: str) -> ColumnElement[str | None]:
    """Return the SQL expression for a report's tag, or for the fact of that name; for queries on `reports`."""
    own = tags.alias()
    tag = (
        select(own.c.value)
        .where(own.c.report_id == reports.c.id, own.c.key == key)
        .correlate(reports)
        .scalar_subquery()
    )
    return func.coalesce(tag, reports.c[key]) if key in FACTS else tag


def check_keys(store: Store, keys: Sequence[str], option: str) -> None:
    """Raise TaxbreakError, naming the option, for a key that is neither a tag of any report nor a fact."""
    with store.begin() as connection:
        known = set(connection.execute(select(tags.c.key).distinct()).scalars())
    for key in keys:
        if key not in known and key not in FACTS:
            names = ", ".join([*sorted(known), *FACTS])
            raise TaxbreakError(f"{option} {key!r}: no report of {store.shown} has such a tag; there are: {names}")


def phase_table(store: Store, paths: Sequence[str]) -> pa.Table:
    """Return one row per phase entry of the reports at some paths, with their tags; columns are titled as in nsys."""
    rows: list[dict[str, Any]] = []
    with store.begin() as connection:
        for some in _in_parts(paths):
            wanted = (
                select(reports.c.id, *(column.label(title) for title, column in _SHOWN.items()))
                .join(phases, phases.c.report_id == reports.c.id)
                .where(reports.c.path.in_(some))
                .order_by(reports.c.path, reports.c.capture, phases.c.id)
            )
            rows += [dict(row) for row in connection.execute(wanted).mappings()]
        keys: dict[str, None] = {}
        report_tags: dict[int, dict[str, str]] = {}
        for ids in _in_parts(dict.fromkeys(row["id"] for row in rows)):
            tag_rows = select(tags.c.report_id, tags.c.key, tags.c.value).where(tags.c.report_id.in_(ids))
            for report_id, key, value in connection.execute(tag_rows.order_by(tags.c.report_id, tags.c.key)):
                keys[key] = None
                report_tags.setdefault(report_id, {})[key] = value
    tagged = [row | {f"tag {key}": report_tags.get(row["id"], {}).get(key) for key in keys} for row in rows]
    names = [next(iter(_SHOWN)), *(f"tag {key}" for key in keys), *list(_SHOWN)[1:]]
    return table_of_rows(names, tagged)


def _in_parts(items: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield the items in lists of at most 500: databases limit the length of an IN list."""
    values = list(items)
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]


def where_tags(wanted: dict[str, str]) -> ColumnElement[bool]:
    """Return the SQL condition that a report has all these tags or facts."""
    return and_(True, *(tag_or_fact(key) == value for key, value in wanted.items()))


def newest_capture(store: Store, chosen: Mapping[str, str], but: str) -> dict[str, Any]:
    """Return the newest capture with the tags or facts `chosen`, in the form of a report's JSON as far as stored.

    The report with the hash `but` is left out. The newest capture is the last one captured, then the last analysed.
    Raises TaxbreakError where there is no such capture.
    """
    wanted = select(reports.c.id).where(reports.c.sha256 != but)
    for key, value in chosen.items():
        wanted = wanted.where(tag_or_fact(key) == value)
    # Reports with an unknown time of capture sort last.
    newest = (reports.c.captured_at.is_(None), reports.c.captured_at.desc(), reports.c.analysed_at.desc())
    with store.begin() as connection:
        report = connection.execute(wanted.order_by(*newest).limit(1)).scalar()
        if report is None:
            asked = ", ".join(f"{key}={value}" for key, value in chosen.items())
            raise TaxbreakError(
                f"{store.shown}: holds no other report{' with ' + asked if asked else ''} to compare with"
            )
        rows = connection.execute(select(phases).where(phases.c.report_id == report)).mappings().all()
        phase_entries, kernel_rows = [], list[dict[str, Any]]()
        for row in rows:
            state_rows = connection.execute(select(states).where(states.c.phase_id == row["id"])).mappings().all()
            phase_entries.append(_as_json(row, state_rows))
            names = select(kernels.c.name, kernels.c.device_ns).where(kernels.c.phase_id == row["id"])
            kernel_rows += [
                {"phase": row["phase"], "name": name, "device_ns": device} for name, device in connection.execute(names)
            ]
        facts = connection.execute(select(reports).where(reports.c.id == report)).mappings().one()
    return {
        "report": {key: facts[key] for key in ("gpu", "cpu", "nsys_version")}
        | {"traced": facts["traced"].split(",") if facts["traced"] else []},
        "phases": phase_entries,
        "kernels": kernel_rows,
    }


def _as_json(row: RowMapping, state_rows: Sequence[RowMapping]) -> dict[str, Any]:
    """Return a stored phase in the form of method section 7, as far as the store holds it."""
    measured = any(state["exposed_ns"] is not None for state in state_rows)
    layers = ("delta_ft_ns", "delta_ct_ns", "delta_kt_ns", "launch_excess_ns", "t_orchestration_ns")
    return {
        **{
            name: row[name]
            for name in ("phase", "process", "thread", "instances", "wall_ns", "wall_median_ns", "kernels")
        },
        "launches": {name: row[f"launches_{name}"] for name in ("kernel", "graph", "memory", "unmeasured_graph")},
        "states_ns": {state["state"]: state["total_ns"] for state in state_rows},
        "exposed_ns": {state["state"]: state["exposed_ns"] for state in state_rows} if measured else None,
        "device": {name: row[f"device_{name}"] for name in ("active_ns", "kernel_sum_ns", "idle_ns")},
        "taxbreak": {name: row[name] for name in (*layers, "t_device_active_ns", "hdbi", "hdbi_reason", "evidence")},
        "verdict": {"exposed_share": row["verdict_exposed_share"]},
    }
