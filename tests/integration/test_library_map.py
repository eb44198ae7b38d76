"""Which kernels a library launches: by call chain, and learned from one report for another."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from taxbreak_nsys import TaxbreakError, analyze

PROGRAM = Path(sys.executable).with_name("taxbreak-nsys")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(PROGRAM), *map(str, arguments)], capture_output=True, text=True, check=False)


def chains_of(path: Path) -> dict[str, tuple[bool, str | None]]:
    """Kernel to (a library in the stack, innermost operator), by SQL: nsys counts chains from 1, calls from 0."""
    with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as database:
        rows = database.execute(
            "SELECT k.correlationId, n.value, m.value, s.value FROM CUPTI_ACTIVITY_KIND_RUNTIME r "
            "JOIN CUPTI_ACTIVITY_KIND_KERNEL k USING (correlationId) JOIN StringIds n ON n.id = k.demangledName "
            "JOIN CUDA_CALLCHAINS c ON c.id = r.callchainId + 1 JOIN StringIds m ON m.id = c.module "
            "JOIN StringIds s ON s.id = c.symbol WHERE r.callchainId IS NOT NULL ORDER BY 1, c.stackDepth"
        ).fetchall()
    found: dict[int, tuple[str, bool, str | None]] = {}
    for launch, kernel, module, symbol in rows:
        _, library, operator = found.get(launch, (kernel, False, None))
        library |= module.rsplit("/", 1)[-1].startswith(("libcublas", "libcudnn"))
        if operator is None and symbol.startswith("at::_ops::"):
            operator = "aten::" + symbol.split("::")[2]
        found[launch] = (kernel, library, operator)
    return {kernel: (library, operator) for kernel, library, operator in found.values()}


def test_chains_decide_and_name_the_operator(report) -> None:
    path = report("gpt2-backtrace")
    truth = chains_of(path)
    rows = [row for row in analyze(path).kernel_rows if row["name"] in truth]
    assert rows
    assert {(row["name"], row["library_mediated"]) for row in rows} == {
        (row["name"], truth[row["name"]][0]) for row in rows
    }
    # cuBLAS's own kernel, launched through the runtime: nothing but the chain and its name tells
    gemv = next(row for row in rows if row["name"].startswith("void gemv2T"))
    assert (gemv["library_mediated"], gemv["why"], gemv["operator"]) == (True, "call_chain", "aten::mm")
    norms = [row for row in rows if "vectorized_layer_norm" in row["name"]]
    assert {row["operator"] for row in norms} == {"aten::native_layer_norm"}


def test_chains_that_are_numbered_alike_are_not_moved(report, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    shutil.copy(report("gpt2-backtrace"), copy)
    os.chmod(copy, 0o644)
    with sqlite3.connect(copy) as database:
        database.execute("UPDATE CUPTI_ACTIVITY_KIND_RUNTIME SET callchainId = callchainId + 1")
    database.close()
    rows, moved = (
        [(row["name"], row["operator"]) for row in analyze(path).kernel_rows]
        for path in (report("gpt2-backtrace"), copy)
    )
    assert rows == moved


def test_map_from_one_report_decides_in_another(report, tmp_path: Path) -> None:
    target = tmp_path / "map.json"
    done = run("library-map", report("llama-1b"), "-o", target)
    assert done.returncode == 0, done.stderr
    learned = json.loads(target.read_text())
    assert learned["schema"] == "taxbreak-library-map/1"
    names = {name for name, entry in learned["kernels"].items() if entry["library_mediated"]}
    assert any(name.startswith("nvjet") for name in names)
    rows = analyze(report("llama-1b-aten"), library_map=target).kernel_rows
    known = [row for row in rows if row["name"] in names]
    assert known
    assert {row["why"] for row in known} == {"library_map"}
    # a map that says no is believed as well: nothing of the name's guess is left
    for entry in learned["kernels"].values():
        entry["library_mediated"] = False
    target.write_text(json.dumps(learned))
    rows = analyze(report("llama-1b-aten"), library_map=target).kernel_rows
    assert not any(row["library_mediated"] for row in rows if row["name"] in names)


def test_map_of_a_report_that_teaches_nothing_is_refused(report, tmp_path: Path) -> None:
    done = run("library-map", report("llama-1b-bare"), "-o", tmp_path / "map.json")
    assert done.returncode == 2
    assert "--cudabacktrace" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"schema": "other"}', '{"schema": "taxbreak-library-map/1", "kernels": {"k": 1}}']
)
def test_a_file_that_is_no_map_is_refused(report, tmp_path: Path, text: str) -> None:
    target = tmp_path / "map.json"
    target.write_text(text)
    with pytest.raises(TaxbreakError, match=r"map.json: .*(library map|library_mediated|not JSON)"):
        analyze(report("llama-1b-aten"), library_map=target)
