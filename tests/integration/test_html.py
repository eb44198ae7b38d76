"""The HTML report: what is in the file, and what a real browser makes of it."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from taxbreak_nsys import Result, analyze
from taxbreak_nsys.cli.all_commands import app
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.output.html.html_page import EVENTS, render_page
from taxbreak_nsys.output.html.thinning import thin
from taxbreak_nsys.output.html.timelines import TimelineCollector
from taxbreak_nsys.pipeline.analysis import collect_report
from tests.support.browser import Browser

LIMIT = 5_000_000


def data_of(page: str) -> dict:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def column(sparse, length: int) -> list[int]:
    """Decode a column as the page's script does."""
    if isinstance(sparse, list):
        return sparse
    if "all" in sparse:
        return sparse["all"]
    full, place = [sparse["usual"]] * length, 0
    for skip, value in zip(sparse["skip"], sparse["value"], strict=True):
        place += skip
        full[place] = value
    return full


def page_with(results: Sequence[Result], events: int = EVENTS, rows: int = 400_000) -> str:
    """Return the page of some results, whose timelines come from windows of about so many rows."""
    each = events // len(results)
    timelines = [
        collect_report(
            result.report.path, None, lambda instances: TimelineCollector(instances, each), window_rows=rows
        )[1]
        for result in results
    ]
    return render_page(results, timelines)


@pytest.fixture(scope="session")
def page_of(tmp_path_factory: pytest.TempPathFactory):
    """Write the page of some results once and return its path."""
    written: dict[tuple[int, ...], Path] = {}

    def page(*results: Result) -> Path:
        key = tuple(map(id, results))
        if key not in written:
            written[key] = tmp_path_factory.mktemp("html") / "report.html"
            written[key].write_text(page_with(results), encoding="utf-8")
        return written[key]

    return page


# ---- the file ----------------------------------------------------------------------------------------------


def test_page_is_small_and_says_what_the_result_says(any_report: Path) -> None:
    result = analyze(any_report)
    page = page_with([result])
    assert len(page.encode()) < LIMIT
    shown = {(stack["title"], stack["wall"]) for stack in data_of(page)["stacks"]}
    assert len(shown) == len(result.entries)
    for entry, stack in zip(result.entries, data_of(page)["stacks"], strict=True):
        assert sum(ns for _, ns, _ in stack["parts"]) == entry.wall_ns == stack["wall"]
        if entry.exposed_ns is not None:
            assert sum(exposed for _, _, exposed in stack["parts"]) == entry.device.idle_ns
        else:
            assert stack["busy"] is None
            assert "--cuda-graph-trace=node" in stack["reason"]
    for warning in result.report.warnings:
        assert page.count(warning.code) == 0  # words, not codes


@pytest.mark.parametrize("events", [1000, 50_000])
def test_timelines_keep_the_time_of_every_state(any_report: Path, events: int) -> None:
    result = analyze(any_report)
    data = data_of(page_with([result], events))
    assert data["timelines"]
    for line in data["timelines"]:
        group = data["groups"][line["group"]]
        host = line["host"]
        by_state = [0] * len(STATES)
        for state, duration in zip(host["s"], host["d"], strict=True):
            by_state[int(state)] += duration
        assert by_state == group["states"][group["step"].index(line["step"])]
        gaps = column(host["g"], len(host["d"]))
        assert all(gap >= 0 for gap in gaps)
        assert sum(gaps) + sum(host["d"]) <= line["span"]
        assert len(column(host["n"], len(host["d"]))) == len(host["d"])


def test_what_is_left_out_is_said(analysed) -> None:
    result = analysed("olmoe")
    small = page_with([result], 2000)
    assert "timelines are thinned" in small
    assert "have a timeline" in small
    assert "Nothing: the file contains every step" not in small
    assert "Nothing: the file contains every step" in page_with([analysed("gpt2-backtrace")])


def test_all_reports_in_one_page_stay_under_the_limit(analysed) -> None:
    names = ("llama-1b", "llama-1b-aten", "olmoe", "multi", "inject", "public-2gpu-training")
    page = page_with([analysed(name) for name in names])
    assert len(page.encode()) < LIMIT


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 5000), st.integers(0, 9)), min_size=1, max_size=300),
    st.integers(20, 200),
)
def test_thinning_loses_no_time_and_moves_little(pieces: list[tuple[int, int, int]], most: int) -> None:
    gap, duration, kind = (np.array(column, np.int64) for column in zip(*pieces, strict=True))
    end = np.cumsum(gap + duration)
    start = end - duration
    thinned = thin(start, end, kind, most)
    for one in range(10):
        assert thinned.duration[thinned.kind == one].sum() == duration[kind == one].sum()
    assert thinned.count.sum() == len(start)
    assert np.all(thinned.start[1:] >= (thinned.start + thinned.duration)[:-1])
    assert thinned.start[0] >= start[0]
    assert (thinned.start + thinned.duration)[-1] <= end[-1]
    alone = thinned.index >= 0
    assert np.array_equal(thinned.duration[alone], duration[thinned.index[alone]])
    moved = np.abs(thinned.start[alone] - start[thinned.index[alone]])
    assert np.all(moved <= 2 * thinned.width)


def test_millions_of_intervals_are_thinned_to_the_budget() -> None:
    rng = np.random.default_rng(1)
    duration = rng.integers(200, 20_000, 4_000_000)
    end = np.cumsum(duration)
    thinned = thin(end - duration, end, rng.integers(0, 10, len(end)), 30_000)
    assert 1000 < len(thinned) <= 30_000
    assert thinned.duration.sum() == duration.sum()


# ---- secrets and hostile names -----------------------------------------------------------------------------

EVIL = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture
def hostile(report, tmp_path: Path) -> Path:
    """A report whose kernels, ranges and machine are called like markup, with a secret in its environment."""
    path = tmp_path / "hostile.sqlite"
    path.write_bytes(report("llama-1b").read_bytes())
    with sqlite3.connect(path) as database:
        ids = [
            row[0]
            for table, key in (("CUPTI_ACTIVITY_KIND_KERNEL", "demangledName"), ("NVTX_EVENTS", "textId"))
            for row in database.execute(f"SELECT DISTINCT {key} FROM {table} WHERE {key} IS NOT NULL")
        ]
        database.executemany(
            "UPDATE StringIds SET value = ? || substr(value, 1, 20) WHERE id = ?", [(EVIL, i) for i in ids]
        )
        database.execute("UPDATE NVTX_EVENTS SET text = ? || text WHERE text IS NOT NULL", (EVIL,))
        database.execute("UPDATE TARGET_INFO_GPU SET name = ?", (EVIL,))
        for table in ("TARGET_INFO_SYSTEM_ENV", "META_DATA_CAPTURE", "PROCESSES"):
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            if columns:
                marks = ", ".join(["'SECRET=hunter2'"] * len(columns))
                database.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})")
    return path


def test_names_are_data_and_secrets_stay_out(hostile: Path, browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(page_with([analyze(hostile)]), encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    assert "hunter2" not in text
    assert EVIL not in text
    browser.open(page)
    assert browser.run("return document.title") != "owned"
    assert browser.run("return document.querySelectorAll('img').length") == 0
    assert browser.run("return document.scripts.length") == 4  # data, plotly packed and unpacked, the page's own
    names = browser.run("return [...document.querySelectorAll('td.name')].map((cell) => cell.textContent)")
    assert any(EVIL in name for name in names)
    # and on hovering, where plotly would read some markup
    browser.run("panels[0].zoom('in'); for (let i = 0; i < 6; i++) panels[0].zoom('in')")
    text = hover_somewhere(browser, "launch")
    assert "<script>" in text
    assert "onerror" in text
    assert browser.logs()[0] == []


def test_the_policy_forbids_requests_and_foreign_scripts(analysed, page_of, browser: Browser) -> None:
    browser.open(page_of(analysed("null-kernel")))
    browser.run("const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s)")
    assert browser.run("return window.ran") is None
    outcome = browser.driver.execute_async_script(
        "const done = arguments[0]; fetch('http://127.0.0.1:9/').then(() => done('sent'), () => done('refused'))"
    )
    assert outcome == "refused"
    # plotly can offer to send a chart to a service of its makers
    buttons = browser.run("return [...document.querySelectorAll('.modebar-btn')].map((b) => b.dataset.title)")
    assert buttons
    assert not [title for title in buttons if re.search("cloud|share|edit|upload", title, re.IGNORECASE)]
    assert any("Content Security Policy" in message for message in browser.logs()[0])


# ---- in the browser ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama-1b", "olmoe", "multi", "graph-graph", "public-2gpu-training", "null-kernel"])
def test_page_loads_without_an_error_or_a_request(name: str, analysed, page_of, browser: Browser) -> None:
    path = page_of(analysed(name))
    for width, scheme in ((1280, "light"), (400, "dark")):
        browser.open(path, width=width, scheme=scheme)
        console, asked = browser.logs()
        assert console == []
        assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
        assert browser.run("return document.documentElement.scrollWidth") <= width
        assert browser.run("return document.querySelectorAll('#layers-chart .bars .point').length") > 0
        assert browser.run("return document.querySelectorAll('.timeline-chart .bars .point').length") > 0


def test_figures_on_the_page_equal_the_json(analysed, page_of, browser: Browser) -> None:
    result = analysed("llama-3b-batch16")
    document = result.to_dict()
    browser.open(page_of(result))
    shown = browser.run(
        "return [...document.querySelectorAll('[data-hdbi]')].map((e) => [e.dataset.phase, Number(e.dataset.hdbi)])"
    )
    assert shown == [[phase["phase"], phase["taxbreak"]["hdbi"]] for phase in document["phases"]]
    rows = browser.run(
        "return [...document.querySelectorAll('#layers tbody tr')].map((r) => [r.dataset.phase, r.dataset.layer, "
        "Number(r.dataset.ns)])"
    )
    for phase in document["phases"]:
        layers = {layer: ns for label, layer, ns in rows if label == phase["phase"]}
        assert layers["framework"] == phase["taxbreak"]["delta_ft_ns"]
        assert layers["library"] == phase["taxbreak"]["delta_ct_ns"]
        assert layers["launch_path"] == phase["states_ns"]["launch"]
        assert sum(layers.values()) == phase["wall_ns"]
    # what the bars show, added up, in the unit of time
    browser.find("input[name=unit][value=step]").click()
    bars = browser.run("return document.getElementById('layers-chart').data.map((t) => [t.name, t.y, t.x, t.base])")
    for y, phase in enumerate(document["phases"]):
        drawn: dict[str, float] = {}
        for name, ys, xs, _ in bars:
            drawn[name] = drawn.get(name, 0) + sum(x for at, x in zip(ys, xs, strict=True) if at == y)
        device = sum(
            x for name, ys, xs, _ in bars if name == "device busy" for at, x in zip(ys, xs, strict=True) if int(at) == y
        )
        per_step = 1e6 * phase["instances"]
        layers_ms = sum(ms for name, ms in drawn.items() if not name.startswith("device busy"))
        assert layers_ms == pytest.approx(phase["wall_ns"] / per_step)
        exposed = sum(ms for name, ms in drawn.items() if name.endswith(" exposed"))
        assert exposed == pytest.approx(phase["device"]["idle_ns"] / per_step)
        assert device == pytest.approx((phase["wall_ns"] - phase["device"]["idle_ns"]) / per_step)
    kernels = browser.run(
        "return [...document.querySelectorAll('#taxbreak_kern_sum tbody tr')].map((r) => [r.cells[0].textContent, "
        "Number(r.cells[2].dataset.v), r.cells[r.cells.length - 1].textContent])"
    )
    assert kernels == [[row["phase"], row["device_ns"], row["name"]] for row in document["kernels"]]


def test_sorting_and_searching(analysed, page_of, browser: Browser) -> None:
    result = analysed("llama-1b")
    browser.open(page_of(result))
    table = "#taxbreak_kern_sum"

    def values(index: int) -> list[float]:
        return browser.run(
            f"return [...document.querySelectorAll('{table} tbody tr:not([hidden])')].map((r) => "
            "Number(r.cells[arguments[0]].dataset.v))", index
        )  # fmt: skip

    heads = browser.run(f"return [...document.querySelectorAll('{table} th')].map((h) => h.textContent)")
    index = heads.index("Instances")
    button = browser.find(f"{table} th:nth-child({index + 1}) button")
    button.click()
    assert values(index) == sorted(values(index), reverse=True)
    button.send_keys("\n")
    assert values(index) == sorted(values(index))
    head = browser.find(f"{table} th:nth-child({index + 1})")
    assert head.get_attribute("aria-sort") == "ascending"
    browser.find(f"{table} input[type=search]").send_keys("decode NVJET")
    expected = [r for r in result.kernel_rows if r["phase"] == "decode" and "nvjet" in r["name"].lower()]
    assert expected
    assert len(values(index)) == len(expected)
    assert f"{len(expected)} of {len(result.kernel_rows)}" in browser.find(f"{table} .count").text


def hover_somewhere(browser: Browser, word: str) -> str:
    """Move over the host band of the first timeline until the hover text has a word; return the text."""
    chart = browser.find(".timeline-chart")
    size = chart.size
    for x in range(-size["width"] // 2 + 12, size["width"] // 2 - 12, 9):
        browser.actions().move_to_element_with_offset(chart, x, -size["height"] // 2 + 60).perform()
        texts = browser.run("return [...document.querySelectorAll('.hoverlayer .hovertext')].map((e) => e.textContent)")
        if texts and texts[0].startswith(word):
            return texts[0]
    raise AssertionError(f"no hover text with {word}")


def test_hover_names_state_duration_and_kernel(analysed, page_of, browser: Browser) -> None:
    browser.open(page_of(analysed("llama-1b")))
    for _ in range(7):
        browser.find("[data-zoom=in]").click()
    browser.wait("document.querySelector('.timeline-chart').dataset.single === 'true'")
    text = hover_somewhere(browser, "launch")
    assert re.search(r"\d us", text)
    assert "Launch" in text
    assert "kernel: " in text


def test_zoom_by_button_key_and_mouse(analysed, page_of, browser: Browser) -> None:
    browser.open(page_of(analysed("llama-1b")))
    chart = browser.find(".timeline-chart")
    span = "panels[0].range[1] - panels[0].range[0]"
    whole = browser.run(f"return {span}")
    assert browser.run("return document.querySelector('.timeline-chart').dataset.single") == "false"
    browser.find("[data-zoom=in]").click()
    assert browser.run(f"return {span}") == pytest.approx(whole / 2)
    browser.run("arguments[0].focus()", chart)
    chart.send_keys("+")
    assert browser.run(f"return {span}") == pytest.approx(whole / 4)
    chart.send_keys("\ue011")  # Home
    assert browser.run(f"return {span}") == pytest.approx(whole)
    browser.find(".timeline-chart")
    at = -chart.size["height"] // 2 + 60
    browser.actions().move_to_element_with_offset(chart, -100, at).click_and_hold().move_by_offset(
        50, 0
    ).move_by_offset(50, 0).release().perform()
    browser.wait(f"{span} < {whole / 3}")
    assert browser.run("return document.querySelector('.timeline-chart').layout.xaxis.range[0]") > 0


def test_choosing_a_step_by_list_click_and_button(analysed, page_of, browser: Browser) -> None:
    result = analysed("llama-1b-sampled")
    browser.open(page_of(result))
    wall = result.step_sums.wall
    decode = np.flatnonzero(result.instances.label == result.instances.labels.index("decode"))

    def shown() -> tuple[int, dict[str, int]]:
        states = browser.run(
            "return [...document.querySelectorAll('.states tbody tr')]"
            ".map((r) => [r.dataset.state, Number(r.dataset.ns)])"
        )
        return browser.run("return panels[0].at"), dict(states)

    at, states = shown()
    assert sum(states.values()) == wall[decode[at]]
    browser.run("const s = document.querySelector('.step'); s.value = '1'; s.dispatchEvent(new Event('change'))")
    at, states = shown()
    assert at == 1
    expected = dict(zip(STATES, result.step_sums.states[decode[1]].tolist(), strict=True))
    assert states == {state: ns for state, ns in expected.items() if ns}
    browser.find(".panel .next").click()
    assert shown()[0] == 2
    browser.find(".steps-chart")
    point = browser.driver.find_elements("css selector", ".steps-chart .scatterlayer .point")[5]
    browser.actions().move_to_element(point).pause(0.2).click().perform()
    browser.wait("panels[0].at === 5")


def test_unmeasured_graphs_are_a_gap_with_the_reason(analysed, page_of, browser: Browser) -> None:
    browser.open(page_of(analysed("graph-graph")))
    texts = browser.run(
        "return [...document.querySelectorAll('#layers-chart .annotation-text')].map((e) => e.textContent)"
    )
    assert any("not measured" in text and "--cuda-graph-trace=node" in text for text in texts)
    browser.run("const g = DATA.groups.find((g) => g.phase === 'decode_graph'); panels[0].choose(g.id, null)")
    texts = browser.run(
        "return [...document.querySelectorAll('.timeline-chart .annotation-text')].map((e) => e.textContent)"
    )
    assert any("not measured" in text for text in texts)
    assert "HDBI not measured" in browser.find(".step-note").text
    card = browser.find(".cards").text
    assert "HDBI not measured" in card


def test_two_reports_stand_side_by_side(analysed, page_of, browser: Browser) -> None:
    browser.open(page_of(analysed("llama-1b"), analysed("olmoe")))
    assert browser.run("return panels.length") == 2
    left, right = browser.driver.find_elements("css selector", "#overview article")
    assert left.rect["y"] == right.rect["y"]
    assert left.rect["x"] < right.rect["x"]
    names = browser.run("return layerRows().map((s) => s.title)")
    assert names == ["prefill", "prefill", "decode", "decode"]
    browser.find("#second").click()
    assert browser.run("return panels.length") == 1


def test_theme_can_be_switched(analysed, page_of, browser: Browser) -> None:
    browser.open(page_of(analysed("null-kernel")), scheme="dark")
    background = "return getComputedStyle(document.documentElement).backgroundColor"
    dark = browser.run(background)
    browser.find("#theme").click()
    assert browser.run(background) != dark


# ---- the command -------------------------------------------------------------------------------------------


def test_command_writes_the_file_whole_or_not_at_all(report, tmp_path: Path) -> None:
    target = tmp_path / "r.html"
    run = CliRunner().invoke(app, ["html", str(report("null-kernel")), "-o", str(target)])
    assert run.exit_code == 0
    assert target.read_text(encoding="utf-8").startswith("<!doctype html>")
    again = CliRunner().invoke(app, ["html", str(report("null-kernel")), "-o", str(target)])
    assert "--force-overwrite" in str(again.exception)
    missing = CliRunner().invoke(app, ["html", str(tmp_path / "none.sqlite"), "-o", str(tmp_path / "x.html")])
    assert missing.exit_code != 0
    assert list(tmp_path.iterdir()) == [target]


def test_corrected_figures_stand_beside_the_captured(report, tmp_path: Path) -> None:
    path, times, page = report("llama-1b"), tmp_path / "times.json", tmp_path / "page.html"
    times.write_text('{"decode": {"median_ms": 16.072}}')
    done = CliRunner().invoke(app, ["html", str(path), "--reference", str(times), "-o", str(page)])
    assert done.exit_code == 0, done.output
    result = analyze(path, reference=times)
    decode, prefill = result.phase("decode"), result.phase("prefill")
    assert prefill.corrected is None
    text = page.read_text()
    assert f"{decode.taxbreak.hdbi:.3f}" in text
    assert f"{decode.corrected.hdbi:.3f}" in text
    assert "corrected" in text
