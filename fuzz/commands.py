"""A campaign through every command: `python -m fuzz.commands --cases 2000 --seed 1`.

Each case is a mutant of `structure` and a command line, run in a forked process with limits of CPU time and memory.
Allowed are exit code 0 or 1 with output that parses and adds up, and exit code 2 with one printable line. The command
must not change its input, leave a file behind, or exceed SECONDS of CPU time or MEMORY at its peak. A finding is a line
of JSON with the seed that reproduces the case (`--only SEED`).
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import io
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from fuzz.structure import REPORTS, build_mutant

SECONDS = 60
MEMORY = 1 << 30
_HARD_MEMORY = 4 << 30
_STATE_KEYS = 10

COMMANDS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (10, ("analyze", "{r}", "-f", "json")),
    (4, ("analyze", "{r}")),
    (3, ("analyze", "{r}", "-f", "csv")),
    (1, ("analyze", "{r}", "{other}", "-f", "jsonl")),
    (1, ("analyze", "{r}", "-f", "parquet", "-o", "{o}")),
    *((1, ("analyze", "{r}", "-f", "csv", "-r", f"taxbreak_{name}")) for name in
      ("kern_sum", "op_sum", "api_sum", "sample_sum", "symbol_sum", "step_trace", "trace")),
    (2, ("analyze", "{r}", "-f", "json", "--phases", "auto")),
    (1, ("analyze", "{r}", "-f", "json", "--phases", "all")),
    (1, ("analyze", "{r}", "-f", "json", "--phase", "any=.")),
    (1, ("analyze", "{r}", "-f", "json", "--evidence", "subtractive")),
    (1, ("analyze", "{r}", "-f", "json", "--evidence", "none")),
    (1, ("analyze", "{r}", "-f", "json", "--skip", "2")),
    (3, ("html", "{r}", "-o", "{o}")),
    (2, ("diff", "{r}", "{r}", "-f", "json")),
    (1, ("diff", "{r}", "{other}")),
    (1, ("gate", "{r}", "--rule", "decode.hdbi >= 0", "-f", "json")),
    (2, ("whatif", "{r}", "-f", "json")),
    (1, ("whatif", "{r}", "--graphs")),
    (3, ("trace", "{r}", "-o", "{o}")),
    (1, ("plot", "{r}", "-o", "{o}.svg")),
    (1, ("library-map", "{r}")),
    (2, ("doctor", "{r}")),
    (1, ("scrub", "{r}")),
    (3, ("scrub", "{r}", "-o", "{o}")),
    (4, ("scrub", "{r}", "--names", "-o", "{o}")),
    (1, ("batch", "{r}", "--store", "{store}", "--jobs", "1", "--tag", "k=v", "-f", "json")),
)  # fmt: skip


def main() -> int:
    """Run the campaign; exit code 1 where there were findings."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.commands", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="seed of the first case; the next cases count up from it")
    parser.add_argument("--minutes", type=float, default=None, help="stop after this time")
    parser.add_argument(
        "--findings", type=Path, default=Path("fuzz-findings.jsonl"), help="file that findings are appended to"
    )
    parser.add_argument("--only", type=int, default=None, help="run one case and show its outcome")
    given = parser.parse_args()
    _import_all()
    with tempfile.TemporaryDirectory(prefix="taxbreak-fuzz-") as name:
        folder = Path(name)
        if given.only is not None:
            outcome = run_case(given.only, folder, keep=Path(f"case-{given.only}.sqlite"))
            print(json.dumps(outcome, indent=1))
            return outcome["finding"] is not None
        until = time.monotonic() + 60 * given.minutes if given.minutes else float("inf")
        return _campaign(given.cases, given.seed, until, folder, given.findings)


def _campaign(cases: int, first: int, until: float, folder: Path, keep: Path) -> int:
    codes: Counter[str] = Counter()
    findings: Counter[str] = Counter()
    began, done, slowest, largest = time.monotonic(), 0, 0.0, 0
    for seed in range(first, first + cases):
        if time.monotonic() > until:
            break
        outcome = run_case(seed, folder)
        done += 1
        codes[f"{outcome['command'].split()[0]} {outcome['code']}"] += 1
        slowest, largest = max(slowest, outcome["seconds"]), max(largest, outcome["memory"])
        if outcome["finding"]:
            findings[outcome["finding"][:80]] += 1
            with keep.open("a", encoding="utf-8") as file:
                file.write(json.dumps(outcome) + "\n")
        if done % 500 == 0:
            print(f"{done} cases, {sum(findings.values())} findings", file=sys.stderr, flush=True)
    total: Counter[str] = Counter()
    for key, count in codes.items():
        total[key.split()[1]] += count
    print(f"{done} cases from seed {first} in {time.monotonic() - began:.0f} s, {len(REPORTS)} reports")
    print(f"exit codes: {dict(total)}; slowest {slowest:.1f} s of CPU, largest {largest / 2**20:.0f} MiB")
    for key, count in sorted(codes.items()):
        print(f"  {count:6} {key}")
    print(f"{sum(findings.values())} findings of {len(findings)} kinds")
    for key, count in findings.most_common(20):
        print(f"  {count:6} {key}")
    return 1 if findings else 0


def _import_all() -> None:
    """Import the modules of all commands once, so that each case only costs a fork."""
    import importlib

    from taxbreak_nsys.batch.fork_server import import_all

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import_all()
    for module in ("cli.all_commands", "output.html.html_page", "output.matplotlib_figure", "output.perfetto", "scrub",
                   "comparison.diff_report", "replay.sweep", "store.writer"):  # fmt: skip
        with contextlib.suppress(ImportError):
            importlib.import_module(f"taxbreak_nsys.{module}")


def run_case(seed: int, folder: Path, keep: Path | None = None) -> dict[str, Any]:
    """Run a case and return its record; `finding` is None if the behaviour was allowed."""
    draw = random.Random(~seed)
    data, what = build_mutant(seed)
    report, output, store = folder / "r.sqlite", folder / "o", folder / "s.db"
    report.write_bytes(data)
    if keep is not None:
        keep.write_bytes(data)
    names = {"r": report, "o": output, "store": store, "other": REPORTS[draw.choice(sorted(REPORTS))]}
    chosen = draw.choices([command for _, command in COMMANDS], [weight for weight, _ in COMMANDS])[0]
    arguments = [part.format(**names) for part in chosen]
    before = hashlib.sha256(data).digest()
    code, seconds, memory = _run(arguments, folder)
    out, errors = (folder / "stdout").read_bytes(), (folder / "stderr").read_bytes().decode("utf-8", "replace")
    shown = errors if keep is not None else errors[-300:]
    finding = _judged(chosen, code, out, errors)
    if hashlib.sha256(report.read_bytes()).digest() != before:
        finding = "changed its input"
    present = {entry.name for entry in folder.iterdir()}
    left = present - {"r.sqlite", "stdout", "stderr", "o", "o.svg", "s.db", "s.db-wal", "s.db-shm"}
    if left:
        finding = finding or f"left {sorted(left)[0][:12]} behind"
    if code not in (0, 1) and {"o", "o.svg"} & present:
        finding = finding or "left an output of a run that failed"
    if seconds > SECONDS / 2:
        finding = finding or f"took {seconds:.0f} s"
    if memory > MEMORY:
        finding = finding or f"took {memory >> 20} MiB"
    for name in present - {"r.sqlite"}:
        (folder / name).unlink()
    return {"seed": seed, "finding": finding, "command": " ".join(chosen), "code": code, "seconds": round(seconds, 2),
            "memory": memory, "size": len(data), "report": what, "stderr": shown}  # fmt: skip


def _run(arguments: list[str], folder: Path) -> tuple[int, float, int]:
    child = os.fork()
    if not child:
        _in_child(arguments, folder)
    _, status, usage = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def _in_child(arguments: list[str], folder: Path) -> NoReturn:
    code: Any = 99
    try:
        os.chdir(folder)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_AS, (_HARD_MEMORY, _HARD_MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.alarm(5 * SECONDS)
        sys.argv = ["taxbreak-nsys", *arguments]
        from taxbreak_nsys.cli.app import main as program

        program()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException as error:
        print(f"Traceback: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _judged(command: tuple[str, ...], code: int, out: bytes, errors: str) -> str | None:
    if "Traceback" in errors or code in (70, 99):
        line = errors.strip().splitlines()[-1] if errors.strip() else ""
        return f"defect: {line[:200]}"
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    if code not in (0, 1, 2):
        return f"exit code {code}"
    if code == 2:
        lines = [line for line in errors.split("\n") if line.startswith("taxbreak-nsys: ")]
        if not lines and not (command[0] == "gate" and out):  # gate reports rules that it cannot judge on stdout
            return "refused without a line"
        if not all(line.isprintable() and len(line) < 1500 for line in errors.split("\n")):
            return "a line that is too long or steers the terminal"
        return None
    if "\x1b" in errors:
        return "notes that steer the terminal"
    try:
        text = out.decode("utf-8")
        if "json" in command or "jsonl" in command:
            return _judged_json(text)
        if "csv" in command:
            return _judged_csv(text)
        return "text that steers the terminal" if "\x1b" in text else None
    except (ValueError, csv.Error, KeyError) as error:
        return f"output does not parse: {type(error).__name__}: {error}"


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} in JSON")


def _judged_json(text: str) -> str | None:
    documents = [json.loads(text, parse_constant=_refuse)] if text[:2] in ("{\n", "[\n") else [
        json.loads(line, parse_constant=_refuse) for line in text.splitlines()
    ]  # fmt: skip
    for document in documents:
        reports = document.get("reports", [document]) if isinstance(document, dict) else []
        for report in reports:
            for phase in report.get("phases", ()) if isinstance(report, dict) else ():
                if "states_ns" in phase and (problem := _wrong_phase(phase)):
                    return problem
    return None


def _wrong_phase(phase: dict[str, Any]) -> str | None:
    states, exposed, hdbi = phase["states_ns"], phase["exposed_ns"], phase["taxbreak"]["hdbi"]
    promises = {
        "states add up to the wall": sum(states.values()) == phase["wall_ns"],
        "every state is there": len(states) >= _STATE_KEYS,
        "states are not negative": min(states.values()) >= 0,
        "exposed time lies in its state": exposed is None or all(0 <= exposed[key] <= states[key] for key in states),
        "HDBI lies between 0 and 1": hdbi is None or 0 <= hdbi <= 1,
        "an absent HDBI has its reason": hdbi is not None or bool(phase["taxbreak"]["hdbi_reason"]),
        "launches are not negative": min(phase["launches"].values()) >= 0,
    }
    return next((f"broken promise: {promise}" for promise, holds in promises.items() if not holds), None)


def _judged_csv(text: str) -> str | None:
    rows = list(csv.reader(io.StringIO(text)))
    if len({len(row) for row in rows}) > 1:
        return "CSV rows of different lengths"
    for row in rows[1:]:
        for cell in row:
            if cell[:1] in "=@\t\r" and cell:
                return "a CSV cell that is a formula"
            if "\x1b" in cell:
                return "a CSV cell that steers the terminal"
    return None


if __name__ == "__main__":
    sys.exit(main())
