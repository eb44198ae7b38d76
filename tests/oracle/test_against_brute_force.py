"""The program against a slow twin that was written from the method alone: the same integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from taxbreak_nsys import analyze
from tests.oracle import brute_force

NOT_COMPARED = {"in_os_ns"}


def differences(twin: dict[str, Any], ours: dict[str, Any], where: str = "") -> list[str]:
    found: list[str] = []
    for key, value in twin.items():
        if key in NOT_COMPARED:
            continue
        place = f"{where}.{key}"
        if isinstance(value, dict):
            if ours[key] is None:
                assert all(inner is None for inner in value.values()), place
            else:
                found += differences(value, ours[key], place)
        elif ours[key] != value:
            found.append(f"{place}: twin {value}, ours {ours[key]}")
    return found


def by_key(phases: list[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {(p["phase"], p["process"], p["thread"]): p for p in phases}


def compare(path: Path, rules: dict[str, str] | None = None, source: str = "best", **options: Any) -> None:
    twin = brute_force.analyze(str(path), phase_rules=list(rules.items()) if rules else None, **options)
    renamed = {"t_sys_ns" if key == "t_sys" else key: value for key, value in options.items()}
    ours = analyze(path, phases=rules, phase_source=source, **renamed).to_dict()
    assert ours["t_sys_ns"] == twin["t_sys_ns"]
    assert ours["t_sys_source"] == twin["t_sys_source"]
    expected, found = by_key(twin["phases"]), by_key(ours["phases"])
    assert set(found) == set(expected)
    assert [line for key in expected for line in differences(expected[key], found[key], str(key))] == []


ENGINES = ("vllm-", "jax")

FOUND_IN_LAUNCHES = {"gpt2-nophase"}
"""Reports without a mark whose steps are found in the launches: the twin knows ranges alone, so `all` is compared."""


def test_same_integers(any_report: Path) -> None:
    if any_report.stem.startswith(ENGINES):
        pytest.skip("engines' cycles, helpers and ranks have a twin of their own: test_against_brute_cycles.py")
    # the twin knows nothing of samples: test_samples.py has a twin for those
    source = "marks" if any_report.stem in FOUND_IN_LAUNCHES else "best"
    sampled = any(e.taxbreak.evidence == "samples" for e in analyze(any_report, phase_source=source).entries)
    compare(any_report, source=source, evidence="none" if sampled else None)


@pytest.mark.parametrize("name", ["inject", "llama-1b-aten", "llama-1b", "multi"])
@pytest.mark.parametrize("evidence", ["subtractive", "none"])
def test_same_integers_with_forced_evidence(report, name: str, evidence: str) -> None:
    compare(report(name), evidence=evidence)


def test_same_integers_with_given_t_sys(report) -> None:
    compare(report("llama-1b"), t_sys=4500)


def test_same_integers_with_rules_that_nest(report) -> None:
    # cublasGemmEx ranges lie inside prefill and decode: an instance's time is what no inner instance takes
    compare(report("llama-1b"), {"gemm": "^cublasGemmEx$", "step": "^(prefill|decode)$"})


@pytest.mark.slow  # the twin takes a minute
def test_same_integers_with_rules_that_nest_in_themselves(report) -> None:
    compare(report("inject"), {"any": "."})
