"""The pytest plugin: `assert taxbreak("run.sqlite").decode.hdbi > 0.3`, which fails with the report's table.

Loaded by pytest in every environment that has the package: nothing heavy is imported before the fixture is called.
"""

from __future__ import annotations

from collections.abc import Generator
from os import PathLike
from typing import TYPE_CHECKING, Any

import pytest

from taxbreak_nsys.errors import TaxbreakError

if TYPE_CHECKING:
    from taxbreak_nsys.gating.metrics import PhaseMetrics
    from taxbreak_nsys.result import Result


class CheckedMetric(float):
    """A metric's value, which remembers its name and report for the message of a failed comparison."""

    def __new__(cls, value: float, name: str, result: Result) -> CheckedMetric:
        """Return the number; `name` is as in a rule of `gate`, `decode.hdbi`."""
        number = super().__new__(cls, value)
        number.name, number.result = name, result
        return number

    name: str
    result: Result


class CheckedPhase:
    """A phase of a report; its attributes are the metrics of `gate`: `hdbi`, `wall_ns_per_step`, `kernels`."""

    def __init__(self, label: str, metrics: PhaseMetrics, result: Result) -> None:
        """Give access to `metrics`, those of the phase `label`."""
        self._label, self._metrics, self._result = label, metrics, result

    def __getattr__(self, name: str) -> CheckedMetric:
        """Return a metric; raises TaxbreakError where it is unknown or not measured, with the nearest or the reason."""
        if name.startswith("__"):
            raise AttributeError(name)
        values = self._metrics.values
        if name not in values:
            raise TaxbreakError(f"there is no metric {name!r}{_nearest(name, values)}")
        value = values[name]
        if value is None:
            raise TaxbreakError(f"{self._label}.{name} is not measured: {self._metrics.reason}")
        return CheckedMetric(value, f"{self._label}.{name}", self._result)


class CheckedReport:
    """A report whose attributes are its phases: `report.decode`, or `report["my phase"]`."""

    def __init__(self, result: Result) -> None:
        """Give access to the phases of `result`, which is also `.result`."""
        from taxbreak_nsys.gating.metrics import phase_metrics

        self.result = result
        self._phases = phase_metrics(result)

    def __getitem__(self, label: str) -> CheckedPhase:
        """Return a phase; raises TaxbreakError where there is none of that label."""
        if label not in self._phases:
            known = ", ".join(self._phases) or "none"
            raise TaxbreakError(f"{self.result.report.path}: no phase {label!r}; the phases are: {known}")
        return CheckedPhase(label, self._phases[label], self.result)

    def __getattr__(self, label: str) -> CheckedPhase:
        """Return a phase, as `report[label]`."""
        if label.startswith("_"):
            raise AttributeError(label)
        return self[label]


class TaxbreakFixture:
    """Analyses reports for tests, each once per session and choice of options."""

    def __init__(self) -> None:
        """Begin without any result."""
        self._reports: dict[tuple[str, str], CheckedReport] = {}

    def __call__(self, report: str | PathLike[str], **options: Any) -> CheckedReport:
        """Return a report; `options` are those of `taxbreak_nsys.analyze`."""
        from taxbreak_nsys import analyze

        key = (str(report), repr(sorted(options.items())))
        if key not in self._reports:
            self._reports[key] = CheckedReport(analyze(report, **options))
        return self._reports[key]


@pytest.fixture(scope="session")
def taxbreak() -> TaxbreakFixture:
    """A function that returns the metrics of a report: `taxbreak(path).decode.hdbi`."""
    return TaxbreakFixture()


_TABLES = pytest.StashKey[dict[str, str]]()


def pytest_assertrepr_compare(config: pytest.Config, op: str, left: object, right: object) -> list[str] | None:
    """Explain a comparison of metrics that fails; the tables of their reports follow in a section of their own."""
    metrics = [side for side in (left, right) if isinstance(side, CheckedMetric)]
    if not metrics:
        return None
    from taxbreak_nsys.model.choices import ReportName
    from taxbreak_nsys.output.text_report import render_text

    tables = config.stash.setdefault(_TABLES, {})
    for metric in metrics:
        tables[metric.result.report.path] = render_text(metric.result, ReportName.SUM, None)
    return [f"{_side(left)} {op} {_side(right)}", *(f"{metric.name} is {float(metric):g}" for metric in metrics)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the tables of the reports whose metrics failed; pytest would cut them in the explanation."""
    report = yield
    tables = item.config.stash.get(_TABLES, {})
    if report.failed:
        report.sections += [("taxbreak-nsys", table) for table in tables.values()]
    tables.clear()
    return report


def _side(value: object) -> str:
    return value.name if isinstance(value, CheckedMetric) else repr(value)


def _nearest(name: str, known: dict[str, float | None]) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; nearest: {', '.join(close)}" if close else ""
