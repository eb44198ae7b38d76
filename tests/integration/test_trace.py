"""The timeline traces, read back: Perfetto's packets by its own protobufs, Chrome's JSON by json."""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from taxbreak_nsys import Result, analyze
from taxbreak_nsys.cli.all_commands import app
from taxbreak_nsys.output.perfetto import write_perfetto
from taxbreak_nsys.output.timeline import lanes, stands_out
from taxbreak_nsys.output.trace_spool import TraceSpool
from taxbreak_nsys.pipeline.analysis import collect_report
from tests.support.program import run_program
from tests.support.reports import columns_of, find_report

proto = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2", reason="no perfetto (the extra dev)")


class Decoded:
    """A Perfetto trace as a viewer reads it: tracks, slices (with nesting checked), arrows, counters."""

    def __init__(self, path: Path) -> None:
        self.tracks: dict[int, Any] = {}
        self.slices: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self.counters: dict[int, list[tuple[int, float]]] = defaultdict(list)
        interned: dict[str, dict[int, Any]] = defaultdict(dict)
        outer = proto.Trace.FromString(path.read_bytes())
        packets = []
        for packet in outer.packet:
            assert packet.compressed_packets
            packets += proto.Trace.FromString(zlib.decompress(packet.compressed_packets)).packet
        assert packets[0].sequence_flags & 1
        events = []
        for packet in packets:
            assert packet.trusted_packet_sequence_id == packets[0].trusted_packet_sequence_id
            for field, entries in packet.interned_data.ListFields():
                for entry in entries:
                    assert entry.iid not in interned[field.name]
                    interned[field.name][entry.iid] = entry.str.decode() if hasattr(entry, "str") else entry.name
            if packet.HasField("track_descriptor"):
                self.tracks[packet.track_descriptor.uuid] = packet.track_descriptor
            elif packet.HasField("track_event"):
                events.append((packet.timestamp, packet.track_event))
        open_slices: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for time, event in events:
            stack = open_slices[event.track_uuid]
            if event.type == event.TYPE_SLICE_BEGIN:
                about = {
                    interned["debug_annotation_names"][a.name_iid]: interned["debug_annotation_string_values"][
                        a.string_value_iid
                    ]
                    if a.HasField("string_value_iid")
                    else a.int_value
                    for a in event.debug_annotations
                }
                one = {"name": interned["event_names"][event.name_iid], "start": time, "about": about}
                one |= {"leaves": list(event.flow_ids), "arrives": list(event.terminating_flow_ids)}
                one["category"] = interned["event_categories"][event.category_iids[0]]
                stack.append(one)
            elif event.type == event.TYPE_SLICE_END:
                one = stack.pop()
                one["end"] = time
                assert time >= one["start"]
                self.slices[event.track_uuid].append(one)
            else:
                self.counters[event.track_uuid].append((time, event.double_counter_value))
        assert not any(open_slices.values())

    def path_of(self, key: int) -> tuple[str, ...]:
        track = self.tracks[key]
        if track.HasField("process"):
            return (track.process.process_name,)
        return (*self.path_of(track.parent_uuid), track.name)

    def named(self, name: str) -> dict[tuple[str, ...], list[dict[str, Any]]]:
        found = {self.path_of(key): slices for key, slices in self.slices.items()}
        return {path: slices for path, slices in found.items() if path[-1] == name}


def spool_of(result: Result, rows: int = 400_000) -> TraceSpool:
    """Return what a trace needs beside the result, from windows of about so many rows."""
    return collect_report(result.report.path, None, TraceSpool, window_rows=rows)[1]


@pytest.fixture(scope="session")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Result], Decoded]:
    known: dict[int, Decoded] = {}

    def of(result: Result) -> Decoded:
        if id(result) not in known:
            path = tmp_path_factory.mktemp("trace") / "t.pftrace"
            write_perfetto(result, spool_of(result), path)
            known[id(result)] = Decoded(path)
        return known[id(result)]

    return of


def test_slices_by_state_equal_states_ns(any_report: Path, tmp_path: Path) -> None:
    result = analyze(any_report)
    write_perfetto(result, spool_of(result), tmp_path / "t.pftrace")
    trace = Decoded(tmp_path / "t.pftrace")
    by_state: Counter[str] = Counter()
    exposed: Counter[str] = Counter()
    for slices in trace.named("states").values():
        before = 0
        for one in slices:
            assert one["start"] >= before
            before = one["end"]
            by_state[one["name"]] += one["end"] - one["start"]
            exposed[one["name"]] += one["about"].get("exposed_ns", 0)
    expected: Counter[str] = Counter()
    for entry in result.entries:
        if not entry.combined:
            expected.update(entry.states_ns)
    assert by_state == +expected
    steps = result.step_sums
    assert sum(exposed.values()) == steps.exposed[~steps.unmeasured].sum()
    layers = sum(one["end"] - one["start"] for slices in trace.named("layers").values() for one in slices)
    assert layers == sum(by_state.values())


def test_every_device_operation_and_phase_is_there(any_report: Path, tmp_path: Path) -> None:
    result = analyze(any_report)
    write_perfetto(result, spool_of(result), tmp_path / "t.pftrace")
    trace = Decoded(tmp_path / "t.pftrace")
    ops, columns = columns_of(result).trace.ops, columns_of(result)
    device = [one for slices in trace.slices.values() for one in slices if one["category"] == "device"]
    assert len(device) == len(ops)
    assert sum(one["end"] - one["start"] for one in device) == int((ops.end - ops.start).sum())
    phases = [one for slices in trace.slices.values() for one in slices if one["category"] == "phase"]
    assert Counter(one["name"] for one in phases) == Counter(
        columns.instances.labels[code] for code in columns.instances.label.tolist()
    )
    assert sum(one["about"]["wall_ns"] for one in phases) == int(columns.steps.wall.sum())


def test_arrows_join_a_launch_to_its_first_operation(analysed, decoded) -> None:
    result = analysed("graph-node")
    trace, columns = decoded(result), columns_of(analysed("graph-node"))
    leaving, arriving = {}, {}
    for slices in trace.slices.values():
        for one in slices:
            leaving |= dict.fromkeys(one["leaves"], one)
            for arrow in one["arrives"]:
                assert arrow not in arriving
                arriving[arrow] = one
    assert set(leaving) == set(arriving)
    held = columns.launch_instance >= 0
    assert len(leaving) == int(held.sum())
    for arrow, source in leaving.items():
        launch = arrow - 1
        assert source["name"] in ("launch", "memop", "device_wait")
        assert source["start"] == columns.launches.start[launch]
        assert arriving[arrow]["start"] == columns.launches.first_op_start[launch]


def test_names_say_what_the_thread_was_in(analysed, decoded) -> None:
    (slices,) = decoded(analysed("llama-1b")).named("states").values()
    launches = [one for one in slices if one["name"] == "launch"]
    assert all("Launch" in one["about"]["in"] for one in launches)
    assert all(one["about"]["kernel"] for one in launches)
    library = {one["about"]["in"].split("(")[0] for one in slices if one["name"] == "library"}
    assert any(name.startswith("cublas") for name in library)
    (operators,) = decoded(analysed("llama-1b-aten")).named("states").values()
    assert all(one["about"]["in"].startswith(("aten::", "autograd")) for one in operators if one["name"] == "dispatch")


def test_counters_follow_the_definition(analysed, decoded) -> None:
    result = analysed("llama-3b-batch16")
    trace, columns, window = decoded(result), columns_of(result), 10_000_000
    counters = {trace.path_of(key)[-1]: values for key, values in trace.counters.items()}
    assert set(counters) == {"GPU 0 active over 10 ms", "HDBI over 10 ms"}
    ops, intervals = columns.trace.ops, columns.intervals
    kernels = np.flatnonzero(ops.computes)
    host = np.isin(intervals.state, [6, 7, 8, 9])  # library, runtime, dispatch, python
    for time, hdbi in counters["HDBI over 10 ms"][::7]:
        low, busy, reach = time - window, 0, time - window
        for op in kernels[np.argsort(ops.start[kernels], kind="stable")].tolist():
            if columns.op_instance[op] >= 0:
                begin, stop = max(int(ops.start[op]), reach), min(int(ops.end[op]), time)
                busy, reach = busy + max(stop - begin, 0), max(reach, stop)
        own = np.minimum(intervals.end[host], time) - np.maximum(intervals.start[host], low)
        begun = columns.launches.start
        inside = (begun >= low) & (begun < time) & (columns.launches.kind < 2) & (columns.launch_instance >= 0)
        orchestration = int(np.maximum(own, 0).sum()) + int(inside.sum()) * result.t_sys_ns
        assert hdbi == pytest.approx(busy / (busy + orchestration))
    assert all(0 <= value <= 100 for _, value in counters["GPU 0 active over 10 ms"])


def test_unmeasured_steps_have_a_reason_and_no_counter(analysed, decoded) -> None:
    result = analysed("graph-graph")
    trace, columns = decoded(result), columns_of(result)
    for slices in trace.slices.values():
        for one in slices:
            if one["category"] == "phase":
                said = one["about"].get("device time", "")
                assert ("--cuda-graph-trace=node" in said) == (one["name"] == "decode_graph")
    unknown = columns.steps.unmeasured
    for values in trace.counters.values():
        for time, _ in values:
            touched = (columns.instances.start[unknown] < time) & (columns.instances.end[unknown] > time - 10_000_000)
            assert not touched.any()


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60), st.integers(0, 30)), max_size=60))
def test_lanes_never_overlap_and_are_as_few_as_can_be(found: list[tuple[int, int, int]]) -> None:
    group, start, length = (np.array([row[i] for row in found], np.int64) for i in range(3))
    end = start + length
    lane = lanes(group, start, end)
    for one in range(3):
        mine = group == one
        for number in np.unique(lane[mine]).tolist():
            held = np.flatnonzero(mine & (lane == number))
            held = held[np.lexsort((end[held], start[held]))]
            assert np.all(start[held][1:] >= end[held][:-1])
        moments = start[mine & (length > 0)]
        most = max((int(np.sum((start[mine] <= m) & (end[mine] > m))) for m in moments), default=1)
        assert lane[mine].max(initial=0) < max(most, 1) + int(np.any(length[mine] == 0))


def test_steps_that_stand_out() -> None:
    usual = np.array([100, 101, 99, 102, 98, 100, 101] * 4, np.int64) * 1000
    assert not stands_out(usual).any()
    assert np.flatnonzero(stands_out(np.r_[usual, 150_000, usual, 40_000])).tolist() == [28, 57]
    assert not stands_out(np.array([1, 1, 1, 900], np.int64)).any()
    # 3 % above a median without spread is no step to look at
    assert not stands_out(np.r_[np.full(50, 1000), 1030]).any()


def test_command(report, tmp_path: Path) -> None:
    path = str(report("null-kernel"))
    target = tmp_path / "t.pftrace"
    assert CliRunner().invoke(app, ["trace", path, "-o", str(target), "--window", "1ms"]).exit_code == 0
    assert target.stat().st_size
    for wrong in (["--window", "0"], ["--window", "soon"]):
        run = CliRunner().invoke(app, ["trace", path, "-o", str(tmp_path / "x"), *wrong])
        assert "\n" not in str(run.exception)
        assert "--window" in str(run.exception)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["llama-1b-aten", "inject", "jax", "vllm-tp2"])
@pytest.mark.parametrize("rows", [2_000, 400_000])
def test_every_range_is_there_once(report, name: str, rows: int, tmp_path: Path) -> None:
    result = analyze(report(name))
    write_perfetto(result, spool_of(result, rows), tmp_path / "t.pftrace")
    trace = Decoded(tmp_path / "t.pftrace")
    ranges = columns_of(result).trace.ranges
    of_hosts = np.isin(ranges.thread, np.unique(result.instances.thread))
    expected = Counter(
        (ranges.names[code], start, end, "operator" if operator else "nvtx")
        for code, start, end, operator, wanted in zip(
            ranges.name.tolist(), ranges.start.tolist(), ranges.end.tolist(), ranges.is_operator.tolist(),
            of_hosts.tolist(), strict=True,
        )
        if wanted
    )  # fmt: skip
    drawn = [
        (path, one)
        for key, slices in trace.slices.items()
        for path in [trace.path_of(key)]
        for one in slices
        if one["category"] in ("nvtx", "operator")
    ]
    assert Counter((one["name"], one["start"], one["end"], one["category"]) for _, one in drawn) == expected
    for path, one in drawn:
        assert path[-1].startswith("operators" if one["category"] == "operator" else "NVTX ranges")
    outermost = [one for path, one in drawn if path[-1] == "operators"]
    assert (not outermost) == (not ranges.is_operator.any())


def test_processes_and_threads_have_names_and_ranks(report, tmp_path: Path) -> None:
    import sqlite3

    path = report("vllm-tp2")
    result = analyze(path)
    write_perfetto(result, spool_of(result), tmp_path / "t.pftrace")
    trace = Decoded(tmp_path / "t.pftrace")
    processes = [track.process.process_name for track in trace.tracks.values() if track.HasField("process")]
    assert len(processes) == 2
    assert [name.split(":")[0] for name in processes] == ["rank 0", "rank 1"]
    with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as database:
        names = dict(
            database.execute("SELECT t.globalTid, s.value FROM ThreadNames t JOIN StringIds s ON s.id = t.nameId")
        )
    for thread in np.unique(result.instances.thread).tolist():
        title = f"{names[thread]} (thread {thread & 0xFFFFFF})"
        assert any(track.name == title for track in trace.tracks.values())


def test_time_is_linear_in_nested_phases(tmp_path: Path) -> None:
    """Each depth is a track of its own: 10,000 of them took for ever."""
    import resource
    import sqlite3

    source = tmp_path / "nested.sqlite"
    source.write_bytes(find_report("llama-1b").read_bytes())
    with sqlite3.connect(source) as database:
        low, high, thread = database.execute(
            "SELECT min(start), max(end), min(globalTid) FROM CUPTI_ACTIVITY_KIND_RUNTIME"
        ).fetchone()
        database.execute("DELETE FROM NVTX_EVENTS WHERE eventType = 59")
        rows = [(low + k, high - k, thread, f"p{k % 7}") for k in range(10_000)]
        database.executemany(
            "INSERT INTO NVTX_EVENTS(start, end, eventType, globalTid, text, domainId) VALUES (?, ?, 59, ?, ?, 0)", rows
        )
    database.close()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run_program("trace", source, "--phase", "a=^p", "-o", tmp_path / "t.pftrace", timeout=300)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert after.ru_utime - before.ru_utime < 15  # seconds; it is 2, and was 27 for half as many


def test_ranges_too_deep_for_a_viewer_are_counted(report, tmp_path: Path) -> None:
    import shutil
    import sqlite3

    path = tmp_path / "deep.sqlite"
    shutil.copyfile(report("llama-1b"), path)
    with sqlite3.connect(path) as database:
        start, end, thread = database.execute(
            "SELECT start, end, globalTid FROM NVTX_EVENTS WHERE text LIKE 'decode%' ORDER BY start LIMIT 1"
        ).fetchone()
        rows = [(start + 1 + k, end - 1 - k, 59, f"aten::x, op_id = {k}", thread, 0) for k in range(1000)]
        database.executemany(
            "INSERT INTO NVTX_EVENTS (start, end, eventType, text, globalTid, domainId) VALUES (?, ?, ?, ?, ?, ?)", rows
        )
    result = analyze(path)
    write_perfetto(result, spool_of(result), tmp_path / "t.pftrace")
    trace = Decoded(tmp_path / "t.pftrace")
    operators = sum(one["category"] == "operator" for slices in trace.slices.values() for one in slices)
    names = [track.process.process_name for track in trace.tracks.values() if track.HasField("process")]
    assert operators == 256
    assert "744 ranges deeper than 256 levels are left out" in names
