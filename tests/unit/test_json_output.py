"""The JSON output: its schema describes every field, and one name means one metric in every output."""

from __future__ import annotations

import copy
import csv
import io
import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest

from taxbreak_nsys import Result, analyze
from taxbreak_nsys.comparison.sample_changes import COMPARED
from taxbreak_nsys.gating.metrics import phase_metrics
from taxbreak_nsys.model.choices import ReportName
from taxbreak_nsys.model.detail_rows import DETAIL_TABLES
from taxbreak_nsys.model.metric_names import METRICS, PER_STEP
from taxbreak_nsys.output.formats import report_object, results_json, results_jsonl, to_csv
from taxbreak_nsys.output.result_tables import REPORTS
from taxbreak_nsys.output.shown_rows import RowOrder
from taxbreak_nsys.result import json_head, schema_path
from taxbreak_nsys.store.metric_history import COLUMNS
from tests.support.reports import ROOT, find_report

SCHEMA = json.loads(schema_path().read_text(encoding="utf-8"))
SAMPLES = ("llama-1b-aten", "inject", "graph-graph", "multi", "vllm-graph", "vllm-tp2")
"""Reports that show every field between them: operators, samples, unmeasured graphs, several threads, counts, ranks."""


def closed(schema: Any) -> Any:
    """Return the schema as a test wants it: a field that it does not describe is an error."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {key: closed(part) for key, part in schema.items()}
    return parts | {"additionalProperties": False} if isinstance(schema.get("properties"), dict) else parts


CLOSED = closed(SCHEMA)
del CLOSED["$defs"]["line"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    reference = tmp_path_factory.mktemp("reference") / "times.json"
    reference.write_text('{"decode": {"median_ms": 12.5}, "prefill": {"median_ms": 40}}')
    corrected = analyze(find_report("llama-1b"), reference=reference, tables=DETAIL_TABLES, intervals=True)
    return [*(analyze(find_report(name), tables=DETAIL_TABLES, intervals=True) for name in SAMPLES), corrected]


def object_of(result: Result) -> dict[str, Any]:
    """Return a result with the first rows of every listing."""
    data = report_object(result, list(ReportName), RowOrder(top=20))
    return {key: value for key, value in data.items() if key not in json_head()}


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator.check_schema(CLOSED)


def test_every_field_of_the_output_is_described(results: list[Result]) -> None:
    document = json_head() | {"reports": [object_of(result) for result in results]}
    validator = jsonschema.Draft202012Validator(CLOSED)
    wrong = [
        f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(json.loads(json.dumps(document)))
    ]
    assert not wrong, f"describe new fields in {schema_path()} and run docs/json_page.py:\n" + "\n".join(wrong[:20])


def test_an_undescribed_field_and_a_wrong_type_are_found(results: list[Result]) -> None:
    document = json_head() | {"reports": [object_of(results[0])]}
    validator = jsonschema.Draft202012Validator(CLOSED)
    for path, value in (
        (("phases", 0, "new_field"), 1),
        (("phases", 0, "wall_ns"), 0.5),
        (("outside", "kernels"), None),
    ):
        changed = copy.deepcopy(document)
        place = changed["reports"][0]
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        assert not validator.is_valid(changed), path


def test_documents_and_lines_are_of_the_schema(results: list[Result]) -> None:
    names = ["taxbreak_sum"]
    jsonschema.validate(json.loads(results_json(results, names)), SCHEMA)
    jsonschema.validate(json.loads(results_json(results[:1], ["taxbreak_kern_sum"])), SCHEMA)
    line = {"$schema": SCHEMA["$schema"], "$defs": SCHEMA["$defs"], "$ref": "#/$defs/line"}
    for text, result in zip(results_jsonl(results, names).splitlines(), results, strict=True):
        jsonschema.validate(json.loads(text), line)
        assert text == result.to_json(indent=None)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": "taxbreak/2", "report": results[0].to_dict()["report"]}, line)


def described(definition: dict[str, Any], data: Any) -> Iterator[tuple[int, str]]:
    """Yield (object of the schema, field) for every field of some data."""
    if "$ref" in definition:
        definition = SCHEMA["$defs"][definition["$ref"].rsplit("/", 1)[-1]]
    if "anyOf" in definition:
        definition = SCHEMA["$defs"][definition["anyOf"][0]["$ref"].rsplit("/", 1)[-1]]
    if isinstance(data, list) and "items" in definition:
        for item in data:
            yield from described(definition["items"], item)
    elif isinstance(data, dict):
        for key, value in data.items():
            field = definition.get("properties", {}).get(key) or definition.get("additionalProperties")
            if field is not None:
                yield id(definition), key
                yield from described(field, value)


def test_no_field_is_described_that_no_output_has(results: list[Result]) -> None:
    document = json_head() | {"reports": [object_of(result) for result in results]}
    seen = set(described(SCHEMA, document))
    objects = {"document": SCHEMA, **{n: d for n, d in SCHEMA["$defs"].items() if n != "line"}}
    assert not [f"{name}.{key}" for name, d in objects.items() for key in d["properties"] if (id(d), key) not in seen]


def test_the_page_of_the_fields_is_of_the_schema() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "json_page.py"))
    written = Path(page["PAGE"]).read_text(encoding="utf-8")
    assert written == page["page"](), "run docs/json_page.py"


def test_a_name_means_one_metric_everywhere(results: list[Result]) -> None:
    for result in results:
        frame = result.phases
        rows = list(csv.DictReader(io.StringIO(to_csv([result], "taxbreak_sum", None))))
        for number, phase in enumerate(result.to_dict()["phases"]):
            by_rule = phase_metrics(result)[phase["phase"]]
            for metric in METRICS:
                value = metric.value(phase)
                if metric.path in frame:
                    cell = frame[metric.path][number]
                    assert (None if pd.isna(cell) else cell) == value
                if metric.title is not None:
                    cell = rows[number][metric.title]
                    assert (None if cell == "" else float(cell)) == value, metric
                if phase["thread"] is None or sum(e.phase == phase["phase"] for e in result.entries) == 1:
                    assert by_rule.values[metric.name] == by_rule.values[metric.path] == value
                    if metric.summed and value is not None:
                        assert by_rule.values[metric.name + PER_STEP] == value / phase["instances"]


def test_a_comparison_has_the_metrics_under_their_names() -> None:
    known = {metric.name for metric in METRICS} | {"framework_library_ns"}  # both layers, where they are not comparable
    assert {metric.name for metric in COMPARED} <= known


def test_a_store_has_the_metrics_under_their_names() -> None:
    states = {metric.name for metric in METRICS if "states_ns" in metric.path or "exposed_ns" in metric.path}
    later = {"wall_p99_ns", "range_ns", "comm_ns", "comm_wait_ns", "device_busy_share"}  # newer than the store's schema
    assert {metric.name for metric in METRICS} - states - later <= set(COLUMNS)


def test_reports_have_the_names_that_a_user_can_choose() -> None:
    assert list(REPORTS) == list(ReportName)


def test_the_arrow_table_holds_the_phases_of_the_json(analysed) -> None:
    for name in ("graph-graph", "vllm-tp2"):  # the one has null objects, the other ranks
        result: Result = analysed(name)
        table, phases = result.to_arrow(), result.to_dict()["phases"]
        assert table.num_rows == len(phases)
        for column in ("phase", "wall_ns", "taxbreak.hdbi", "states_ns.python", "device.active_ns"):
            values = phases
            for key in column.split("."):
                values = [None if value is None else value[key] for value in values]
            assert table.column(column).to_pylist() == values, column
