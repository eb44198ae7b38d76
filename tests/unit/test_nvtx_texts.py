"""What the texts of NVTX ranges say, however the export holds them: own or registered, of a domain or of none."""

from __future__ import annotations

from pathlib import Path

import pytest

from taxbreak_nsys.errors import TaxbreakError
from taxbreak_nsys.model.trace_columns import Ranges
from taxbreak_nsys.read.database import open_report
from taxbreak_nsys.read.report_reader import read_trace
from tests.support.tiny_report import PROCESS, TinyReport

THREAD, OTHER = PROCESS | 77, PROCESS | 78
MARK = "\x01"


def ranges_of(rows: list[tuple[object, int | None, int | None]], path: Path) -> Ranges:
    """Read ranges of (text, domain, registered text), one after another, in the domains 1 cuBLAS and 2 app."""
    report = TinyReport()
    report.kernel("a_kernel")
    for number, name in ((1, "cuBLAS"), (2, "app")):
        report.ranges.append((0, None, 75, name, THREAD, number, None))
    for place, (text, domain, code) in enumerate(rows):
        report.ranges.append((10 * place, 10 * place + 5, 59, text, THREAD, domain, code))  # type: ignore[arg-type]
    with open_report(report.write(path / "texts.sqlite")) as database:
        return read_trace(database, [THREAD]).ranges


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"), ("", ""), (None, ""), (MARK, MARK), (MARK + "0  x", MARK + "0  x"), ("\n2 17", "\n2 17"),
        (" begins with a space", " begins with a space"), (b"bytes", "bytes"), ("Größe", "Größe"), (17, "17"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("domain", [None, 0, 2])
def test_own_texts(text: object, shown: str, domain: int | None, tmp_path: Path) -> None:
    found = ranges_of([(text, domain, None)], tmp_path)
    assert [found.names[code] for code in found.name] == [shown]
    assert not found.is_library.any()
    assert not found.is_operator.any()


def test_registered_texts_and_domains(tmp_path: Path) -> None:
    report = TinyReport()
    # the ids as TinyReport will give them
    launch, kernel = (report.text(name) for name in ("cudaLaunchKernel_v7000", "a_kernel"))
    rows = [("cublasGemmEx", 1, None), (None, 1, kernel), (None, 2, kernel), (None, None, launch),
            (None, None, 999), ("aten::mm", None, None), ("aten::mm, op_id = 7", 0, None), ("aten::mm", 2, None),
            ("own", 0, -1)]  # fmt: skip
    found = ranges_of(rows, tmp_path)
    names = [found.names[code] for code in found.name]
    assert names == ["cublasGemmEx", "a_kernel", "a_kernel", "cudaLaunchKernel_v7000", "[unknown]",
                     "aten::mm", "aten::mm", "aten::mm", "own"]  # fmt: skip
    assert found.is_library.tolist() == [True, True, *[False] * 7]
    assert found.is_operator.tolist() == [*[False] * 5, True, True, True, False]


@pytest.mark.parametrize("cuda_threads", [[THREAD], [THREAD, OTHER]])
def test_threads_of_ranges(cuda_threads: list[int], tmp_path: Path) -> None:
    """With one CUDA thread the query has no column `thread`; the ranges must be the same."""
    report = TinyReport()
    kernel = report.text("a_kernel")
    report.kernel("a_kernel")
    report.ranges.append((0, None, 75, "app", OTHER, 2, None))
    rows = [
        ("step", None, None),
        ("aten::mm", None, None),
        ("in a domain", 2, None),
        (None, None, kernel),
        (17, 0, None),
    ]
    for place, (text, domain, code) in enumerate(rows):
        for thread in (THREAD, OTHER):
            start = 10 * place + (thread == OTHER)
            report.ranges.append((start, start + 5, 59, text, thread, domain, code))
    with open_report(report.write(tmp_path / "threads.sqlite")) as database:
        found = read_trace(database, cuda_threads).ranges
    for thread in (THREAD, OTHER):
        own = found.thread == thread
        assert [found.names[code] for code in found.name[own]] == ["step", "aten::mm", "in a domain", "a_kernel", "17"]
        assert found.is_operator[own].tolist() == [False, True, False, False, False]


def test_a_thread_that_is_no_number_is_damage(tmp_path: Path) -> None:
    report = TinyReport()
    report.kernel("a_kernel")
    report.ranges.append((0, 5, 59, "step", "a thread", None, None))
    with open_report(report.write(tmp_path / "text.sqlite")) as database:
        for threads in ([THREAD], [THREAD, OTHER]):
            with pytest.raises(TaxbreakError, match="text in 'thread', where integers are due"):
                read_trace(database, threads)
