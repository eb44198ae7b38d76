"""The validation's own arithmetic: what it takes from a report, and that the document is what its data give."""

from __future__ import annotations

import json
import math
import random
import re
import sys
from pathlib import Path

import pytest

import taxbreak_nsys
from tests.support.tiny_report import PROCESS, TinyReport

ROOT = Path(__file__).resolve().parents[2]
DOCS, SAMPLES = ROOT / "docs", ROOT / "sample_reports"
sys.path.insert(0, str(DOCS))

from validating import document, extract, injection, numbers, tables  # noqa: E402

THREAD = PROCESS | 77
BASE = {"spin": 100, "nap": 50, "before": 20, "inside": 30, "asleep": 10}


def injected_report(path: Path, steps: list[tuple[str, dict[str, int]]], slower: int = 0) -> tuple[Path, dict]:
    """Write a report whose steps are given extra ns; every step is `slower` ns slower than the one before."""
    report, rows = TinyReport(), []
    report.ranges.append((0, None, 75, "cuBLAS", THREAD, 1, None))
    for number, (label, extra) in enumerate(steps):
        begun = report.now
        report.now += 5_000 + extra.get("spin", 0) + extra.get("before", 0) + number * slower
        library = report.now
        report.now += 3_000 + extra.get("inside", 0)
        report.kernel("gemm")
        report.ranges.append((library, report.now, 59, "cublasGemmEx", THREAD, 1, None))
        report.mark(label, begun, report.now)
        report.now += 1_000
        rows.append([label, *(BASE[column] + extra.get(column, 0) for column in BASE), 1])
    truth = {"products": 1, "columns": ["label", *BASE, "calls"], "steps": rows}
    path.with_suffix(".truth.json").write_text(json.dumps(truth))
    return report.write(path), truth


def test_injected_steps_are_compared_with_the_base_around_them(tmp_path: Path) -> None:
    steps: list[tuple[str, dict[str, int]]] = [("base (1)", {})]
    for kind, column in (("framework", "spin"), ("library", "inside"), ("native", "before")):
        steps += [(f"{kind} 10 us (1)", {column: 10_000}), ("base (1)", {})]
    report, _ = injected_report(tmp_path / "inject.sqlite", steps, slower=40)
    pairs = extract.record_of(report, None)["injected"]["pairs"]
    assert {name: (entry["added"], entry["framework"], entry["library"]) for name, entry in pairs.items()} == {
        "framework 10 us": ([10_000], [10_000], [0]),
        "library 10 us": ([10_000], [0], [10_000]),
        "native 10 us": ([10_000], [10_000], [0]),
    }


def test_a_cost_inside_a_phase_is_compared_with_the_one_outside(tmp_path: Path) -> None:
    steps = [
        (f"framework 10 us {place}", {"spin": ns})
        for place, ns in (("outside", 0), ("inside", 10_000), ("outside", 0), ("inside", 10_500))
    ]
    report, _ = injected_report(tmp_path / "inject.sqlite", steps)
    apart = extract.record_of(report, None)["injected"]["apart"]["framework 10 us"]
    assert (apart["added"], apart["framework"], apart["library"]) == ([10_000, 10_500], [10_000, 10_500], [0, 0])


def test_a_report_that_lost_steps_is_refused(tmp_path: Path) -> None:
    report, truth = injected_report(tmp_path / "inject.sqlite", [("base (1)", {}), ("base (1)", {})])
    truth["steps"].pop()
    report.with_suffix(".truth.json").write_text(json.dumps(truth))
    with pytest.raises(ValueError, match="2 steps in the report, 1 in"):
        extract.record_of(report, None)


def test_what_a_bare_run_was_given(tmp_path: Path) -> None:
    rows = [["base (1)", 200, 0, 0, 0, 2], ["framework 10 us (1)", 20_400, 0, 0, 0, 2], ["base (2)", 400, 0, 0, 0, 2]]
    truth = {"products": 2, "columns": ["label", "spin", "nap", "before", "inside", "calls"], "steps": rows}
    assert extract.bare_added(truth) == {"framework 10 us": 20_400 / 2 - (100 + 200) / 2}


def test_lists_of_numbers_stand_on_one_line() -> None:
    record = {"a": [1, -2, 3.5], "b": {"c": [], "d": ["1, 2"]}, "e": None}
    text = extract.as_text(record)
    assert json.loads(text) == record
    assert '"a": [1,-2,3.5]' in text


# ------------------------------------------------------------------------------------------- the arithmetic


def test_a_medians_interval_is_of_order_statistics() -> None:
    # of ten values the second and the ninth hold the median with 1 - 2 * 11 / 1024 = 97.9 %
    found = numbers.measured([10, 9, 8, 7, 6, 5, 4, 3, 2, 1])
    assert (found.value, found.low, found.high) == (5.5, 2, 9)
    # of five none is sure enough
    assert numbers.measured([5, 1, 4, 2, 3]) == numbers.Measured(3, 1, 5)


def test_the_interval_covers_the_median_as_often_as_it_says() -> None:
    chance = random.Random(4)
    held = 0
    for _ in range(2000):
        found = numbers.measured([chance.expovariate(1) for _ in range(40)])
        held += found.low <= math.log(2) <= found.high
    assert 0.95 <= held / 2000 <= 0.985


def test_a_crossing_is_straight_over_the_logarithm() -> None:
    assert numbers.crossing([(64, 0.25), (4096, 0.75)]) == pytest.approx(512)
    assert numbers.crossing([(4096, 0.75), (64, 0.25), (512, 0.3)]) > 512
    assert numbers.crossing([(64, 0.1), (512, 0.2)]) is None
    assert numbers.crossing([(64, 0.6), (512, 0.9)]) is None


def pairs(**figures: list[int]) -> dict[str, list[int]]:
    count = len(figures["added"])
    return {"framework": [0] * count, "library": [0] * count, "launch": [0] * count, "os_wait": [0] * count} | figures


def test_cost_found_and_leaked_is_told_against_what_was_added() -> None:
    added = [10_000, 10_000, 20_000]
    record = {
        "injected": {
            "products": 10,
            "pairs": {
                f"framework {size} us": pairs(
                    added=added, framework=[10_100, 10_100, 20_200], library=[-500, -500, -1_000]
                )
                for size in injection.SIZES
            },
        }
    }
    cell = injection.against_base(record, ("framework",))[0]
    assert (cell.added_ns, cell.found_ns, cell.count) == (1_000, 1_010, 3)
    assert cell.off.value == pytest.approx(0.01)
    assert cell.leaks["library"].value == pytest.approx(-0.05)
    assert set(cell.leaks) == {"library", "launch"}


def test_the_call_around_a_sleep_is_no_leak() -> None:
    slept = pairs(added=[60_000], call=[62_000], os_wait=[60_000], framework=[2_300])
    record = {"injected": {"products": 1, "apart": {}}}
    for kind in ("framework", "blocked"):
        record["injected"]["apart"] |= {f"{kind} {size} us": slept for size in injection.SIZES}
    cell = injection.apart(record)[3]
    assert cell.name == "blocked 10 us"
    assert cell.leaks["framework"].value == pytest.approx(300 / 60_000)


def test_a_spin_moved_across_the_border_leaves_one_layer_for_the_other() -> None:
    inside = pairs(added=[10_000], library=[10_200], framework=[300])
    before = pairs(added=[10_000], library=[200], framework=[10_300], launch=[100])
    record = {"injected": {"products": 1, "pairs": {}}}
    for size in injection.SIZES:
        record["injected"]["pairs"] |= {f"library {size} us": inside, f"native {size} us": before}
    cell = injection.across(record)[0]
    assert cell.off.value == pytest.approx(0)
    assert (cell.leaks["framework"].value, cell.leaks["launch"].value) == pytest.approx((0, -0.01))


def test_whole_phases_are_compared_repeat_by_repeat() -> None:
    def phase(framework: int, library: int) -> dict:
        samples = {"period_ns": 125_000}
        return {"instances": 10, "samples": samples, "taxbreak": {"delta_ft_ns": framework, "delta_ct_ns": library}}

    phases, given = {}, {}
    for repeat in (1, 2):
        phases[f"base ({repeat})"] = phase(1_000_000, 500_000 * repeat)
        given[f"base ({repeat})"] = {"steps": 10, "spin": 0, "inside": 1_000}
        for size in injection.SIZES:
            phases[f"framework {size} us ({repeat})"] = phase(1_220_000, 500_000 * repeat)
            phases[f"library {size} us ({repeat})"] = phase(980_000, 500_000 * repeat + 190_000)
            given[f"framework {size} us ({repeat})"] = {"steps": 10, "spin": 200_000, "inside": 1_000}
            given[f"library {size} us ({repeat})"] = {"steps": 10, "spin": 0, "inside": 201_000}
    record = {"injected": {"products": 2, "given_ns": given}, "evidence": {"best": phases}}
    cells = {cell.name: cell for cell in injection.by_phase(record)}
    assert cells["framework 10 us"].off.value == pytest.approx(0.1)
    assert cells["framework 10 us"].added_ns == 10_000
    assert cells["library 10 us"].off.value == pytest.approx(-0.05)
    assert cells["library 10 us"].leaks["framework"].value == pytest.approx(-0.1)
    # 20 steps with 2.44 ms, and 20 with 2 ms, of framework: about 36 samples, six of which are chance
    expected = 1.96 * (125_000 * (2_440_000 + 2_000_000)) ** 0.5 / 20 / 20_000
    assert cells["framework 10 us"].chance == pytest.approx(expected)


# --------------------------------------------------------------------------------------------- the document


@pytest.fixture(scope="module")
def everything() -> dict:
    return document.load(DOCS / "data")


def test_the_document_is_what_its_data_give(everything: dict) -> None:
    for name in document.PAGES:
        template = (DOCS / f"{name}.in.md").read_text()
        assert document.text_of(template, everything, DOCS / "data") == (DOCS / f"{name}.md").read_text(), name


def test_a_part_that_is_not_there_is_no_empty_place(everything: dict) -> None:
    with pytest.raises(KeyError, match="nothing_of_the_kind"):
        document.text_of("{{nothing_of_the_kind}}", everything, DOCS / "data")


def test_the_command_writes_the_document_and_its_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    written = document.render(DOCS, tmp_path)
    assert [page.read_text() for page in written] == [(DOCS / page.name).read_text() for page in written]
    named = {name for page in written for name in re.findall(r"\(images/([^)]+)\)", page.read_text())}
    assert {path.name for path in (tmp_path / "images").iterdir()} == named
    for name in named:
        assert (tmp_path / "images" / name).read_bytes().startswith(b"\x89PNG")
        assert (DOCS / "images" / name).exists()
    document.render(DOCS, tmp_path / "again")
    for name in named:
        assert (tmp_path / "again" / "images" / name).read_bytes() == (tmp_path / "images" / name).read_bytes()


def test_what_the_text_claims_of_the_bars_holds_in_the_data(everything: dict) -> None:
    for records in everything.values():
        exact = injection.against_base(records["inject"], ("framework", "library"))
        moved = [*injection.apart(records["inject"])[:3], *injection.across(records["inject"])]
        for cell in [*exact, *moved]:
            assert abs(cell.off.value) <= 0.03, cell
            assert all(abs(leak.value) < 0.03 for leak in cell.leaks.values()), cell
        for cell in injection.by_phase(records["inject-samples"]):
            assert 0 < cell.off.value <= 0.10, cell
        # one call of cuBLAS a product: a spin each, not two
        assert records["inject"]["injected"]["calls_a_product"] == [1.0]
    main = everything["h100"]
    decode = [entry for phase, _, _, entry in tables.sweep_points(main) if phase == "decode"]
    assert all(max(entry["taxbreak"]["hdbi"], tables.corrected_hdbi(entry)) < 0.5 for entry in decode)
    assert 8 <= float(tables.ratio(main, "olmoe-1b-7b", "every")) <= 11


# ---------------------------------------------------------------------------------------- from reports to data


def test_a_capture_is_kept_with_each_evidence_that_it_has(tmp_path: Path) -> None:
    report = SAMPLES / "llama-1b.sqlite"
    times = tmp_path / "times.json"
    times.write_text('{"decode": {"median_ms": 16.0}}')
    record = extract.record_of(report, times)
    result = taxbreak_nsys.analyze(report, reference=times)
    assert set(record["evidence"]) == {"best", "ranges"}
    assert record["evidence"]["best"]["decode"]["taxbreak"]["hdbi"] == result.phase("decode").taxbreak.hdbi
    assert record["evidence"]["best"]["decode"]["corrected"]["dilation"] == result.phase("decode").corrected.dilation
    assert record["reference_ms"] == {"decode": 16.0}
    assert "path" not in record["report"]


def test_what_graphs_would_bring_is_kept_of_eager_phases_alone() -> None:
    found = extract.record_of(SAMPLES / "graph-node.sqlite", None)["whatif_graphs"]
    assert [entry["phase"] for entry in found] == ["decode_eager"]
    assert 0 < found[0]["predicted_wall_median_ns"] < found[0]["wall_median_ns"]
    assert found[0]["graphs"] == found[0]["instances"]


def test_times_are_found_by_the_name_before_a_dash(tmp_path: Path) -> None:
    for name in ("settings.times.json", "settings-os.sqlite", "settings-os-all.sqlite", "other.sqlite"):
        (tmp_path / name).touch()
    for name in ("settings-os", "settings-os-all"):
        assert extract.beside(tmp_path / f"{name}.sqlite", "times") == tmp_path / "settings.times.json"
    assert extract.beside(tmp_path / "other.sqlite", "times") is None
