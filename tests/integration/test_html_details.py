"""The page's tables of details, its jumps into the timeline and its flame graph, in a real browser."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from taxbreak_nsys.comparison.shown_changes import page_differences
from taxbreak_nsys.options import Options
from taxbreak_nsys.output.html.html_details import PAGE_TABLES
from taxbreak_nsys.pipeline.analysis import analyze_report
from tests.support.browser import Browser
from tests.support.in_process import run


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write the page of some reports with the program, each once."""
    pages: dict[tuple[Path, ...], Path] = {}

    def page(*reports: Path) -> Path:
        if reports not in pages:
            pages[reports] = tmp_path_factory.mktemp("html") / "report.html"
            done = run("html", *reports, "-o", pages[reports])
            assert done.returncode == 0, done.stderr
        return pages[reports]

    return page


def data_of(page: Path) -> dict:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found
    return json.loads(found[1])


@pytest.mark.parametrize("name", ["llama-1b-aten", "vllm-sampled", "olmoe"])
def test_page_is_at_most_five_megabytes(report, written, name: str) -> None:
    assert written(report(name)).stat().st_size <= 5_000_000


def test_cards_begin_with_three_numbers(report, written, browser: Browser) -> None:
    path = report("llama-1b-aten")
    browser.open(written(path))
    result = analyze_report(path, Options(tables=PAGE_TABLES))
    for card, entry in enumerate(result.entries):
        shown = browser.run(
            "return [...document.querySelectorAll('.card')[arguments[0]].querySelectorAll('.numbers b')]"
            ".map((number) => number.textContent)",
            card,
        )
        busy = 1 - (entry.device.idle_ns or 0) / entry.wall_ns
        best = max(share for share in entry.verdict.savings.values() if share is not None)
        assert len(shown) == 3
        assert shown[0] == f"{entry.wall_ns // entry.instances / 1e6:.1f} ms"
        assert shown[1] == f"{100 * busy:.1f} %"
        assert shown[2] == f"{100 * best:.1f} %"
    weight = browser.run("return getComputedStyle(document.querySelector('.verdict')).fontWeight")
    assert weight == "400"


def test_next_gap_walks_through_the_idle_time(report, written, browser: Browser) -> None:
    browser.open(written(report("llama-1b-aten")))
    line = browser.run(
        "return {gaps: idleGaps(panels[0].line), span: panels[0].line.span, start: panels[0].line.start}"
    )
    result = analyze_report(report("llama-1b-aten"), Options(tables=frozenset({"gap_trace"})))
    gaps = result.details.gap_trace
    assert gaps is not None
    inside = (gaps["start_ns"] >= line["start"]) & (gaps["start_ns"] < line["start"] + line["span"])
    ours = list(
        zip((gaps["start_ns"] - line["start"])[inside].tolist(), gaps["duration_ns"][inside].tolist(), strict=True)
    )
    assert [(a, b - a) for a, b in line["gaps"]] == sorted(ours)
    for number in (1, 2):
        browser.find("button.gap").click()
        note = browser.run("return document.querySelector('.gap-note').textContent")
        assert note.startswith(f"Gap {number} of {len(line['gaps'])}: ")
        start, end = line["gaps"][number - 1]
        low, high = browser.run("return panels[0].range")
        assert low <= start < end <= high
        assert browser.run("return document.querySelector('.timeline-chart').layout.shapes.length") == 1
    assert "ended by" in note


def test_click_on_a_row_shows_it_in_the_timeline(report, written, browser: Browser) -> None:
    browser.open(written(report("llama-1b-aten")))
    for table, index in (("taxbreak_kern_sum", 0), ("taxbreak_gap_sum", 1), ("taxbreak_nvtx_sum", 2)):
        row = f"#{table} tr.findable:nth-of-type({index + 1})"
        name = browser.run(f"return document.querySelector('{row}').dataset.find")
        browser.find(f"{row} td").click()
        note = browser.run("return document.querySelector('.gap-note').textContent")
        assert note.startswith(f"{name}: 1 of ")
        mark = browser.run("return panels[0].mark")
        low, high = browser.run("return panels[0].range")
        assert low <= mark[0] < mark[1] <= high
        browser.find(f"{row} td").click()
        again = browser.run("return document.querySelector('.gap-note').textContent")
        assert again.startswith(f"{name}: 2 of ") or ": 1 of 1 " in again


def test_names_stand_in_the_timeline(report, written, browser: Browser) -> None:
    browser.open(written(report("llama-1b-aten")))
    browser.find("#taxbreak_kern_sum tr.findable td").click()
    words = browser.run(
        "return document.querySelector('.timeline-chart').data.flatMap((trace) => trace.text || []).filter(Boolean)"
    )
    kernel = browser.run("return document.querySelector('#taxbreak_kern_sum tr.findable').dataset.find")
    shown = [word.rstrip("…") for word in words]
    assert any(word and kernel.startswith(word) for word in shown)
    assert any(word.startswith("aten::") or word == "decode" or "decode".startswith(word) for word in shown if word)


def test_flame_graph_adds_up_and_opens(report, written, browser: Browser) -> None:
    path = report("vllm-sampled")
    result = analyze_report(path, Options(tables=PAGE_TABLES))
    flames = data_of(written(path))["flames"]
    assert len(flames) == len(result.entries)
    for flame in flames:
        children = [0] * len(flame["label"])
        for parent, ns in zip(flame["parent"], flame["ns"], strict=True):
            if parent >= 0:
                children[parent] += ns
        assert all(inner <= own for inner, own in zip(children, flame["ns"], strict=True))
        phase = flame["title"].split(" (")[0]
        whole = sum(ns for parent, ns in zip(flame["parent"], flame["ns"], strict=True) if parent < 0)
        assert whole == sum(row["total_ns"] for row in result.sample_rows if row["phase"] == phase)
    browser.open(written(path))
    drawn = browser.wait("document.querySelectorAll('#flame-chart .iciclelayer .slice').length")
    assert drawn > 20
    browser.find("#flame-exposed").click()
    assert browser.wait("document.querySelector('#flame-chart').data[0].values[0]") <= max(
        sum(ns for parent, ns in zip(f["parent"], f["ns"], strict=True) if parent < 0) for f in flames
    )
    console, asked = browser.logs()
    assert console == []
    assert [address for address in asked if not address.startswith(("file:", "data:", "blob:"))] == []


def test_two_reports_differ_as_diff_says(report, written, browser: Browser) -> None:
    one, other = report("llama-1b"), report("llama-1b-aten")
    browser.open(written(one, other))
    done = run("diff", one, other, "-f", "json")
    compared = json.loads(done.stdout)
    shown = browser.run(
        "return [...document.querySelectorAll('#difference tbody tr')]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    changes = [(phase["before"], change) for phase in compared["phases"] for change in phase["changes"]]
    assert [(row[0], row[1], row[-1]) for row in shown] == [(p, c["title"], c["word"]) for p, c in changes]
    for row, (_, change) in zip(shown, changes, strict=True):
        percent = f"{100 * change['difference'] / change['before']:+.1f}" if change["before"] else "-"
        assert row[4] == percent
    cautions = browser.run(
        "return [...document.querySelectorAll('#difference .warn')].map((one) => one.textContent.toLowerCase())"
    )
    assert len(cautions) == len(compared["conditions"]) > 0
    for caution, condition in zip(cautions, compared["conditions"], strict=True):
        assert condition["effect"].lower() in caution


def test_differences_without_scipy_are_not_judged(analysed, monkeypatch: pytest.MonkeyPatch) -> None:
    results = [analysed("graph-node"), analysed("graph-node")]
    judged = page_differences(results)
    monkeypatch.setattr("taxbreak_nsys.comparison.shown_changes.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    plain = page_differences(results)
    assert judged is not None
    assert plain is not None
    assert (judged["judged"], plain["judged"]) == (True, False)
    assert {row["word"] for row in plain["rows"]} <= {"-", "not comparable", "one instance: no interval"}
    for one, other in zip(judged["rows"], plain["rows"], strict=True):
        assert (one["before"], one["after"], one["percent"]) == (other["before"], other["after"], other["percent"])


def test_differences_need_a_phase_in_common(analysed) -> None:
    assert page_differences([analysed("llama-1b"), analysed("inject")]) is None


def test_levers_begin_with_the_one_that_saves_most(report, written, browser: Browser) -> None:
    browser.open(written(report("llama-1b")))
    rows = browser.run(
        "return [...document.querySelectorAll('#levers tbody tr')].map((row) => [...row.cells]"
        ".map((cell) => cell.textContent))"
    )
    told = json.loads(run("whatif", report("llama-1b"), "--graphs", "-f", "json").stdout)
    for phase in told["phases"]:
        mine = [row for row in rows if row[0] == phase["phase"]]
        assert mine[0][1] == "launch each step as CUDA graphs"
        assert mine[0][2] == f"{100 * phase['saved_share']:.1f}"
        shares = [float(row[2]) for row in mine if row[1].startswith(("half", "launch"))]
        assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize("width", [1400, 400])
def test_nothing_is_wider_than_the_page(report, written, browser: Browser, width: int) -> None:
    browser.open(written(report("vllm-sampled")), width=width)
    assert browser.run("return document.documentElement.scrollWidth") <= width
