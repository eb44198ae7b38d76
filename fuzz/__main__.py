"""Run a campaign: `python -m fuzz --cases 2000`. Prints statistics and appends each new finding as a line of JSON.

Cases run in worker processes, 500 per process, so that a crash or an endless loop in native code ends one chunk and is
recorded as a finding.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

SLOW_SECONDS = 10
_HUNG_SECONDS = 40
_CHUNK = 500
CORPUS = Path(__file__).resolve().parent / "corpus"


def main() -> int:
    """Run the campaign; exit code 1 where there were findings."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=None, help="seed of the first chunk; equal seeds give equal cases")
    parser.add_argument("--minutes", type=float, default=None, help="stop after this time")
    parser.add_argument(
        "--findings", type=Path, default=Path("fuzz-findings.jsonl"), help="file that findings are appended to"
    )
    parser.add_argument("--worker", type=int, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--log", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker is not None:
        work(given.worker, given.cases, given.log)
        return 0
    first = random.SystemRandom().randrange(2**31) if given.seed is None else given.seed
    until = time.monotonic() + 60 * given.minutes if given.minutes else None
    return campaign(given.cases, first, until, given.findings)


def campaign(cases: int, first: int, until: float | None, keep: Path) -> int:
    """Run chunks until the number of cases or the time is reached; print statistics and return the exit code."""
    outcomes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    findings: dict[str, str] = {}
    began, chunk, slowest = time.monotonic(), 0, 0.0
    while sum(outcomes.values()) < cases and (until is None or time.monotonic() < until):
        size = min(_CHUNK, cases - sum(outcomes.values()))
        for line in run_chunk(first + chunk, size):
            outcomes[line["outcome"]] += 1
            slowest = max(slowest, line["seconds"])
            if line["outcome"] == "refused":
                reasons[line["what"]] += 1
            if line["outcome"] == "finding" and line["what"] not in findings:
                findings[line["what"]] = line["case"]
                print(f"finding: {line['what']}\n  {line['case']}", flush=True)
                with keep.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"what": line["what"], "case": json.loads(line["case"])}) + "\n")
        chunk += 1
        print(f"{sum(outcomes.values())} cases: {dict(outcomes)}", file=sys.stderr, flush=True)
    total = sum(outcomes.values())
    print(f"{total} cases from seed {first} in {time.monotonic() - began:.0f} s; slowest {slowest:.2f} s")
    print(
        f"{outcomes['figures']} were analysed with sums that add up, {outcomes['refused']} were refused with one line"
    )
    print(f"{outcomes['finding']} findings, {len(findings)} distinct")
    for reason, count in reasons.most_common(12):
        print(f"  {count:6} {reason}")
    return 1 if findings else 0


def run_chunk(seed: int, size: int) -> list[dict[str, object]]:
    """Run `size` cases in a process and return a record per case; a hang or crash is the last one, a finding."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        log.touch()
        command = [sys.executable, "-m", "fuzz", "--worker", str(seed), "--cases", str(size), "--log", str(log)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        length, last_progress = 0, time.monotonic()
        while process.poll() is None:
            time.sleep(0.2)
            if log.stat().st_size != length:
                length, last_progress = log.stat().st_size, time.monotonic()
            elif time.monotonic() - last_progress > _HUNG_SECONDS:
                os.killpg(process.pid, signal.SIGKILL)
        errors = process.stderr.read() if process.stderr else ""
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        done = [line for line in lines if "outcome" in line]
        if process.returncode:
            last = lines[-1]["case"] if lines and "outcome" not in lines[-1] else "null"
            what = (
                f"process ended with {process.returncode}: {errors.strip().splitlines()[-1] if errors.strip() else ''}"
            )
            done.append({"outcome": "finding", "what": what, "case": last, "seconds": 0.0})
        return done


def work(seed: int, cases: int, log: Path) -> None:
    """Run cases in this process; `log` gets a line before and a line after each case."""
    import hypothesis

    from fuzz.mutations import Case, build_case
    from fuzz.mutations import cases as strategy
    from fuzz.oracle import OPTIONS, judge

    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder, log.open("w") as file:
        path = Path(folder) / "report.sqlite"
        number = 0

        def write(**line: object) -> None:
            file.write(json.dumps(line) + "\n")
            file.flush()

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=cases,
            deadline=None,
            database=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(strategy(tuple(OPTIONS)))
        def run(case: Case) -> None:
            nonlocal number
            number += 1
            write(case=case.to_json())
            path.write_bytes(build_case(case))
            began, worked = time.monotonic(), time.process_time()
            outcome, what = judge(path, case.options, outputs=number % 5 == 0)
            seconds = min(time.monotonic() - began, time.process_time() - worked)
            if seconds > SLOW_SECONDS:
                outcome, what = "finding", f"slow: {what}"
            write(case=case.to_json(), outcome=outcome, what=what, seconds=seconds)

        run()


if __name__ == "__main__":
    sys.exit(main())
