"""The names that a user chooses from: one enum per option, shared by the command line and the API.

This module imports nothing heavy: `--help` and shell completion load it.
"""

from __future__ import annotations

from enum import StrEnum


class PhasesFrom(StrEnum):
    """Where phases may come from (method section 2)."""

    BEST = "best"
    MARKS = "marks"
    AUTO = "auto"
    ALL = "all"


class InstanceSpan(StrEnum):
    """The span of one phase instance (method section 2.1)."""

    RANGE = "range"
    CYCLE = "cycle"


class SplitBy(StrEnum):
    """Criteria that phases can be split by."""

    BATCH = "batch"


class LibraryEvidence(StrEnum):
    """Evidence by which the library layer is attributed, best first (method section 4)."""

    RANGES = "ranges"
    RANGES_AND_SAMPLES = "ranges+samples"
    SAMPLES = "samples"
    SUBTRACTIVE = "subtractive"
    NONE = "none"


class CaptureFor(StrEnum):
    """The evidence that `capture` sets nsys up to record."""

    RANGES = "ranges"
    SAMPLES = "samples"
    OPERATORS = "operators"
    LAUNCH_CHAINS = "launch-chains"
    LIGHT = "light"


class CaptureEngine(StrEnum):
    """The serving engines that `capture` sets nsys up for."""

    VLLM = "vllm"
    SGLANG = "sglang"
    TENSORRT_LLM = "tensorrt-llm"
    XLA = "xla"


class ReportName(StrEnum):
    """The named reports of an analysis."""

    SUM = "taxbreak_sum"
    KERN_SUM = "taxbreak_kern_sum"
    OP_SUM = "taxbreak_op_sum"
    API_SUM = "taxbreak_api_sum"
    SAMPLE_SUM = "taxbreak_sample_sum"
    SYMBOL_SUM = "taxbreak_symbol_sum"
    GAP_SUM = "taxbreak_gap_sum"
    GAP_TRACE = "taxbreak_gap_trace"
    NVTX_SUM = "taxbreak_nvtx_sum"
    CLASS_SUM = "taxbreak_class_sum"
    FUSION_SUM = "taxbreak_fusion_sum"
    CALL_SUM = "taxbreak_call_sum"
    STEP_TRACE = "taxbreak_step_trace"
    TRACE = "taxbreak_trace"


class OutputFormat(StrEnum):
    """The formats of a list of rows or of results."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"
    MARKDOWN = "markdown"


class ReportFormat(StrEnum):
    """The formats of the named reports: all formats of `OutputFormat`, and flame graphs of a call tree."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"
    MARKDOWN = "markdown"
    SPEEDSCOPE = "speedscope"
    COLLAPSED = "collapsed"


class SummaryFormat(StrEnum):
    """The formats of commands whose output is one document of their own."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"


class ChecksFormat(StrEnum):
    """The formats of `doctor`."""

    TABLE = "table"
    JSON = "json"


class TimeUnit(StrEnum):
    """The units of nsys's `--timeunit`."""

    NSEC = "nsec"
    USEC = "usec"
    MSEC = "msec"
    SEC = "sec"
