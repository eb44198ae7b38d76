"""Phases as serving engines mark them: each engine's texts, and the numbers read from them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from taxbreak_nsys import Result, TaxbreakError, analyze
from taxbreak_nsys.model.name_rules import STATES
from taxbreak_nsys.output.result_tables import result_table
from taxbreak_nsys.phases.engine_marks import load_engines, read_mark
from taxbreak_nsys.pipeline.analysis import measure_report
from tests.support.tiny_report import PROCESS, TinyReport

WORKER = PROCESS | 77


def read(engine: str, text: str) -> tuple[str, dict[str, int]] | None:
    """Read a text by the engine's first mark that finds it."""
    marks = next(one for one in load_engines() if one.name == engine).marks
    for mark in marks:
        match = mark.text.search(text)
        if match:
            return read_mark(mark, match)
    return None


@pytest.mark.parametrize(
    ("engine", "text", "phase", "said"),
    [
        ("vllm", "execute_context_2(1024)_generation_0(0)", "prefill",
         {"requests": 2, "tokens": 1024, "context_requests": 2, "generation_requests": 0}),
        ("vllm", "execute_context_0(0)_generation_64(64)", "decode",
         {"requests": 64, "tokens": 64, "generation_tokens": 64, "context_tokens": 0}),
        ("vllm", "execute_context_1(512)_generation_31(31)", "mixed",
         {"requests": 32, "tokens": 543, "context_tokens": 512, "generation_tokens": 31}),
        ("vllm", "execute_context_0(0)_generation_0(0)", "idle", {"requests": 0, "tokens": 0}),
        ("vllm", "gpu_model_runner: preprocess", "step", {}),
        ("tensorrt-llm", "[Executor] _forward_step 60000: 0 ctx reqs, 0 ctx tokens, 32 gen reqs", "decode",
         {"requests": 32, "context_tokens": 0, "generation_requests": 32}),
        ("tensorrt-llm", "[Executor] _forward_step 7: 3 ctx reqs, 900 ctx tokens, 0 gen reqs", "prefill",
         {"requests": 3, "tokens": 900, "context_tokens": 900}),
        ("tensorrt-llm", "[Executor] _forward_step 8: 1 ctx reqs, 4 gen reqs", "mixed", {"requests": 5}),
        ("tensorrt-llm", "[Executor] _forward_step: 0 ctx reqs, 4 gen reqs", "decode", {"requests": 4}),
        ("sglang", "step[EXTEND bs=2 toks=14721]", "prefill",
         {"requests": 2, "tokens": 14721, "context_requests": 2, "context_tokens": 14721, "generation_requests": 0}),
        ("sglang", "step[DECODE bs=64]", "decode", {"requests": 64, "tokens": 64, "generation_tokens": 64}),
        ("sglang", "step[MIXED bs=5]", "mixed", {"requests": 5}),
        ("sglang", "forward_extend", "prefill", {}),
        ("sglang", "forward_decode", "decode", {}),
        ("xla", "TSL:XlaModule:#hlo_module=jit_decode_step,program_id=7#", "decode_step", {}),
        ("xla", "XlaModule:#prefix=jit(f)/jit(main),hlo_module=jit_prefill,program_id=3#", "prefill", {}),
        ("training", "[pl][profile][Strategy]SingleDeviceStrategy.training_step", "training_step", {}),
        ("training", "training_step_12", "training_step", {}),
    ],
)  # fmt: skip
def test_what_a_text_says(engine: str, text: str, phase: str, said: dict[str, int]) -> None:
    found = read(engine, text)
    assert found is not None
    assert found[0] == phase
    assert {key: found[1].get(key) for key in said} == said


def test_a_count_that_the_text_does_not_say_stays_unknown() -> None:
    found = read("tensorrt-llm", "[Executor] _forward_step 8: 1 ctx reqs, 4 gen reqs")
    assert found is not None
    assert not {"tokens", "context_tokens", "generation_tokens"} & set(found[1])
    # a request of a mixed step may be of either kind
    assert read("sglang", "step[MIXED bs=5]") == ("mixed", {"requests": 5})


def test_no_rule_finds_an_ordinary_text() -> None:
    for text in ("prefill", "decode_3", "step 4", "iteration", "aten::mm", "forward", "run", "generate", "epoch_1"):
        assert all(read(engine.name, text) is None for engine in load_engines())


def test_every_rule_has_its_source() -> None:
    rules = tomllib.loads(Path("taxbreak_nsys/data/engines.toml").read_text(encoding="utf-8"))
    assert all(len(mark["source"]) > 20 for engine in rules["engine"] for mark in engine["mark"])


STEPS = (
    "execute_context_1(512)_generation_0(0)",
    "execute_context_0(0)_generation_4(4)",
    "execute_context_0(0)_generation_4(4)",
    "execute_context_0(0)_generation_2(2)",
    "execute_context_1(100)_generation_2(2)",
)


def vllm_report(marker: int = WORKER, launcher: int = WORKER) -> TinyReport:
    """Five steps of three kernels and a sampling kernel behind the mark, in a loop that an outer range spans."""
    report = TinyReport()
    report.mark("engine_loop", 0, 10**9, marker)
    for text in STEPS:
        begun = report.now
        for name in ("embed", "attention", "gemm"):
            report.kernel(name, thread=launcher)
        report.mark(text, begun - 100, report.now, marker)
        report.mark("gpu_model_runner: forward", begun, report.now - 100, marker)
        begun = report.now + 200
        report.now = begun + 100
        report.kernel("sample", thread=launcher)
        report.mark("gpu_model_runner: sample", begun, report.now, marker)
        report.kernel("between_the_marks", thread=launcher)
        report.now += 5_000
    return report


def in_each_phase(result: Result) -> dict[str, tuple[int, int]]:
    return {entry.phase: (entry.instances, entry.kernels) for entry in result.entries}


def test_an_engine_is_recognised_and_named(tmp_path: Path) -> None:
    result = analyze(vllm_report().write(tmp_path / "vllm.sqlite"))
    assert in_each_phase(result) == {"prefill": (1, 5), "decode": (3, 15), "mixed": (1, 5)}
    assert not result.outside.kernels  # sampling lies between the marks, in the cycle
    for entry in result.entries:
        assert (entry.phase_source.kind, entry.phase_source.name) == ("engine", "vllm")
        assert sum(entry.states_ns.values()) == entry.wall_ns


def test_counts_and_figures_for_each_token_and_request(tmp_path: Path) -> None:
    result = analyze(vllm_report().write(tmp_path / "vllm.sqlite"))
    decode, mixed = result.phase("decode"), result.phase("mixed")
    assert decode.steps is not None
    assert (decode.steps.requests, decode.steps.tokens, decode.steps.context_tokens) == (10, 10, 0)
    assert decode.steps.per_token_ns is not None
    assert decode.steps.per_token_ns["wall"] == decode.wall_ns // 10
    assert decode.steps.per_token_ns["delta_ct"] is None
    assert mixed.steps is not None
    assert (mixed.steps.requests, mixed.steps.tokens) == (3, 102)
    frame = result.phases
    assert frame["requests"].tolist() == [1, 10, 3]


def test_instances_range_is_the_old_reading(tmp_path: Path) -> None:
    # the mark with the scopes that follow it; what lies between the marks is outside
    result = analyze(vllm_report().write(tmp_path / "vllm.sqlite"), instances="range")
    assert in_each_phase(result) == {"prefill": (1, 4), "decode": (3, 12), "mixed": (1, 4)}
    assert result.outside.kernels == len(STEPS)


def test_by_batch(tmp_path: Path) -> None:
    path = vllm_report().write(tmp_path / "vllm.sqlite")
    assert in_each_phase(analyze(path, by_batch=True)) == {
        "prefill[batch=1]": (1, 5),
        "decode[batch=4]": (2, 10),
        "decode[batch=2]": (1, 5),
        "mixed[batch=3]": (1, 5),
    }


def test_by_batch_without_counts_is_an_error(tmp_path: Path) -> None:
    report = TinyReport()
    report.kernel("k")
    report.mark("decode", 0, report.now)
    with pytest.raises(TaxbreakError, match="--by batch"):
        analyze(report.write(tmp_path / "a.sqlite"), by_batch=True)


@pytest.mark.parametrize("marker", [PROCESS | 99, (88 << 24) | 88])
def test_marks_of_another_thread_or_process(tmp_path: Path, marker: int) -> None:
    # a worker that marks nothing has the steps of the thread, or of the engine process, that does
    result = analyze(vllm_report(marker=marker).write(tmp_path / "vllm.sqlite"))
    assert in_each_phase(result) == {"prefill": (1, 5), "decode": (3, 15), "mixed": (1, 5)}
    assert all(entry.thread == 77 for entry in result.entries)


def test_rules_of_the_user_override_engines(tmp_path: Path) -> None:
    path = vllm_report().write(tmp_path / "vllm.sqlite")
    result = analyze(path, phases={"forward": "^gpu_model_runner: forward$"})
    assert in_each_phase(result) == {"forward": (5, 15)}
    assert result.entries[0].phase_source.kind == "rule"


def test_a_forced_engine_must_be_there(tmp_path: Path) -> None:
    path = vllm_report().write(tmp_path / "vllm.sqlite")
    assert analyze(path, engine="vllm").phase("decode").instances == 3
    with pytest.raises(TaxbreakError, match="no NVTX range of the report is a mark of SGLang"):
        analyze(path, engine="sglang")
    with pytest.raises(TaxbreakError, match=r"not one of vllm, tensorrt-llm"):
        analyze(path, engine="nonesuch")


OWN_RULES = """
[[engine]]
name = "mine"
title = "My engine"
[[engine.mark]]
text = '^tick (?P<mode>P|D) n=(?P<requests>[0-9]+)$'
phases = { P = "prefill", D = "decode" }
tokens_a_generation_request = 1
"""


def test_rules_from_a_file(tmp_path: Path) -> None:
    report = TinyReport()
    for text in ("tick P n=1", "tick D n=8", "tick D n=8"):
        begun = report.now
        report.kernel("k")
        report.mark(text, begun, report.now)
    rules = tmp_path / "rules.toml"
    rules.write_text(OWN_RULES)
    result = analyze(report.write(tmp_path / "a.sqlite"), phase_rules=rules)
    assert in_each_phase(result) == {"prefill": (1, 1), "decode": (2, 2)}
    assert result.phase("decode").steps.tokens == 16
    assert result.phase("prefill").steps.tokens is None
    assert result.phase("prefill").phase_source.name == "mine"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not toml [", "not TOML"),
        ("a = " + "[" * 20_000, r"not TOML \(nested too deeply\)"),
        ("a = 1", r"no \[\[engine\]\]"),
        ("[[engine]]\ntitle = 'x'", "without a name"),
        ("[[engine]]\nname = 'x'", r"has no \[\[engine.mark\]\]"),
        ("[[engine]]\nname = 'x'\n[[engine.mark]]\ntext = '('", "not a regular expression"),
        ("[[engine]]\nname = 'x'\n[[engine.mark]]\ntext = 'a'\ntial = 'b'", "unknown key 'tial'"),
        ("[[engine]]\nname = 'x'\n[[engine.mark]]\ntext = '(?P<reqs>1)'", "unknown group 'reqs'"),
    ],
)
def test_a_bad_rule_file_is_named_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(text)
    with pytest.raises(TaxbreakError, match=says) as error:
        load_engines(rules)
    assert str(rules) in str(error.value)
    assert "\n" not in str(error.value).strip()


def test_overlapping_device_work_is_the_step_that_launched_it(tmp_path: Path) -> None:
    # the kernels of a step run while the host is in the next: they are counted where they were launched
    report = TinyReport()
    for text in STEPS[1:3]:
        begun = report.now
        for _ in range(3):
            report.kernel("k")
        report.mark(text, begun, report.now)
    late = [(row[0] + 50_000, row[1] + 50_000, *row[2:]) for row in report.kernels]
    report.kernels[:] = late
    result, columns = measure_report(report.write(tmp_path / "late.sqlite"))
    assert np.bincount(columns.op_instance).tolist() == [3, 3]
    assert result.step_sums.kernels.tolist() == [3, 3]


def test_steps_one_by_one(tmp_path: Path) -> None:
    result = analyze(vllm_report().write(tmp_path / "vllm.sqlite"))
    rows = result_table(result, "taxbreak_step_trace").to_pylist()
    assert [row["Phase"] for row in rows] == ["prefill", "decode", "decode", "decode", "mixed"]
    assert [row["Requests"] for row in rows] == [1, 4, 4, 2, 3]
    assert [row["Generation Tokens"] for row in rows] == [0, 4, 4, 2, 2]
    assert [row["Kernels"] for row in rows] == [5] * 5
    for row in rows:
        assert sum(row[f"{state} (ns)"] for state in STATES) == row["Wall (ns)"]


def test_marks_without_numbers_are_named_by_their_kernels(tmp_path: Path) -> None:
    report = TinyReport()
    for tokens in (40, 1, 1, 1, 64, 1):
        begun = report.now
        for _ in range(3):
            report.kernel("rms_norm_kernel", tokens)
            report.kernel("flash_fwd_kernel" if tokens > 1 else "flash_fwd_splitkv_kernel", 8)
            report.kernel("silu_kernel", 4 * tokens)
        report.mark("gpu_model_runner: preprocess", begun - 300, begun - 100)
        report.mark("gpu_model_runner: forward", begun, report.now)
        begun = report.now + 100
        report.now += 200
        report.kernel("argmax")
        report.mark("gpu_model_runner: sample", begun, report.now)
        report.now += 3_000
    result = analyze(report.write(tmp_path / "scopes.sqlite"))
    assert in_each_phase(result) == {"prefill": (2, 20), "decode": (4, 40)}
    source = result.entries[0].phase_source
    assert (source.kind, source.name) == ("engine", "vllm")
    assert "kernels" in (source.evidence or "")


def test_two_engines_side_by_side(tmp_path: Path) -> None:
    report = vllm_report()
    other = (88 << 24) | 88
    for _ in range(3):
        begun = report.now
        report.kernel("attention", thread=other)
        report.mark("step[DECODE bs=4]", begun - 50, report.now, other)
        report.now += 500
    result = analyze(report.write(tmp_path / "two.sqlite"))
    sources = {(e.phase_source.name, e.process) for e in result.entries if e.process is not None}
    assert {name for name, _ in sources} == {"vllm", "sglang"}
    assert len({process for _, process in sources}) == 2
